//! Schedulers that fail, hang or are missing; several workers; shutdown.

mod world;

use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::{BackendCall, Between, CallObserver, TokioClock};
use tko_core::{Condition, Error, Gvk, Registry, Result, ScheduleCall, Scheduler, Want};
use tko_scheduler::ScheduleSettings;
use tko_worker::WorkerSettings;
use world::{Act, World, config, key, placed};

#[tokio::test(start_paused = true)]
async fn a_failure_is_retried_and_reported_on_the_site_and_its_deployments() {
    let world = World::new();
    world.site("a").await;
    let id = world.deployment("a", "one", true).await;
    let mut world = world;
    world
        .recorder
        .next([Act::Fail("no route"), Act::Fail("no route")]);
    world.start_recording(ScheduleSettings::default());
    tokio::time::sleep(Duration::from_millis(400)).await;
    let (status, reason, message) = world.condition(key("a")).await.expect("reported");
    assert_eq!((status, reason.as_str()), (Some(false), "SchedulerFailed"));
    assert_eq!(
        message,
        "scheduler recorder failed: could not reach the cluster: no route"
    );
    let (status, _, message) = world.condition(&id).await.expect("reported");
    assert_eq!(status, Some(false));
    assert!(
        message.starts_with("not scheduled on site a: scheduler recorder failed: "),
        "{message}"
    );
    let want = Want::ROW.with_work();
    let work = world.data.get(&key("a"), want).await.expect("there").work;
    assert_eq!(work[0].attempts, 1);
    assert!(
        work[0]
            .error
            .as_deref()
            .is_some_and(|e| e.contains("no route"))
    );

    let version = world.find(&id).await.expect("there").version;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(world.recorder.take().len(), 2, "the same again");
    let same = world.find(&id).await.expect("there").version;
    assert_eq!(version, same, "the same words are not written again");

    tokio::time::sleep(Duration::from_secs(3)).await;
    // The third attempt, and a pass without earlier attempts, which starts the resync interval.
    assert_eq!(world.recorder.take().len(), 2);
    for key in [key("a"), (&id).into()] {
        let (status, _, _) = world.condition(key).await.expect("reported");
        assert_eq!(status, Some(true));
    }
    let again = world.data.get(&key("a"), want).await.expect("there").work;
    assert!(
        again
            .iter()
            .all(|work| work.attempts == 0 && work.error.is_none()),
        "{again:?}"
    );
    world.stop().await;
}

/// Lets a number of commits and ends of claims pass, and fails the next one.
struct FailedCommit(AtomicUsize);

impl FailedCommit {
    /// Fails no commit.
    const NEVER: usize = usize::MAX;
}

