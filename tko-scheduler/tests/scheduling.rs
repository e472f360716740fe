//! When a site is scheduled, with which deployments, and the conditions it gets.

mod world;

use std::sync::Arc;
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::TokioClock;
use tko_core::{Gvk, Registry, Want};
use tko_scheduler::ScheduleSettings;
use world::{World, config, key, placed};

fn ids(told: &[world::RecordedCall]) -> Vec<(&str, Vec<&str>, Vec<&str>)> {
    told.iter()
        .map(|told| (told.site.as_str(), told.wanted_ids(), told.removed_ids()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_site_is_due_exactly_when_its_wanted_deployments_change() {
    let world = World::everywhere();
    world.site("a").await;
    world.settle().await;
    assert_eq!(ids(&world.recorder.take()), [("a", vec![], vec![])]);

    let one = world.deployment("a", "one", true).await;
    world.settle().await;
    assert_eq!(
        ids(&world.recorder.take()),
        [("a", vec![one.as_str()], vec![])]
    );

    let unapproved = world.deployment("a", "two", false).await;
    world.settle().await;
    assert_eq!(ids(&world.recorder.take()), [], "nothing that is to run");

    world
        .data
        .approve(&select(&unapproved))
        .await
        .expect("approved");
    world.settle().await;
    let both = vec![one.as_str(), unapproved.as_str()];
    assert_eq!(ids(&world.recorder.take()), [("a", both, vec![])]);

    world
        .modify(&one, |value| {
            if value["kind"] == "ConfigMap" {
                value["data"]["text"] = "new".into();
            }
        })
        .await;
    world.settle().await;
    let told = world.recorder.take();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].wanted[0], (one.to_string(), "new".to_owned()));

    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(ids(&world.recorder.take()), [], "not over and over");
}

fn select(id: &tko_core::DeploymentId) -> tko_core::Select {
    tko_core::Select::all(tko_core::Kind::Deployment).id(tko_core::Pattern::literal(id.as_str()))
}

#[tokio::test(start_paused = true)]
async fn conditions_and_placements_show_where_deployments_run() {
    let world = World::everywhere();
    world.site("a").await;
    let id = world.deployment("a", "one", true).await;
    world.settle().await;
    let entity = world.find(&id).await.expect("there");
    assert_eq!(placed(&entity), Some("a"));
    let condition = entity.condition("Scheduled").expect("reported");
    assert_eq!(condition.status, Some(true));
    assert_eq!(condition.observed, entity.generation);
    let site = world.find(key("a")).await.expect("there");
    assert_eq!(
        site.condition("Scheduled").expect("reported").status,
        Some(true)
    );
    assert!(site.condition("Seen").is_some(), "the scheduler's own");
}

#[tokio::test(start_paused = true)]
async fn deployments_that_are_no_longer_wanted_are_passed_as_removed() {
    let world = World::everywhere();
    world.site("a").await;
    let id = world.deployment("a", "first", true).await;
    world.settle().await;
    world.recorder.take();

    // Its current package is not the one on the site.
    world
        .modify(&id, |value| match value["kind"].as_str() {
            Some("ConfigMap") => value["data"]["text"] = "second".into(),
            _ => value["metadata"]["annotations"]["nephio.org/approved"] = "false".into(),
        })
        .await;
    world.settle().await;
    let told = world.recorder.take();
    assert_eq!(ids(&told), [("a", vec![], vec![id.as_str()])]);
    assert_eq!(told[0].removed[0].1, "first", "as it was scheduled");
    let entity = world.find(&id).await.expect("it is only unapproved");
    assert_eq!(placed(&entity), None);
    let (status, reason, _) = world.condition(&id).await.expect("reported");
    assert_eq!((status, reason.as_str()), (Some(false), "Removed"));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_deployment_stays_until_its_site_reports_it_removed() {
    let mut world = World::new();
    world.site("a").await;
    world.start_recording(ScheduleSettings::default());
    let id = world.deployment("a", "one", true).await;
    world.settle().await;
    world.recorder.take();
    world.recorder.next([world::Act::Fail("down")]);
    world.data.delete(&id.clone().into()).await.expect("taken");
    world.settle().await;
    assert_eq!(
        ids(&world.recorder.take()),
        [("a", vec![], vec![id.as_str()])]
    );
    let entity = world.find(&id).await.expect("nobody took it off");
    assert!(entity.deleting);
    assert!(
        world.data.get(&id.clone().into(), Want::ROW).await.is_err(),
        "hidden"
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    // The last pass has no earlier attempts, and starts the resync interval.
    assert_eq!(
        ids(&world.recorder.take()),
        [("a", vec![], vec![id.as_str()]), ("a", vec![], vec![])]
    );
    assert!(world.find(&id).await.is_none());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_moving_deployment_is_removed_from_its_old_site_first() {
    let world = World::everywhere();
    world.site("a").await;
    world.site("b").await;
    let id = world.deployment("a", "one", true).await;
    world.settle().await;
    world.recorder.take();
    world
        .recorder
        .always(world::Act::Take(Duration::from_secs(3)));
    world.move_to(&id, "b").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // While `a` is slow, `b` must not place it.
    let early = world.recorder.take();
    assert!(early.iter().all(|told| told.wanted.is_empty()), "{early:?}");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let late = world.recorder.take();
    assert_eq!(ids(&late).last(), Some(&("b", vec![id.as_str()], vec![])));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let entity = world.find(&id).await.expect("there");
    assert_eq!(placed(&entity), Some("b"));
    let (status, _, message) = world.condition(&id).await.expect("reported");
    assert_eq!((status, message.as_str()), (Some(true), "on site b"));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_waits_to_move_reports_it() {
    let world = World::everywhere();
    world.site("a").await;
    world.site("b").await;
    let id = world.deployment("a", "one", true).await;
    world.settle().await;
    world.recorder.always(world::Act::Fail("down"));
    world.move_to(&id, "b").await;
    world.settle().await;
    let (status, reason, message) = world.condition(&id).await.expect("reported");
    assert_ne!(status, Some(true));
    assert!(
        reason == "Moving" || reason == "RemovalFailed",
        "{reason}: {message}"
    );
    assert!(message.contains("site a"), "{message}");
    assert_eq!(placed(&world.find(&id).await.expect("there")), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_site_is_scheduled_once_more_with_its_last_package() {
    let world = World::everywhere();
    world.site_with("a", vec![config("site")]).await;
    let id = world.deployment("a", "one", true).await;
    world.settle().await;
    world.recorder.take();
    world.data.delete(&key("a")).await.expect("taken");
    world.settle().await;
    let told = world.recorder.take();
    assert_eq!(ids(&told), [("a", vec![], vec![id.as_str()])]);
    assert!(told[0].going);
    assert!(world.find(key("a")).await.is_none());
    let entity = world
        .find(&id)
        .await
        .expect("deployments are not deleted with it");
    assert_eq!(placed(&entity), None);
    assert_eq!(entity.deployment().expect("is one").site, None);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_site_without_deployments_is_scheduled_too() {
    let world = World::everywhere();
    world.site("a").await;
    world.settle().await;
    world.recorder.take();
    world.data.delete(&key("a")).await.expect("taken");
    world.settle().await;
    let told = world.recorder.take();
    assert_eq!(told.len(), 1);
    assert!(told[0].going);
    assert!(world.find(key("a")).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn every_site_is_scheduled_again_after_the_resync_interval() {
    let mut world = World::new();
    world.start_recording(ScheduleSettings::default().with_resync(Duration::from_secs(100)));
    world.site("a").await;
    world.settle().await;
    world.recorder.take();
    tokio::time::sleep(Duration::from_secs(89)).await;
    assert_eq!(ids(&world.recorder.take()), []);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(ids(&world.recorder.take()), [("a", vec![], vec![])]);
    let before = world.find(key("a")).await.expect("there").version;
    tokio::time::sleep(Duration::from_secs(1000)).await;
    let times = world.recorder.take().len();
    assert!((9..=12).contains(&times), "{times} times");
    let after = world.find(key("a")).await.expect("there").version;
    assert_eq!(before, after, "nothing new is nothing written");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_resync_nothing_is_scheduled_again() {
    let mut world = World::new();
    world.start_recording(ScheduleSettings::default().with_resync(Duration::ZERO));
    world.site("a").await;
    tokio::time::sleep(Duration::from_hours(24)).await;
    assert_eq!(world.recorder.take().len(), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_enqueues_idle_sites() {
    let mut world = World::new();
    world.start_recording(ScheduleSettings::default().with_resync(Duration::ZERO));
    for number in 0..250 {
        world.site(&format!("s{number}")).await;
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    world.stop().await;
    assert_eq!(world.recorder.take().len(), 250);
    world.start_recording(ScheduleSettings::default().with_resync(Duration::from_mins(10)));
    tokio::time::sleep(Duration::from_mins(2)).await;
    let soon = world.recorder.take().len();
    assert!(soon < 120, "{soon}: spread over the interval");
    tokio::time::sleep(Duration::from_mins(8)).await;
    assert!(world.recorder.take().len() + soon >= 250);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_with_a_scheduler_schedules_unserved_sites_at_once() {
    let settings = ScheduleSettings::default().with_resync(Duration::ZERO);
    let mut world = World::new();
    world.start(Registry::new(), settings.clone());
    world.site("a").await;
    world.settle().await;
    let (_, reason, message) = world.condition(key("a")).await.expect("reported");
    assert_eq!(reason, "NoScheduler");
    for remedy in ["--manifests,", "--manifests-git", "--clusters"] {
        assert!(message.contains(remedy), "{message}");
    }
    world.stop().await;
    world.start_recording(settings);
    world.settle().await;
    assert_eq!(ids(&world.recorder.take()), [("a", vec![], vec![])]);
    let (status, _, _) = world.condition(key("a")).await.expect("reported");
    assert_eq!(status, Some(true));
    world.stop().await;
}

/// Its site is due although the feed of plugins did not show the change.
#[tokio::test(start_paused = true)]
async fn a_plugin_whose_change_was_missed_is_called() {
    let clock = Arc::new(TokioClock::new());
    let memory = Memory::new(clock.clone(), MemorySettings { history: 1 });
    let mut world = World::over(clock, Arc::new(memory));
    let settings = ScheduleSettings::default().with_resync(Duration::ZERO);
    world.start(Registry::new(), settings);
    world.site_with("a", vec![config("site")]).await;
    world.settle().await;
    // The history has one change, so the feed cannot show the plugin any more.
    world.plugin("one", &Gvk::of("v1", "ConfigMap")).await;
    world.site("b").await;
    world.site("c").await;
    world.settle().await;
    let told = world.recorder.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].site, "a");
    world.stop().await;
}
