use super::{BOUNDS, GIVEN_UP, Measures, Purpose, Sending};
use futures_util::FutureExt;
use sqlx::Error as Sql;
use std::future::{pending, ready};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often each bucket was hit, and each sort of failure.
fn counts(measures: &Measures, purpose: Purpose) -> (Vec<u64>, Vec<u64>) {
    let measure = &measures.0[purpose as usize];
    let buckets = measure.buckets.iter().map(|n| n.load(Ordering::Relaxed));
    let failures = measure.failures.iter().map(|n| n.load(Ordering::Relaxed));
    (buckets.collect(), failures.collect())
}

#[test]
fn a_duration_is_in_the_first_bucket_that_holds_it() {
    for (bucket, bound) in BOUNDS.iter().enumerate() {
        for (micros, expected) in [(*bound, bucket), (*bound + 1, bucket + 1)] {
            let measures = Measures::default();
            measures.0[Purpose::Get as usize].add(Duration::from_micros(micros));
            let (buckets, _) = counts(&measures, Purpose::Get);
            assert_eq!(buckets[expected], 1, "{micros} µs");
            assert_eq!(buckets.iter().sum::<u64>(), 1);
        }
    }
}

#[test]
fn each_end_is_counted_once_and_with_its_sort() {
    let measures = Measures::default();
    let sent = |result: Result<(), Sql>| {
        let sent = ready(result).sent(&measures, Purpose::Claim);
        sent.now_or_never().expect("it is ready")
    };
    sent(Ok(())).expect("it ended well");
    let error = sent(Err(Sql::PoolTimedOut)).expect_err("it failed");
    assert!(error.to_string().contains("claim due work"), "{error}");
    sent(Err(Sql::RowNotFound)).expect_err("it failed");
    let (buckets, failures) = counts(&measures, Purpose::Claim);
    assert_eq!(buckets.iter().sum::<u64>(), 3);
    assert_eq!(failures, [0, 0, 1, 1, 0]);
    let other = counts(&measures, Purpose::Commit);
    assert_eq!(other.0.iter().sum::<u64>(), 0);
}

#[test]
fn what_nobody_waits_for_any_more_was_given_up() {
    let measures = Measures::default();
    let sent = pending::<Result<(), Sql>>().sent(&measures, Purpose::List);
    assert!(sent.now_or_never().is_none(), "it never ends");
    let (buckets, failures) = counts(&measures, Purpose::List);
    assert_eq!(buckets.iter().sum::<u64>(), 1);
    assert_eq!(failures[GIVEN_UP], 1);
    assert_eq!(failures.iter().sum::<u64>(), 1);
}