#[async_trait]
impl CallObserver for FailedCommit {
    async fn before(&self, call: BackendCall) -> Result<()> {
        let left = self.0.load(Ordering::Relaxed);
        let counts = matches!(call, BackendCall::Commit | BackendCall::Settle);
        if !counts || left == Self::NEVER {
            return Ok(());
        }
        self.0.store(left.wrapping_sub(1), Ordering::Relaxed);
        if left > 0 {
            return Ok(());
        }
        Err(Error::unavailable("commit", "connection lost"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_site_that_recovers_resyncs_whichever_commit_fails() {
    for passing in 0..5 {
        let clock = Arc::new(TokioClock::new());
        let memory = Memory::new(clock.clone(), MemorySettings::default());
        let faulty = Arc::new(FailedCommit(AtomicUsize::new(FailedCommit::NEVER)));
        let backend = Between::new(memory, faulty.clone());
        let mut world = World::over(clock, Arc::new(backend));
        world.site("a").await;
        world.recorder.next([Act::Fail("no route")]);
        world.start_recording(ScheduleSettings::default().with_resync(Duration::from_secs(100)));
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(world.recorder.take().len(), 1, "it failed");
        faulty.0.store(passing, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(!world.recorder.take().is_empty(), "{passing}: retried");
        tokio::time::sleep(Duration::from_secs(250)).await;
        let times = world.recorder.take().len();
        assert!(times >= 2, "{passing}: resynced {times} times");
        let left = faulty.0.load(Ordering::Relaxed);
        assert_eq!(left, FailedCommit::NEVER, "{passing}: a commit failed");
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_that_panics_or_hangs_delays_no_other() {
    let mut world = World::new();
    world.site("a").await;
    world.site("b").await;
    let (good, bad): (Arc<dyn Scheduler>, _) = (world.recorder.clone(), Arc::new(Bad));
    let bad: Arc<dyn Scheduler> = bad;
    let registry = Registry::new()
        .with_everywhere("bad", bad)
        .with_everywhere("good", good);
    let settings = ScheduleSettings::default().with_timeout(Duration::from_secs(20));
    world.start(registry, settings);
    tokio::time::sleep(Duration::from_secs(21)).await;
    let told = world.recorder.take();
    assert!(told.iter().any(|told| told.site == "a"));
    assert!(told.iter().any(|told| told.site == "b"));
    let (_, _, message) = world.condition(key("a")).await.expect("reported");
    assert!(message.contains("bad failed: panicked"), "{message}");
    let (_, _, message) = world.condition(key("b")).await.expect("reported");
    assert!(
        message.contains("bad failed: did not finish within 20s"),
        "{message}"
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn by_default_a_call_has_five_minutes_and_a_resync_comes_after_ten() {
    let settings = ScheduleSettings::default();
    assert_eq!(settings.resync, Duration::from_mins(10));
    let mut world = World::new();
    world.site("b").await;
    let bad: Arc<dyn Scheduler> = Arc::new(Bad);
    world.start(Registry::new().with_everywhere("bad", bad), settings);
    tokio::time::sleep(Duration::from_secs(299)).await;
    let (status, _, message) = world.condition(key("b")).await.expect("started");
    assert_eq!(status, None, "{message}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (status, _, message) = world.condition(key("b")).await.expect("reported");
    assert_eq!(status, Some(false));
    assert!(
        message.contains("bad failed: did not finish within 300s"),
        "{message}"
    );
    world.stop().await;
}

/// Panics for `a`, hangs for others.
struct Bad;

#[async_trait]
impl Scheduler for Bad {
    async fn schedule(&self, call: ScheduleCall<'_>) -> Result<Vec<Condition>> {
        assert_ne!(call.site.entity.key.id(), "a", "told to");
        std::future::pending().await
    }
}

/// Waits for 30 s before each site, and limits itself.
struct WaitingScheduler;

#[async_trait]
impl Scheduler for WaitingScheduler {
    async fn schedule(&self, _: ScheduleCall<'_>) -> Result<Vec<Condition>> {
        tokio::time::sleep(Duration::from_secs(30)).await;
        Ok(Vec::new())
    }

    fn limits_itself(&self) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_that_limits_itself_may_wait_for_longer_than_the_time_limit() {
    let mut world = World::new();
    world.site("a").await;
    let waiting: Arc<dyn Scheduler> = Arc::new(WaitingScheduler);
    let registry = Registry::new().with_everywhere("waiting", waiting);
    let settings = ScheduleSettings::default().with_timeout(Duration::from_secs(20));
    world.start(registry, settings);
    tokio::time::sleep(Duration::from_secs(31)).await;
    let (status, _, message) = world.condition(key("a")).await.expect("reported");
    assert_eq!(status, Some(true), "{message}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_exceeds_the_lease_is_made_once() {
    let mut world = World::new();
    world.site("a").await;
    world.recorder.next([Act::Take(Duration::from_secs(200))]);
    world.start_recording(ScheduleSettings::default());
    tokio::time::sleep(Duration::from_secs(201)).await;
    assert_eq!(world.recorder.take().len(), 1);
    let (status, _, _) = world.condition(key("a")).await.expect("reported");
    assert_eq!(status, Some(true));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn different_sites_run_concurrently_and_one_site_never_does() {
    let mut world = World::new();
    for site in ["a", "b", "c", "d"] {
        world.site(site).await;
    }
    world.recorder.always(Act::Take(Duration::from_secs(70)));
    for name in ["one", "two"] {
        world.start_recording(
            ScheduleSettings::default().with_worker(WorkerSettings::new(name).with_concurrency(2)),
        );
    }
    // Calls take longer than a lease, and are out of date when they end.
    for round in 0..20 {
        for site in ["a", "b", "c", "d"] {
            world.deployment(site, &round.to_string(), true).await;
        }
        tokio::time::sleep(Duration::from_secs(11)).await;
    }
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(world.recorder.overlaps.load(Ordering::Relaxed), 0);
    assert_eq!(world.recorder.most.load(Ordering::Relaxed), 4);
    let told = world.recorder.take();
    let last = told.iter().rfind(|told| told.site == "a").expect("called");
    assert_eq!(last.wanted.len(), 20, "the last call knows all");
    let fences: Vec<u64> = told
        .iter()
        .filter(|t| t.site == "a")
        .map(|t| t.fence)
        .collect();
    assert!(fences.is_sorted_by(|one, two| one < two), "{fences:?}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_scheduler_nothing_is_placed_and_deletions_are_immediate() {
    let mut world = World::new();
    world.start(Registry::new(), ScheduleSettings::default());
    world.site("a").await;
    let id = world.deployment("a", "one", true).await;
    world.settle().await;
    let (status, reason, message) = world.condition(key("a")).await.expect("reported");
    assert_eq!((status, reason.as_str()), (Some(false), "NoScheduler"));
    assert!(message.contains("register a schedule plugin"), "{message}");
    let (status, reason, _) = world.condition(&id).await.expect("reported");
    assert_eq!((status, reason.as_str()), (Some(false), "NoScheduler"));
    assert_eq!(placed(&world.find(&id).await.expect("there")), None);
    world.data.delete(&id.clone().into()).await.expect("taken");
    assert!(world.find(&id).await.is_none());
    world.data.delete(&key("a")).await.expect("taken");
    assert!(world.find(key("a")).await.is_none());
    world.stop().await;
}

fn trigger() -> Gvk {
    Gvk::of("v1", "ConfigMap")
}

#[tokio::test(start_paused = true)]
async fn a_registered_plugin_gets_the_sites_that_trigger_it() {
    let mut world = World::new();
    world.start(Registry::new(), ScheduleSettings::default());
    world.site_with("with", vec![config("site")]).await;
    world.site("without").await;
    world.settle().await;
    assert_eq!(world.recorder.take(), []);
    world.plugin("one", &trigger()).await;
    world.settle().await;
    let told = world.recorder.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].site, "with");
    assert_eq!(told[0].target.as_deref(), Some("ConfigMap core/config"));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn deployments_of_an_unregistered_scheduler_stay_until_another_removes_them() {
    let mut world = World::new();
    world.start(Registry::new(), ScheduleSettings::default());
    let plugin = world.plugin("one", &trigger()).await;
    world.site_with("a", vec![config("site")]).await;
    let id = world.deployment("a", "one", true).await;
    world.settle().await;
    assert_eq!(placed(&world.find(&id).await.expect("there")), Some("a"));
    world.data.delete(&plugin).await.expect("taken");
    world.settle().await;
    let (_, reason, _) = world.condition(key("a")).await.expect("reported");
    assert_eq!(reason, "SchedulerGone");
    world.data.delete(&id.clone().into()).await.expect("taken");
    world.settle().await;
    let (_, _, message) = world.condition(key("a")).await.expect("reported");
    assert!(
        message.contains("1 deployment waits for a scheduler to remove it"),
        "{message}"
    );
    world.data.delete(&key("a")).await.expect("taken");
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(world.find(&id).await.is_some(), "nobody took it off");
    assert!(world.find(key("a")).await.is_some());
    world.recorder.take();
    world.plugin("one", &trigger()).await;
    world.settle().await;
    let told = world.recorder.take();
    assert_eq!(told[0].removed_ids(), [id.as_str()]);
    assert!(world.find(&id).await.is_none());
    assert!(world.find(key("a")).await.is_none());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_executor_is_reported() {
    let mut world = World::new();
    world.start(Registry::new(), ScheduleSettings::default());
    world.site_with("a", vec![config("site")]).await;
    let id = tko_core::PluginId::new(tko_core::PluginType::Schedule, "x").expect("valid");
    let new = tko_core::NewPlugin::new(id, "magic".to_owned())
        .arguments(Vec::new())
        .properties(std::collections::BTreeMap::default())
        .triggers(vec![trigger()]);
    world.data.register_plugin(new).await.expect("registered");
    world.settle().await;
    let (status, _, message) = world.condition(key("a")).await.expect("reported");
    assert_eq!(status, Some(false));
    assert!(
        message.contains("\"magic\"") && message.contains("recording"),
        "{message}"
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_deleted_during_its_placement_is_removed() {
    let mut world = World::new();
    world.site("a").await;
    let id = world.deployment("a", "one", true).await;
    world.recorder.next([Act::Take(Duration::from_secs(5))]);
    world.start_recording(ScheduleSettings::default());
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.data.delete(&id.clone().into()).await.expect("taken");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let told = world.recorder.take();
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].wanted_ids(), [id.as_str()]);
    assert_eq!(told[1].removed_ids(), [id.as_str()]);
    assert!(world.find(&id).await.is_none());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_site_that_is_deleted_during_a_call_gets_its_last_call() {
    let slow = Act::Take(Duration::from_secs(10));
    let usual = ScheduleSettings::default();
    for (acts, settings, earlier) in [
        // A first call with a resync interval, one without, and a retried one.
        (vec![slow.clone()], usual.clone(), 1),
        (
            vec![slow.clone()],
            usual.clone().with_resync(Duration::ZERO),
            1,
        ),
        (vec![Act::Fail("no route"), slow], usual, 2),
    ] {
        let mut world = World::new();
        world.site("a").await;
        let id = world.deployment("a", "one", true).await;
        world.recorder.next(acts);
        world.start_recording(settings);
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.data.delete(&key("a")).await.expect("taken");
        assert!(world.find(key("a")).await.is_some(), "it is cleaned up");
        tokio::time::sleep(Duration::from_secs(20)).await;
        let told = world.recorder.take();
        let (last, before) = told.split_last().expect("called");
        assert_eq!(before.len(), earlier, "{told:?}");
        assert!(before.iter().all(|call| !call.going), "{told:?}");
        assert!(last.going, "{told:?}");
        assert_eq!(last.removed_ids(), [id.as_str()]);
        assert!(world.find(key("a")).await.is_none());
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_deployments_of_a_site_are_reported() {
    let mut world = World::new();
    world.site("a").await;
    for _ in 0..3 {
        world.deployment("a", "x", true).await;
    }
    world.start_recording(ScheduleSettings::default().with_max_deployments(2));
    world.settle().await;
    assert_eq!(world.recorder.take(), []);
    let (_, _, message) = world.condition(key("a")).await.expect("reported");
    assert!(message.contains("more than 2 deployments"), "{message}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn work_in_flight_finishes_at_shutdown() {
    let mut world = World::new();
    world.site("a").await;
    let id = world.deployment("a", "one", true).await;
    world.recorder.always(Act::Take(Duration::from_secs(5)));
    world.start_recording(ScheduleSettings::default());
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.stop().await;
    let (status, _, _) = world.condition(&id).await.expect("reported");
    assert_eq!(status, Some(true));
}

#[tokio::test(start_paused = true)]
async fn work_that_does_not_finish_at_shutdown_is_handed_back() {
    let mut world = World::new();
    world.site("a").await;
    world.recorder.next([Act::Take(Duration::from_secs(200))]);
    world.start_recording(ScheduleSettings::default());
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.stop().await;
    assert_eq!(world.recorder.take().len(), 1);
    world.start_recording(ScheduleSettings::default());
    world.settle().await;
    let told = world.recorder.take();
    assert_eq!(told.len(), 1, "at once, not when the claim lapses");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_crashed_worker_is_followed_by_one_with_a_higher_fence() {
    let mut world = World::new();
    world.site("a").await;
    world.recorder.next([Act::Take(Duration::from_secs(200))]);
    world.start_recording(ScheduleSettings::default());
    tokio::time::sleep(Duration::from_secs(1)).await;
    for running in world.running.drain(..) {
        running.abort();
    }
    world.start_recording(ScheduleSettings::default());
    tokio::time::sleep(Duration::from_secs(35)).await;
    let told = world.recorder.take();
    // The expired claim counts as an attempt, so a pass without earlier attempts follows.
    assert_eq!(told.len(), 3);
    assert!(told[0].fence < told[1].fence);
    assert_eq!(world.recorder.overlaps.load(Ordering::Relaxed), 0);
    world.stop().await;
}

/// Reports about each deployment, and fails.
struct Reporter;

#[async_trait]
impl Scheduler for Reporter {
    async fn schedule(&self, call: ScheduleCall<'_>) -> Result<Vec<Condition>> {
        for deployment in call.wanted {
            let entity = &deployment.entity;
            let condition =
                |kind: &str| Condition::new(kind, true, "Reported", "by itself", entity.generation);
            call.report(&entity.key, condition("Ready"));
            call.report(&entity.key, condition(tko_core::entity::SCHEDULED));
        }
        let stray = tko_core::DeploymentId::new("stray").expect("an id");
        let generation = call.site.entity.generation;
        let condition = Condition::new("Ready", true, "Reported", "", generation);
        call.report(&(&stray).into(), condition.clone());
        call.report(&call.site.entity.key, condition);
        Err(tko_core::Error::unavailable("go on", "one of many failed"))
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_scheduler_reports_is_stored_although_it_fails() {
    let mut world = World::new();
    world.site("a").await;
    let id = world.deployment("a", "one", true).await;
    let registry =
        Registry::new().with_everywhere("reporter", Arc::new(Reporter) as Arc<dyn Scheduler>);
    world.start(registry, ScheduleSettings::default());
    world.settle().await;
    for key in [key("a"), (&id).into()] {
        let entity = world.find(key.clone()).await.expect("there");
        let ready = entity.condition("Ready").expect("reported");
        assert_eq!((ready.status, &*ready.reason), (Some(true), "Reported"));
        let (status, reason, _) = world.condition(key).await.expect("the controller's own");
        assert_eq!((status, reason.as_str()), (Some(false), "SchedulerFailed"));
    }
    world.stop().await;
}
