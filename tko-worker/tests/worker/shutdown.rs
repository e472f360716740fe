//! Shutdown: what finishes, and what is released.

use crate::fixture::{Act, Fault, Fixture, seconds};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tko_conformance::BackendCall;
use tko_worker::WorkerSettings;

#[tokio::test(start_paused = true)]
async fn an_idle_worker_ends_promptly() {
    let f = Fixture::new();
    let running = f.start();
    seconds(1).await;
    // Its request waits for work in the store for some seconds more.
    let (ended, took) = running.stop().await;
    ended.expect("a clean end");
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_places_are_taken_waits_for_no_request() {
    let f = Fixture::new();
    f.script.set("a", [Act::Take(Duration::from_secs(5))]);
    f.sites(["a"]).await;
    let running = Fixture::run(f.worker(WorkerSettings::new("test").with_concurrency(1)));
    seconds(1).await;
    let (ended, took) = running.stop().await;
    ended.expect("a clean end");
    assert_eq!(took, Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn claims_on_their_way_to_an_idle_worker_are_handed_back() {
    let f = Fixture::new();
    let running = f.start();
    seconds(1).await;
    f.faults.set(
        BackendCall::Claim,
        Fault::LateReply(Duration::from_millis(100)),
    );
    f.sites(["a"]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let leased = f.work("a").await.expect("due").leased;
    assert!(leased.is_some(), "the reply is on its way");
    let (ended, took) = running.stop().await;
    ended.expect("a clean end");
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert!(f.script.times("a").is_empty());
    let work = f.work("a").await.expect("still due");
    assert_eq!((work.attempts, work.leased), (0, None));
}

#[tokio::test(start_paused = true)]
async fn work_in_flight_finishes_and_nothing_more_is_claimed() {
    let f = Fixture::new();
    f.script.set("a", [Act::Take(Duration::from_secs(5))]);
    f.sites(["a"]).await;
    let running = f.start();
    seconds(1).await;
    running.shutdown.cancel();
    f.sites(["b"]).await;
    let (ended, took) = running.stop().await;
    ended.expect("a clean end");
    assert_eq!(took, Duration::from_secs(4));
    assert_eq!(f.script.finished.load(Ordering::Relaxed), 1);
    assert!(f.script.times("b").is_empty());
    let work = f.work("b").await.expect("still due");
    assert_eq!((work.attempts, work.leased), (0, None));
}

#[tokio::test(start_paused = true)]
async fn work_that_exceeds_the_grace_period_is_handed_back_uncounted() {
    let f = Fixture::new();
    f.script.set("a", [Act::Take(Duration::from_mins(10))]);
    f.sites(["a"]).await;
    let settings = WorkerSettings::new("test").with_grace(Duration::from_secs(3));
    let running = Fixture::run(f.worker(settings));
    seconds(1).await;
    let (ended, took) = running.stop().await;
    ended.expect("a clean end");
    assert_eq!(took, Duration::from_secs(3));
    assert_eq!(
        f.script.running.load(Ordering::Relaxed),
        0,
        "it was dropped"
    );
    let work = f.work("a").await.expect("still due");
    assert_eq!((work.attempts, work.leased), (0, None));
    let _next = f.start();
    seconds(1).await;
    assert_eq!(
        f.script.times("a"),
        [0.0, 4.0],
        "another worker takes it at once"
    );
}

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_during_the_grace_period() {
    let f = Fixture::new();
    f.script.set("a", [Act::Take(Duration::from_mins(2))]);
    f.sites(["a"]).await;
    let settings = WorkerSettings::new("test").with_grace(Duration::from_mins(5));
    let running = Fixture::run(f.worker(settings));
    seconds(1).await;
    let (ended, took) = running.stop().await;
    ended.expect("a clean end");
    assert_eq!(took, Duration::from_secs(119));
    assert_eq!(f.script.finished.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn claims_that_arrive_after_shutdown_was_requested_are_handed_back() {
    let f = Fixture::new();
    f.script.set("a", [Act::Take(Duration::from_secs(8))]);
    f.sites(["a"]).await;
    let running = f.start();
    seconds(1).await;
    f.faults
        .set(BackendCall::Claim, Fault::LateReply(Duration::from_secs(4)));
    f.sites(["b"]).await;
    seconds(1).await;
    let leased = f.work("b").await.expect("due").leased;
    assert!(leased.is_some(), "the reply is on its way");
    let (ended, _) = running.stop().await;
    ended.expect("a clean end");
    assert!(f.script.times("b").is_empty());
    let work = f.work("b").await.expect("still due");
    assert_eq!((work.attempts, work.leased), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_delays_the_end_by_one_lease_at_most() {
    let f = Fixture::new();
    f.script.set("a", [Act::Take(Duration::from_mins(10))]);
    f.sites(["a"]).await;
    let running = f.start();
    seconds(1).await;
    f.faults.set(
        BackendCall::Settle,
        Fault::LateReply(Duration::from_mins(10)),
    );
    let (ended, took) = running.stop().await;
    ended.expect("a clean end");
    assert_eq!(took, Duration::from_secs(10 + 30));
}

#[tokio::test(start_paused = true)]
async fn the_work_of_a_crashed_worker_is_due_again_when_its_lease_expires() {
    let f = Fixture::new();
    f.script.set("a", [Act::Take(Duration::from_mins(10))]);
    f.sites(["a"]).await;
    let crashed = f.start();
    seconds(1).await;
    drop(crashed);
    let _next = f.start();
    seconds(30).await;
    assert_eq!(f.script.times("a"), [0.0, 30.0]);
    assert_eq!(f.work("a").await, None);
}
