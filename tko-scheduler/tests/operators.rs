//! Sites as operators treat them: edited deployments, shared resources, deletions in numbers.

mod world;

use serde_json::json;
use std::sync::Arc;
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::TokioClock;
use tko_core::{DataApi, DeploymentId, Enqueue, Kind, Lane, Package, Select, Stage, Want};
use tko_scheduler::ScheduleSettings;
use world::{World, key, placed};

/// A deployment with the text `one` on this site, which a person approved and has to approve again
/// after each edit.
async fn approved_by_a_person(world: &World, site: &str) -> DeploymentId {
    let id = world.deployment(site, "one", true).await;
    world
        .modify(&id, |value| {
            if value["kind"] == "Deployment" {
                value["metadata"]["annotations"]["nephio.org/approve"] = json!("Manual");
            }
        })
        .await;
    approve(world).await;
    world.settle().await;
    world.recorder.take();
    id
}

/// Approves all deployments.
async fn approve(world: &World) {
    let all = Select::all(Kind::Deployment);
    world.data.approve(&all).await.expect("approved");
}

/// O10: an edit of what a person approved reaches the site only after its own approval; the site
/// keeps what is there until then.
#[tokio::test(start_paused = true)]
async fn an_edit_waits_for_its_approval_while_the_site_keeps_the_old_package() {
    let world = World::everywhere();
    world.site("a").await;
    let id = approved_by_a_person(&world, "a").await;
    world
        .modify(&id, |value| {
            if value["kind"] == "ConfigMap" {
                value["data"]["text"] = json!("two");
            }
        })
        .await;
    world.settle().await;
    let calls = world.recorder.take();
    for call in &calls {
        assert_eq!(call.removed_ids(), Vec::<&str>::new());
        assert_eq!(call.wanted, [(id.to_string(), "one".to_owned())]);
    }
    let entity = world.find(&id).await.expect("there");
    assert_eq!(placed(&entity), Some("a"));
    let condition = entity.condition("Approved").expect("reported");
    assert_eq!(
        (condition.status, &*condition.reason),
        (Some(false), "Edited")
    );
    approve(&world).await;
    world.settle().await;
    let calls = world.recorder.take();
    let last = calls.last().expect("called");
    assert_eq!(last.wanted, [(id.to_string(), "two".to_owned())]);
}

/// O10: an edit that names another site moves the deployment only after its own approval.
#[tokio::test(start_paused = true)]
async fn an_edit_that_moves_a_deployment_waits_for_its_approval() {
    let world = World::everywhere();
    world.site("a").await;
    world.site("b").await;
    let id = approved_by_a_person(&world, "a").await;
    world
        .modify(&id, |value| match value["kind"].as_str() {
            Some("ConfigMap") => value["data"]["text"] = json!("two"),
            _ => value["spec"]["siteId"] = json!("b"),
        })
        .await;
    world.settle().await;
    let calls = world.recorder.take();
    assert!(calls.iter().any(|call| call.site == "a"), "{calls:?}");
    for call in &calls {
        assert_eq!(call.site, "a");
        assert_eq!(call.removed_ids(), Vec::<&str>::new());
        assert_eq!(call.wanted, [(id.to_string(), "one".to_owned())]);
    }
    assert_eq!(placed(&world.find(&id).await.expect("there")), Some("a"));
    approve(&world).await;
    world.settle().await;
    let calls = world.recorder.take();
    let removed = [(id.to_string(), "one".to_owned())];
    let mut of_a = calls.iter().filter(|call| call.site == "a");
    assert!(of_a.any(|call| call.removed == removed), "{calls:?}");
    let last = calls.last().expect("called");
    assert_eq!(last.site, "b");
    assert_eq!(last.wanted, [(id.to_string(), "two".to_owned())]);
    assert_eq!(placed(&world.find(&id).await.expect("there")), Some("b"));
}

/// O10: the site keeps the approved package, also when history no longer has it.
#[tokio::test(start_paused = true)]
async fn an_edit_may_wait_longer_than_history_lasts() {
    let clock = Arc::new(TokioClock::new());
    let memory = Memory::new(clock.clone(), MemorySettings { history: 4 });
    let mut world = World::over(clock, Arc::new(memory));
    world.start_recording(ScheduleSettings::default());
    world.site("a").await;
    let id = approved_by_a_person(&world, "a").await;
    for number in 0..20 {
        world
            .modify(&id, |value| {
                if value["kind"] == "ConfigMap" {
                    value["data"]["text"] = json!(number.to_string());
                }
            })
            .await;
    }
    world.settle().await;
    world.recorder.take();
    let again = Enqueue::now(Stage::Schedule, key("a"), Lane::new(0));
    world.data.enqueue(vec![again]).await.expect("there");
    world.settle().await;
    let calls = world.recorder.take();
    let last = calls.last().expect("called");
    assert_eq!(last.wanted, [(id.to_string(), "one".to_owned())]);
    let (status, reason, message) = world.condition(key("a")).await.expect("reported");
    assert_eq!(status, Some(true), "{reason}: {message}");
    world.data.delete(&(&id).into()).await.expect("there");
    world.settle().await;
    let calls = world.recorder.take();
    let last = calls.last().expect("called");
    assert_eq!(last.removed, [(id.to_string(), "one".to_owned())]);
    assert!(world.find(&id).await.is_none());
}

