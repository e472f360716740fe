//! Leases and shutdown: work that is renewed, lost, finished or released.

use crate::parts::{Counts, gvk, part, registry};
use crate::world::{thing, world};
use async_trait::async_trait;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tko_core::{ClaimRequest, DataApi, Executor, Outcome, Resource, Stage, WorkerApi};
use tko_preparer::{PREPARED, PrepareSettings};
use tko_worker::{CancellationToken, WorkerSettings};

fn patient() -> PrepareSettings {
    with_grace(Duration::from_mins(10))
}

fn with_grace(grace: Duration) -> PrepareSettings {
    PrepareSettings::default()
        .with_timeout(Duration::from_mins(10))
        .with_worker(WorkerSettings::new("preparer").with_grace(grace))
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_during_work_and_no_other_preparer_gets_the_claim() {
    let w = world();
    let a = w.start_with(registry(), patient());
    let b = w.start_with(registry(), patient());
    // Takes three leases.
    let id = w.deploy(vec![part("Slow", "s")]).await;
    let took = w.until_prepared(&id).await;
    assert!(
        took >= Duration::from_secs(100) && took < Duration::from_secs(105),
        "{took:?}"
    );
    // Created, then prepared once and finished.
    assert_eq!(w.record(&id).await.entity.generation.0, 2);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_work_of_a_crashed_preparer_is_due_again_after_its_lease() {
    let w = world();
    let a = w.start_with(registry(), patient());
    let id = w.deploy(vec![part("Slow", "s")]).await;
    w.until(|| async { w.record(&id).await.work[0].leased.is_some() })
        .await;
    drop(a);
    let b = w.start_with(registry(), patient());
    let took = w.until_prepared(&id).await;
    assert!(
        took >= Duration::from_secs(130) && took < Duration::from_secs(145),
        "{took:?}"
    );
    b.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_stops_the_work() {
    let w = world();
    let a = w.start_with(registry(), patient());
    let id = w.deploy(vec![part("Slow", "s")]).await;
    w.until(|| async { w.record(&id).await.work[0].leased.is_some() })
        .await;
    // Deleting the row ends the lease.
    w.store
        .delete(&tko_core::Key::from(&id))
        .await
        .expect("it is there");
    let other = w.deploy(vec![part("Marks", "m")]).await;
    w.until_prepared(&other).await;
    // A shutdown would wait for the slow work if it had not been dropped with its lease.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let start = tokio::time::Instant::now();
    a.stop().await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn shutdown_claims_nothing_more_and_lets_work_in_flight_finish() {
    let w = world();
    let running = w.start_with(registry(), patient());
    let slow = w.deploy(vec![part("Slow", "s")]).await;
    w.until(|| async { w.record(&slow).await.work[0].leased.is_some() })
        .await;
    running.shutdown.cancel();
    let late = w.deploy(vec![part("Marks", "m")]).await;
    running.stop().await;
    assert!(w.is_prepared(&slow).await);
    assert!(!w.is_prepared(&late).await);
    assert_eq!(w.record(&late).await.work[0].attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn work_that_exceeds_the_grace_period_is_handed_back_uncounted() {
    let w = world();
    let settings = with_grace(Duration::from_secs(5));
    let running = w.start_with(registry(), settings);
    let slow = w.deploy(vec![part("Slow", "s")]).await;
    w.until(|| async { w.record(&slow).await.work[0].leased.is_some() })
        .await;
    let start = tokio::time::Instant::now();
    running.stop().await;
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
    let work = &w.record(&slow).await.work[0];
    assert_eq!((work.attempts, work.leased), (0, None));
    assert!(work.due <= w.clock.now());
}

#[tokio::test(start_paused = true)]
async fn a_modification_by_a_person_takes_precedence_over_the_preparer() {
    let w = world();
    let id = w.deploy(vec![part("Marks", "m")]).await;
    let edit = w
        .store
        .start_modification(&id, Duration::from_secs(10))
        .await
        .expect("free");
    let _running = w.start();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!w.is_prepared(&id).await);
    let work = &w.record(&id).await.work[0];
    assert!(work.attempts <= 4, "{work:?}");
    let package = edit.record.package.expect("was read");
    let added = Resource::new(thing("Any", "added", &json!({}))).expect("valid");
    w.store
        .end_modification(&edit.token, package.with(Arc::new(added)))
        .await
        .expect("in time");
    assert!(w.until_prepared(&id).await < Duration::from_secs(2));
    assert!(w.resource(&id, "Any", "added").await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_long_modification_is_reported_and_causes_few_calls() {
    let w = world();
    let calls = Arc::new(AtomicUsize::new(0));
    let counts = Arc::new(Counts(calls.clone()));
    let registry = registry().with(gvk("Counts"), "counts", counts);
    let id = w.deploy(vec![part("Counts", "c")]).await;
    let hour = Duration::from_hours(1);
    let edit = w.store.start_modification(&id, hour).await.expect("free");
    let _running = w.start_with(registry, PrepareSettings::default());
    tokio::time::sleep(hour / 2).await;
    // At least 7.5 s apart, once the backoff is at its limit.
    let count = calls.load(Ordering::Relaxed);
    assert!((110..=250).contains(&count), "{count}");
    let named = format!("deployment {id} is being modified");
    let record = w.record(&id).await;
    let reason = record.work[0].error.as_deref().expect("a reason");
    assert!(reason.starts_with(&named), "{reason}");
    let condition = w.condition(&id, PREPARED).await;
    assert_eq!(
        (condition.status, &*condition.reason),
        (Some(false), "Waiting")
    );
    assert_eq!(condition.message, reason);
    let cancelled = w.store.cancel_modification(&edit.token).await;
    cancelled.expect("it is live");
    let took = w.until_prepared(&id).await;
    assert!(took <= Duration::from_secs(16), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_concurrent_change_by_a_person_is_kept_and_prepared() {
    let w = world();
    let _running = w.start_with(registry(), patient());
    let id = w.deploy(vec![part("Slow", "s")]).await;
    w.until(|| async { w.record(&id).await.work[0].leased.is_some() })
        .await;
    w.edit(&id, |package| {
        let added = Resource::new(part("Marks", "added")).expect("valid");
        package.with(Arc::new(added))
    })
    .await;
    w.until_prepared(&id).await;
    let added = w.resource(&id, "Marks", "added").await.expect("kept");
    assert_eq!(
        added["metadata"]["annotations"]["nephio.org/prepared"],
        "true"
    );
    assert_eq!(w.condition(&id, PREPARED).await.status, Some(true));
}

#[tokio::test(start_paused = true)]
async fn work_that_is_enqueued_during_its_claim_is_due_again() {
    let w = world();
    let id = w.deploy(vec![]).await;
    let request = ClaimRequest::new(Stage::Prepare, "by hand").lease(Duration::from_secs(30));
    let claim = w.store.claim(&request).await.expect("answers").remove(0);
    w.edit(&id, |package| {
        package.with(Arc::new(Resource::new(part("Marks", "m")).expect("valid")))
    })
    .await;
    w.store
        .settle(&[(claim.token, Outcome::Done)])
        .await
        .expect("answers");
    let _running = w.start();
    assert!(w.until_prepared(&id).await < Duration::from_millis(10));
}

/// An executor that serves no plugin type and counts how often it is closed.
struct Closing(Arc<AtomicUsize>);

#[async_trait]
impl Executor for Closing {
    fn name(&self) -> &'static str {
        "closing"
    }

    async fn close(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn executors_are_closed_once_when_the_controller_ends() {
    let w = world();
    let closed = Arc::new(AtomicUsize::new(0));
    let executors: Vec<Arc<dyn Executor>> = vec![Arc::new(Closing(closed.clone()))];
    let controller = w.preparing(Arc::new(registry()), executors, PrepareSettings::default());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(controller.run(shutdown.clone()));
    let id = w.deploy(vec![part("Other", "o")]).await;
    w.until_prepared(&id).await;
    assert_eq!(closed.load(Ordering::Relaxed), 0, "still working");
    shutdown.cancel();
    running.await.expect("no panic").expect("a clean end");
    assert_eq!(closed.load(Ordering::Relaxed), 1);
}
