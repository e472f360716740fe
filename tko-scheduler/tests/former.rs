//! Schedulers that nothing triggers any more, or that do not exist any more: what they placed is
//! removed, or the conditions say that it was not.

mod world;

use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    Condition, EntityUpdate, Gvk, Metadata, NewPlugin, NewSite, Package, PluginId, PluginType,
    Registry, Result, ScheduleCall, Scheduler, SiteId, SiteScheduler,
};
use tko_scheduler::ScheduleSettings;
use world::{Act, World, config, key, placed};

fn trigger() -> Gvk {
    Gvk::of("v1", "ConfigMap")
}

/// Serves every site, and does nothing.
struct Quiet;

#[async_trait]
impl Scheduler for Quiet {
    async fn schedule(&self, _: ScheduleCall<'_>) -> Result<Vec<Condition>> {
        Ok(Vec::new())
    }
}

/// A fixture with a scheduler that serves every site, and a plugin `one` that the site `a` triggers.
async fn with_another() -> World {
    let mut world = World::new();
    let quiet: Arc<dyn Scheduler> = Arc::new(Quiet);
    let registry = Registry::new().with_everywhere("quiet", quiet);
    world.start(registry, ScheduleSettings::default());
    world.plugin("one", &trigger()).await;
    world.site_with("a", vec![config("site")]).await;
    world
}