/// A later edit that has to be prepared withdraws the approval, so the deployment leaves its site at
/// once.
#[tokio::test(start_paused = true)]
async fn an_edit_that_must_be_prepared_ends_the_wait_for_approval() {
    let world = World::everywhere();
    world.site("a").await;
    let id = approved_by_a_person(&world, "a").await;
    world
        .modify(&id, |value| {
            if value["kind"] == "ConfigMap" {
                value["data"]["text"] = json!("two");
            }
        })
        .await;
    world.settle().await;
    world.recorder.take();
    world
        .modify(&id, |value| {
            if value["kind"] == "Deployment" {
                value["metadata"]["annotations"]["nephio.org/prepared"] = json!("false");
            }
        })
        .await;
    world.settle().await;
    let calls = world.recorder.take();
    let last = calls.last().expect("called");
    assert_eq!(last.removed, [(id.to_string(), "one".to_owned())]);
    assert_eq!(placed(&world.find(&id).await.expect("there")), None);
}

/// O15: two deployments with the same object on one site have a condition until one is gone.
#[tokio::test(start_paused = true)]
async fn deployments_with_the_same_object_are_told_so() {
    let world = World::everywhere();
    world.site("a").await;
    let one = world.deployment("a", "one", true).await;
    let other = world.deployment("a", "other", true).await;
    world.settle().await;
    for (id, named) in [(&one, &other), (&other, &one)] {
        let entity = world.find(id).await.expect("there");
        let condition = entity.condition("Exclusive").expect("reported");
        assert_eq!(condition.status, Some(false));
        let words = format!("ConfigMap core/config is also in deployment {named}");
        assert!(condition.message.contains(&words), "{}", condition.message);
    }
    world.data.delete(&(&other).into()).await.expect("there");
    world.settle().await;
    let entity = world.find(&one).await.expect("there");
    let condition = entity.condition("Exclusive").expect("reported");
    assert_eq!(condition.status, Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_leaves_its_site_has_no_conflict() {
    let world = World::everywhere();
    world.site("a").await;
    world.site("b").await;
    let stays = world.deployment("a", "stays", true).await;
    let moves = world.deployment("a", "moves", true).await;
    let ends = world.deployment("a", "ends", true).await;
    world.settle().await;
    let status = async |id: &DeploymentId| {
        let entity = world.find(id).await.expect("there");
        entity.condition("Exclusive").expect("reported").status
    };
    for id in [&stays, &moves, &ends] {
        assert_eq!(status(id).await, Some(false));
    }
    world.move_to(&moves, "b").await;
    world.unapprove(&ends).await;
    world.settle().await;
    for id in [&stays, &moves, &ends] {
        assert_eq!(status(id).await, Some(true));
    }
}

/// O12: placed deployments are deleted in sets, and none stays behind, not even a parent.
#[tokio::test(start_paused = true)]
async fn many_placed_deployments_are_deleted() {
    let world = World::everywhere();
    world.site("a").await;
    for number in 0..30 {
        world.deployment("a", &number.to_string(), true).await;
    }
    let parent = world.deployment("a", "parent", true).await;
    let child = tko_core::NewDeployment::new()
        .parent(parent)
        .merge(Package::default());
    world.data.create_deployment(child).await.expect("created");
    world.settle().await;
    let all = Select::all(Kind::Deployment);
    let bulk = world.data.purge(&all).await.expect("purged");
    assert_eq!((bulk.done, bulk.skipped.len()), (32, 0));
    let count = async |deleting: bool| {
        let mut select = all.clone();
        select.deleting = deleting;
        let count = world.data.count(&select, 100, Want::ROW).await;
        count.expect("counted").found
    };
    assert_eq!(count(false).await, 0);
    world.settle().await;
    world.settle().await;
    assert_eq!(count(true).await, 0, "nothing stays under deletion");
    assert!(world.find(key("a")).await.is_some());
}
