//! Claiming and working.

use crate::fixture::{Act, Fault, Fixture, seconds};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tko_conformance::BackendCall;
use tko_core::Error;
use tko_worker::{Ready, WorkerSettings};

#[tokio::test(start_paused = true)]
async fn due_work_is_handled_once_and_settled() {
    let f = Fixture::new();
    let running = f.start();
    f.sites(["a", "b"]).await;
    seconds(60).await;
    let mut sites: Vec<String> = f.script.calls().into_iter().map(|(site, _)| site).collect();
    sites.sort();
    assert_eq!(sites, ["a", "b"]);
    assert_eq!((f.work("a").await, f.work("b").await), (None, None));
    running.stop().await.0.expect("a clean end");
}

#[tokio::test(start_paused = true)]
async fn work_runs_concurrently_up_to_the_limit() {
    let f = Fixture::new();
    for site in ["a", "b", "c", "d", "e"] {
        f.script.set(site, [Act::Take(Duration::from_secs(10))]);
    }
    f.sites(["a", "b", "c", "d", "e"]).await;
    let _running = Fixture::run(f.worker(WorkerSettings::new("test").with_concurrency(2)));
    seconds(31).await;
    assert_eq!(f.script.max_running.load(Ordering::Relaxed), 2);
    assert_eq!(f.script.finished.load(Ordering::Relaxed), 5);
}

#[tokio::test(start_paused = true)]
async fn work_that_becomes_due_starts_at_once_beside_slow_work() {
    let f = Fixture::new();
    f.script.set("slow", [Act::Take(Duration::from_mins(5))]);
    f.sites(["slow"]).await;
    let _running = f.start();
    seconds(7).await;
    f.sites(["quick"]).await;
    seconds(1).await;
    assert_eq!(f.script.times("quick"), [7.0]);
}

#[tokio::test(start_paused = true)]
async fn work_that_takes_longer_than_its_lease_is_handled_once_by_one_worker() {
    let f = Fixture::new();
    f.script.set("a", [Act::Take(Duration::from_secs(200))]);
    f.sites(["a"]).await;
    let _running = [f.start(), f.start()];
    seconds(201).await;
    assert_eq!(f.script.calls().len(), 1);
    assert_eq!(f.script.finished.load(Ordering::Relaxed), 1);
    assert_eq!(f.work("a").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_stops_the_work_and_another_attempt_follows() {
    let f = Fixture::new();
    f.script.set("a", [Act::Take(Duration::from_mins(10))]);
    f.sites(["a"]).await;
    let _running = f.start();
    seconds(1).await;
    f.faults.set(BackendCall::Renew, Fault::Unavailable);
    seconds(28).await;
    assert_eq!(
        f.script.running.load(Ordering::Relaxed),
        1,
        "the lease lasts"
    );
    seconds(2).await;
    assert_eq!(f.script.times("a").len(), 2);
    assert_eq!(
        f.script.max_running.load(Ordering::Relaxed),
        1,
        "the first was stopped"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_arrives_while_work_ends_is_not_lost() {
    let f = Fixture::new();
    f.script.set("a", [Act::Take(Duration::from_secs(2))]);
    f.sites(["a"]).await;
    let _running = f.start();
    seconds(1).await;
    f.faults
        .set(BackendCall::Claim, Fault::LateReply(Duration::from_secs(5)));
    f.sites(["b"]).await;
    seconds(6).await;
    // The work on "a" ended at 2 s, while the reply with the claim of "b" was on its way.
    assert_eq!(f.script.times("b"), [6.0]);
}

#[tokio::test(start_paused = true)]
async fn claims_that_arrive_after_their_lease_are_handed_back_and_claimed_again() {
    let f = Fixture::new();
    f.faults.set(
        BackendCall::Claim,
        Fault::LateReply(Duration::from_secs(29)),
    );
    f.sites(["a"]).await;
    let settings = WorkerSettings::new("test").with_lease(Duration::from_secs(20));
    let _running = Fixture::run(f.worker(settings));
    seconds(1).await;
    f.faults.clear();
    seconds(29).await;
    assert_eq!(f.script.times("a"), [29.0]);
    assert_eq!(f.work("a").await, None);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_claimed_before_all_companions_are_ready() {
    let f = Fixture::new();
    f.sites(["a"]).await;
    let slow = |ready: Ready| async move {
        seconds(3).await;
        ready.set();
        std::future::pending().await
    };
    let quick = |ready: Ready| async move {
        drop(ready);
        std::future::pending().await
    };
    let worker = f.worker(WorkerSettings::new("test"));
    let _running = Fixture::run(worker.with_companion(slow).with_companion(quick));
    seconds(4).await;
    assert_eq!(f.script.times("a"), [3.0]);
}

#[tokio::test(start_paused = true)]
async fn a_companion_that_fails_ends_the_worker_after_its_work() {
    let f = Fixture::new();
    f.script.set("a", [Act::Take(Duration::from_secs(5))]);
    f.sites(["a"]).await;
    let failing = |ready: Ready| async move {
        ready.set();
        seconds(1).await;
        Err(Error::Forbidden("watch".to_owned()))
    };
    let worker = f.worker(WorkerSettings::new("test"));
    let mut running = Fixture::run(worker.with_companion(failing));
    let ended = (&mut running.task).await.expect("no panic");
    assert!(matches!(ended, Err(Error::Forbidden(_))), "{ended:?}");
    assert_eq!(f.script.finished.load(Ordering::Relaxed), 1);
}
