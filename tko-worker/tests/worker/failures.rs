//! Handlers that fail or panic, and a store that fails.

use crate::fixture::{Act, Fault, Fixture, seconds};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tko_conformance::BackendCall;
use tko_core::Error;
use tko_core::system::SystemClock;
use tko_worker::{CallFailure, guarded};

#[tokio::test(start_paused = true)]
async fn failed_work_is_retried_with_backoff_and_shows_its_reason() {
    let f = Fixture::new();
    f.script.set("a", vec![Act::Fail; 4]);
    f.sites(["a"]).await;
    let _running = f.start();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let work = f.work("a").await.expect("it is not done");
    assert_eq!(work.attempts, 1);
    let reason = work.error.expect("a reason");
    assert_eq!(reason, "could not reach the cluster: no route");
    seconds(20).await;
    let times = f.script.times("a");
    assert_eq!(times.len(), 5, "{times:?}");
    for (gap, full) in times.windows(2).zip([1.0, 2.0, 4.0, 8.0]) {
        let pause = gap[1] - gap[0];
        // Jitter takes up to half.
        assert!(pause >= full / 2.0 && pause <= full + 0.01, "{times:?}");
    }
    assert_eq!(f.work("a").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_that_lasts_is_retried_with_backoff_and_shows_its_reason() {
    let f = Fixture::new();
    f.script.set("a", vec![Act::Conflict; 100]);
    f.sites(["a"]).await;
    let _running = f.start();
    seconds(60 * 60).await;
    // At least 2.5 min apart, once the backoff is at its limit.
    let attempts = f.script.times("a").len();
    assert!((15..=40).contains(&attempts), "{attempts}");
    let work = f.work("a").await.expect("it is not done");
    assert_eq!(work.error.as_deref(), Some("site taken exists already"));
}

#[tokio::test(start_paused = true)]
async fn a_race_is_over_within_a_second() {
    let f = Fixture::new();
    f.script.set("a", [Act::Conflict]);
    f.sites(["a"]).await;
    let _running = f.start();
    seconds(2).await;
    let times = f.script.times("a");
    assert_eq!(times.len(), 2);
    assert!(times[1] <= 1.01, "{times:?}");
    assert_eq!(f.work("a").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_caught_reported_and_retried() {
    let f = Fixture::new();
    f.script.set("a", [Act::Panic]);
    f.script.set("b", [Act::Take(Duration::from_secs(1))]);
    f.sites(["a", "b"]).await;
    let running = f.start();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let work = f.work("a").await.expect("it is not done");
    let reason = work.error.expect("a reason");
    assert!(
        reason.ends_with("which is a bug: a scripted panic"),
        "{reason}"
    );
    seconds(2).await;
    assert_eq!(f.script.times("a").len(), 2);
    assert_eq!(f.script.finished.load(Ordering::Relaxed), 2, "others go on");
    running.stop().await.0.expect("a clean end");
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_of_claiming_ends_the_worker() {
    let f = Fixture::new();
    f.faults.set(BackendCall::Claim, Fault::Forbidden);
    let mut running = f.start();
    let ended = (&mut running.task).await.expect("no panic");
    assert!(matches!(ended, Err(Error::Forbidden(_))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_away_is_used_again_within_30_seconds() {
    let f = Fixture::new();
    f.faults.set(BackendCall::Claim, Fault::Unavailable);
    f.sites(["a"]).await;
    let _running = f.start();
    seconds(60 * 60).await;
    let attempts = f.faults.claims.load(Ordering::Relaxed);
    // At least 15 s apart, once the backoff is at its limit.
    assert!((120..=260).contains(&attempts), "{attempts}");
    f.faults.clear();
    seconds(30).await;
    assert_eq!(f.script.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_fails_is_retried_while_its_lease_lasts() {
    let f = Fixture::new();
    f.faults.set(BackendCall::Settle, Fault::Unavailable);
    f.sites(["a"]).await;
    let _running = f.start();
    seconds(1).await;
    f.faults.clear();
    seconds(5).await;
    assert_eq!(f.work("a").await, None);
    seconds(60).await;
    assert_eq!(f.script.times("a").len(), 1, "the work is not repeated");
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_keeps_failing_leaves_the_work_to_the_expiry_of_its_lease() {
    let f = Fixture::new();
    f.faults.set(BackendCall::Settle, Fault::Unavailable);
    f.sites(["a"]).await;
    let _running = f.start();
    // Its lease is renewed for a lease and one pause at most.
    seconds(100).await;
    assert_eq!(f.script.times("a").len(), 2, "work is repeated, not lost");
    f.faults.clear();
    seconds(60).await;
    assert_eq!(f.work("a").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_is_refused_is_not_retried() {
    let f = Fixture::new();
    f.faults.set(BackendCall::Settle, Fault::Forbidden);
    f.sites(["a"]).await;
    let _running = f.start();
    seconds(1).await;
    f.faults.clear();
    seconds(30).await;
    assert_eq!(f.script.times("a"), [0.0, 30.0]);
    assert_eq!(f.work("a").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_guarded_call_ends_with_its_time_limit() {
    let clock = SystemClock::new();
    let limit = Duration::from_secs(20);
    let start = tokio::time::Instant::now();
    let hung: Result<(), _> = guarded(&clock, limit, std::future::pending()).await;
    assert_eq!(hung, Err(CallFailure::TimedOut(limit)));
    assert_eq!(start.elapsed().as_secs(), 20);
    let words = CallFailure::TimedOut(limit).to_string();
    assert!(words.starts_with("did not finish within 20s"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_guarded_call_without_a_time_limit_is_caught_when_it_panics() {
    let clock = SystemClock::new();
    let none: Option<Duration> = None;
    let slow = async {
        tokio::time::sleep(Duration::from_hours(1)).await;
        7
    };
    assert_eq!(guarded(&clock, none, slow).await, Ok(7));
    let panicked: Result<(), _> = guarded(&clock, none, async { panic!("no port") }).await;
    assert_eq!(panicked, Err(CallFailure::Panicked("no port".to_owned())));
}