/// A resource that leaves a site takes along what its scheduler placed there.
#[tokio::test(start_paused = true)]
async fn a_scheduler_whose_resource_leaves_the_site_gets_a_last_call() {
    let mut world = with_another().await;
    let kept = world.deployment("a", "kept", true).await;
    let gone = world.deployment("a", "gone", true).await;
    world.settle().await;
    assert!(!world.recorder.take().is_empty(), "it placed them");
    world.site_with("a", Vec::new()).await;
    world.settle().await;
    let told = world.recorder.take();
    assert_eq!(told.len(), 1, "{told:?}");
    let call = &told[0];
    assert!(call.last && !call.going, "{call:?}");
    assert_eq!(call.target.as_deref(), Some("ConfigMap core/config"));
    assert!(call.has_target, "it needs its resource: {call:?}");
    assert!(call.wanted.is_empty(), "{call:?}");
    assert_eq!(call.removed_ids(), [kept.as_str(), gone.as_str()]);

    // After its success it is forgotten, and the other scheduler removes alone.
    let site = world.find(key("a")).await.expect("there");
    let recorded = SiteScheduler::all_of(&site);
    let names: Vec<&str> = recorded.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["quiet"]);
    world
        .data
        .delete(&gone.clone().into())
        .await
        .expect("taken");
    world.settle().await;
    assert_eq!(world.recorder.take(), []);
    assert!(world.find(&gone).await.is_none());
    assert_eq!(placed(&world.find(&kept).await.expect("there")), Some("a"));

    world.site_with("a", vec![config("site")]).await;
    world.settle().await;
    let told = world.recorder.take();
    let call = told.last().expect("it is triggered again");
    assert_eq!(call.wanted_ids(), [kept.as_str()]);
    assert!(!call.last && call.removed.is_empty(), "{told:?}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_counts_as_removed_before_the_last_call_succeeds() {
    let mut world = with_another().await;
    let id = world.deployment("a", "one", true).await;
    world.settle().await;
    world.recorder.always(Act::Fail("no route"));
    world.site_with("a", Vec::new()).await;
    world.data.delete(&id.clone().into()).await.expect("taken");
    world.settle().await;
    assert!(world.find(&id).await.is_some(), "it may still run");
    for (key, expected) in [
        (key("a"), "SchedulerFailed"),
        ((&id).into(), "RemovalFailed"),
    ] {
        let (_, reason, message) = world.condition(key).await.expect("reported");
        assert_eq!(reason, expected);
        for part in ["schedule|one", "left the package of the site", "no route"] {
            assert!(message.contains(part), "{message}");
        }
    }
    world.recorder.always(Act::Succeed);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(world.find(&id).await.is_none());
    let (status, _, message) = world.condition(key("a")).await.expect("reported");
    assert_eq!(status, Some(true), "{message}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_comes_back_needs_no_last_call() {
    let mut world = with_another().await;
    let id = world.deployment("a", "one", true).await;
    world.settle().await;
    world.recorder.always(Act::Fail("no route"));
    world.site_with("a", Vec::new()).await;
    world.settle().await;
    world.site_with("a", vec![config("site")]).await;
    world.settle().await;
    world.recorder.take();
    world.recorder.always(Act::Succeed);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let told = world.recorder.take();
    assert!(!told.is_empty());
    for call in told {
        assert!(!call.last, "{call:?}");
        assert_eq!(call.wanted_ids(), [id.as_str()]);
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_site_whose_last_scheduler_left_has_no_deployments() {
    let mut world = World::new();
    world.start(Registry::new(), ScheduleSettings::default());
    world.plugin("one", &trigger()).await;
    world.site_with("a", vec![config("site")]).await;
    let id = world.deployment("a", "one", true).await;
    world.settle().await;
    assert_eq!(placed(&world.find(&id).await.expect("there")), Some("a"));
    world.recorder.take();
    world.site_with("a", Vec::new()).await;
    world.settle().await;
    let told = world.recorder.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].last);
    assert_eq!(told[0].removed_ids(), [id.as_str()]);
    assert_eq!(placed(&world.find(&id).await.expect("there")), None);
    for key in [key("a"), (&id).into()] {
        let (status, reason, _) = world.condition(key).await.expect("reported");
        assert_eq!((status, reason.as_str()), (Some(false), "NoScheduler"));
    }
    world.data.delete(&id.clone().into()).await.expect("taken");
    assert!(world.find(&id).await.is_none(), "at once");
    world.data.delete(&key("a")).await.expect("taken");
    assert!(world.find(key("a")).await.is_none(), "at once");
    world.stop().await;
}

/// Neither the plugin nor the resource exists any more, and another scheduler succeeds.
#[tokio::test(start_paused = true)]
async fn a_deleted_plugin_keeps_removals_open_until_it_is_back() {
    let mut world = with_another().await;
    let id = world.deployment("a", "one", true).await;
    world.settle().await;
    let plugin = PluginId::new(PluginType::Schedule, "one").expect("valid");
    world.data.delete(&plugin.into()).await.expect("taken");
    world.site_with("a", Vec::new()).await;
    world.settle().await;
    world.recorder.take();
    let (status, reason, message) = world.condition(key("a")).await.expect("reported");
    assert_eq!((status, reason.as_str()), (Some(false), "SchedulerGone"));
    for part in [
        "schedule|one (for ConfigMap core/config)",
        "--abandon-scheduler 'schedule|one'",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let (status, _, _) = world.condition(&id).await.expect("reported");
    assert_eq!(status, Some(true), "the other scheduler placed it, too");

    world.data.delete(&id.clone().into()).await.expect("taken");
    world.settle().await;
    let entity = world.find(&id).await.expect("it may still run");
    assert_eq!(placed(&entity), Some("a"));
    let (_, reason, message) = world.condition(&id).await.expect("reported");
    assert_eq!(reason, "RemovalFailed");
    assert!(message.contains("schedule|one"), "{message}");
    let version = world.find(key("a")).await.expect("there").version;
    // Longer than two resync intervals.
    tokio::time::sleep(Duration::from_mins(25)).await;
    let later = world.find(key("a")).await.expect("there").version;
    assert_eq!(version, later, "the same is not written again");

    // The site has no resource that triggers it, and is found nevertheless.
    world.plugin("one", &trigger()).await;
    world.settle().await;
    let told = world.recorder.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].last && told[0].has_target, "{told:?}");
    assert_eq!(told[0].removed_ids(), [id.as_str()]);
    assert!(world.find(&id).await.is_none());
    let (status, _, message) = world.condition(key("a")).await.expect("reported");
    assert_eq!(status, Some(true), "{message}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_site_that_waits_for_a_deleted_plugin_can_be_given_up() {
    let mut world = with_another().await;
    let id = world.deployment("a", "one", true).await;
    world.settle().await;
    let plugin = PluginId::new(PluginType::Schedule, "one").expect("valid");
    world.data.delete(&plugin.into()).await.expect("taken");
    world.data.delete(&id.clone().into()).await.expect("taken");
    world.data.delete(&key("a")).await.expect("taken");
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(world.find(&id).await.is_some());
    assert!(world.find(key("a")).await.is_some());
    world.stop().await;
    let names = ["schedule|one".to_owned()];
    let settings = ScheduleSettings::default().with_abandoned(names);
    world.start(Registry::new(), settings.clone());
    world.settle().await;
    // The other scheduler does not exist now, either.
    let (_, reason, message) = world.condition(key("a")).await.expect("reported");
    assert_eq!(reason, "SchedulerGone");
    assert!(message.contains("scheduler quiet"), "{message}");
    assert!(!message.contains("schedule|one"), "{message}");
    world.stop().await;
    let names = ["schedule|one", "quiet"].map(str::to_owned);
    world.start(Registry::new(), settings.with_abandoned(names));
    world.settle().await;
    assert!(world.find(&id).await.is_none());
    assert!(world.find(key("a")).await.is_none());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_of_every_site_that_is_switched_off_keeps_removals_open() {
    let mut world = World::everywhere();
    world.site("a").await;
    let id = world.deployment("a", "one", true).await;
    world.settle().await;
    world.recorder.take();
    world.stop().await;
    world.start(Registry::new(), ScheduleSettings::default());
    world.data.delete(&id.clone().into()).await.expect("taken");
    world.settle().await;
    assert!(world.find(&id).await.is_some());
    let (_, reason, message) = world.condition(key("a")).await.expect("reported");
    assert_eq!(reason, "SchedulerGone");
    assert!(message.contains("scheduler recorder placed"), "{message}");
    world.stop().await;
    world.start_recording(ScheduleSettings::default());
    world.settle().await;
    let told = world.recorder.take();
    assert!(
        told.iter().any(|call| call.removed_ids() == [id.as_str()]),
        "{told:?}"
    );
    assert!(world.find(&id).await.is_none());
    world.stop().await;
}

/// A plugin whose calls placed nothing that is still there blocks nothing.
#[tokio::test(start_paused = true)]
async fn a_deleted_plugin_is_forgotten_where_nothing_is_placed() {
    let mut world = with_another().await;
    world.settle().await;
    let plugin = PluginId::new(PluginType::Schedule, "one").expect("valid");
    world.data.delete(&plugin.into()).await.expect("taken");
    world.settle().await;
    let (status, _, message) = world.condition(key("a")).await.expect("reported");
    assert_eq!(status, Some(true), "{message}");
    let site = world.find(key("a")).await.expect("there");
    assert_eq!(SiteScheduler::all_of(&site).len(), 1, "the other one");
    world.data.delete(&key("a")).await.expect("taken");
    world.settle().await;
    assert!(world.find(key("a")).await.is_none());
    world.stop().await;
}

/// The record is written once, schedules nothing, and is not part of what clients see or change.
#[tokio::test(start_paused = true)]
async fn recording_a_scheduler_has_no_other_effect() {
    let world = World::everywhere();
    world.site("a").await;
    world.settle().await;
    assert_eq!(world.recorder.take().len(), 1);
    let site = world.find(key("a")).await.expect("there");
    assert!(site.metadata.is_empty(), "{:?}", site.metadata);
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(world.recorder.take(), []);
    let names = async || {
        let site = world.find(key("a")).await.expect("there");
        let recorded = SiteScheduler::all_of(&site);
        recorded.into_iter().map(|one| one.name).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["recorder"]);
    let metadata = Metadata::from_iter([("k", "v")]);
    let id = SiteId::new("a").expect("valid");
    let new = NewSite::new(id, Package::default()).metadata(metadata);
    world.data.register_site(new).await.expect("registered");
    assert_eq!(names().await, ["recorder"]);
    world.settle().await;
    let version = world.find(key("a")).await.expect("there").version;
    let update = EntityUpdate::new(key("a"), version).metadata(Metadata::default());
    world.data.update_entity(update).await.expect("changed");
    assert_eq!(names().await, ["recorder"]);
}

fn rack(version: &str, name: &str) -> Value {
    json!({
        "apiVersion": format!("infra.example/{version}"), "kind": "Rack",
        "metadata": {"name": name},
    })
}

fn racks(version: &str) -> Gvk {
    Gvk::new("infra.example", version, "Rack")
}

#[tokio::test(start_paused = true)]
async fn another_version_of_a_resource_removes_nothing() {
    let mut world = World::new();
    world.start(Registry::new(), ScheduleSettings::default());
    let plugin = PluginId::new(PluginType::Schedule, "rack").expect("valid");
    let new = NewPlugin::new(plugin, "recording".to_owned())
        .triggers(vec![racks("v1alpha1"), racks("v1")]);
    world.data.register_plugin(new).await.expect("registered");
    world.site_with("a", vec![rack("v1alpha1", "r")]).await;
    let id = world.deployment("a", "one", true).await;
    world.settle().await;
    world.recorder.take();
    world.site_with("a", vec![rack("v1", "r")]).await;
    world.settle().await;
    let told = world.recorder.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(!told[0].last, "{told:?}");
    assert_eq!(told[0].wanted_ids(), [id.as_str()]);
    world.site_with("a", Vec::new()).await;
    world.settle().await;
    let told = world.recorder.take();
    assert_eq!(told.len(), 1, "once, not for each version: {told:?}");
    assert!(told[0].last && told[0].has_target, "{told:?}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_triggers_nothing_yet_removes_nothing() {
    let mut world = World::new();
    world.start(Registry::new(), ScheduleSettings::default());
    let plugin = PluginId::new(PluginType::Schedule, "rack").expect("valid");
    let new = NewPlugin::new(plugin, "recording".to_owned());
    let old = new.clone().triggers(vec![racks("v1")]);
    world.data.register_plugin(old).await.expect("registered");
    world.site_with("a", vec![rack("v1", "r")]).await;
    let id = world.deployment("a", "one", true).await;
    world.settle().await;
    world.recorder.take();
    world.site_with("a", vec![rack("v2", "r")]).await;
    world.settle().await;
    assert_eq!(world.recorder.take(), []);
    assert_eq!(placed(&world.find(&id).await.expect("there")), Some("a"));
    let (_, reason, message) = world.condition(key("a")).await.expect("reported");
    assert_eq!(reason, "SchedulerGone", "{message}");
    let both = new.triggers(vec![racks("v1"), racks("v2")]);
    world.data.register_plugin(both).await.expect("registered");
    world.settle().await;
    let told = world.recorder.take();
    assert!(!told.is_empty());
    for call in told {
        assert!(!call.last && call.removed.is_empty(), "{call:?}");
        assert_eq!(call.wanted_ids(), [id.as_str()]);
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_renamed_resource_removes_nothing() {
    let mut world = World::new();
    let recorder: Arc<dyn Scheduler> = world.recorder.clone();
    let registry = Registry::new().with(racks("v1"), "racks", recorder);
    world.start(registry, ScheduleSettings::default());
    world.site_with("a", vec![rack("v1", "old")]).await;
    let id = world.deployment("a", "one", true).await;
    world.settle().await;
    world.recorder.take();
    world.site_with("a", vec![rack("v1", "new")]).await;
    world.settle().await;
    let told = world.recorder.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(!told[0].last, "{told:?}");
    assert_eq!(told[0].wanted_ids(), [id.as_str()]);
    world.site_with("a", Vec::new()).await;
    world.settle().await;
    let told = world.recorder.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].last, "{told:?}");
    assert_eq!(told[0].target.as_deref(), Some("Rack new"));
    world.stop().await;
}
