use super::{BOUNDS, CANCELLED, Instrument, Purpose, StatementMetrics};
use futures_util::FutureExt;
use sqlx::Error as SqlError;
use std::future::{pending, ready};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The counts of each bucket, and of each failure.
fn counts(metrics: &StatementMetrics, purpose: Purpose) -> (Vec<u64>, Vec<u64>) {
    let totals = &metrics.purposes[purpose as usize];
    let buckets = totals.buckets.iter().map(|n| n.load(Ordering::Relaxed));
    let failures = totals.failures.iter().map(|n| n.load(Ordering::Relaxed));
    (buckets.collect(), failures.collect())
}

#[test]
fn a_duration_counts_in_its_smallest_bucket() {
    for (bucket, bound) in BOUNDS.iter().enumerate() {
        for (micros, expected) in [(*bound, bucket), (*bound + 1, bucket + 1)] {
            let metrics = StatementMetrics::default();
            metrics.purposes[Purpose::Get as usize].add(Duration::from_micros(micros));
            let (buckets, _) = counts(&metrics, Purpose::Get);
            assert_eq!(buckets[expected], 1, "{micros} µs");
            assert_eq!(buckets.iter().sum::<u64>(), 1);
        }
    }
}

#[test]
fn each_failure_is_counted_once() {
    let metrics = StatementMetrics::default();
    let sent = |result: Result<(), SqlError>| {
        let sent = ready(result).sent(&metrics, Purpose::Claim);
        sent.now_or_never().expect("the future is ready")
    };
    sent(Ok(())).expect("the statement succeeded");
    let error = sent(Err(SqlError::PoolTimedOut)).expect_err("the statement failed");
    assert!(error.to_string().contains("claim due work"), "{error}");
    sent(Err(SqlError::RowNotFound)).expect_err("the statement failed");
    let (buckets, failures) = counts(&metrics, Purpose::Claim);
    assert_eq!(buckets.iter().sum::<u64>(), 3);
    assert_eq!(failures, [0, 0, 1, 1, 0]);
    let other = counts(&metrics, Purpose::Commit);
    assert_eq!(other.0.iter().sum::<u64>(), 0);
}

#[test]
fn a_dropped_statement_counts_as_cancelled() {
    let metrics = StatementMetrics::default();
    let sent = pending::<Result<(), SqlError>>().sent(&metrics, Purpose::List);
    assert!(sent.now_or_never().is_none(), "the statement never ends");
    let (buckets, failures) = counts(&metrics, Purpose::List);
    assert_eq!(buckets.iter().sum::<u64>(), 1);
    assert_eq!(failures[CANCELLED], 1);
    assert_eq!(failures.iter().sum::<u64>(), 1);
}
