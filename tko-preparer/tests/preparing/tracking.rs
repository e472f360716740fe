//! Placements with `track: Continuous`.

use crate::parts::part;
use crate::world::{World, topo, world};
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tko_core::metadata::INVENTORY_GONE;
use tko_core::{
    ClaimRequest, Condition, DataApi, DeploymentId, Effect, ErrorKind, Key, NewDeployment, Outcome,
    Package, PrepareStep, Stage, WorkerApi,
};
use tko_preparer::TRACKED;
use tko_worker::{CancellationToken, DeletionController};

pub(crate) fn tracking(on_leave: Option<&str>) -> Vec<serde_json::Value> {
    let mut spec = json!({
        "templates": [{"template": "t", "sites": ["edges", "hub"]}],
        "track": "Continuous",
    });
    if let Some(on_leave) = on_leave {
        spec["onLeave"] = json!(on_leave);
    }
    vec![
        topo("Template", "t", &json!({"templateId": "t"})),
        topo(
            "Sites",
            "edges",
            &json!({"select": {"metadata": {"role": "edge"}}}),
        ),
        topo("Site", "hub", &json!({"siteId": "hub"})),
        topo("Placement", "p", &spec),
    ]
}

pub(crate) async fn begin(w: &World, on_leave: Option<&str>) -> DeploymentId {
    w.template("t", vec![part("Other", "o")]).await;
    w.site("hub", &[]).await;
    w.site("a", &[("role", "edge")]).await;
    let id = w.deploy(tracking(on_leave)).await;
    w.until_prepared(&id).await;
    w.until_idle().await;
    assert_eq!(w.child_sites(&id).await, ["a", "hub"]);
    id
}

async fn count(w: &World, id: &DeploymentId) -> u64 {
    let placement = w.resource(id, "Placement", "p").await.expect("it stays");
    placement["status"]["deployments"]
        .as_u64()
        .expect("counted")
}

#[tokio::test(start_paused = true)]
async fn sites_that_enter_the_selection_get_a_child_at_once() {
    let w = world();
    let _running = w.start();
    let id = begin(&w, None).await;
    w.site("b", &[("role", "edge")]).await;
    let took = w.until(|| async { w.children(&id).await.len() == 3 }).await;
    assert!(took.as_millis() < 50, "{took:?}");
    w.until_idle().await;
    assert_eq!(count(&w, &id).await, 3);
    assert!(w.is_prepared(&id).await);
    // A change of an existing site counts too.
    w.site("c", &[("role", "core")]).await;
    w.until_idle().await;
    assert_eq!(w.children(&id).await.len(), 3);
    w.site("c", &[("role", "edge")]).await;
    let took = w.until(|| async { w.children(&id).await.len() == 4 }).await;
    assert!(took.as_millis() < 50, "{took:?}");
    assert_eq!(w.child_sites(&id).await, ["a", "b", "c", "hub"]);
}

#[tokio::test(start_paused = true)]
async fn children_of_sites_that_leave_stay_unless_on_leave_is_delete() {
    for (on_leave, expected) in [
        (None, vec!["a", "hub"]),
        (Some("Keep"), vec!["a", "hub"]),
        (Some("Delete"), vec!["hub"]),
    ] {
        let w = world();
        let deletions = DeletionController::new((*w.store).clone()).with_clock(w.clock.clone());
        let deleting = tokio::spawn(deletions.run(CancellationToken::new()));
        let _running = w.start();
        let id = begin(&w, on_leave).await;
        w.site("a", &[("role", "core")]).await;
        w.until_idle().await;
        assert_eq!(w.child_sites(&id).await, expected, "{on_leave:?}");
        if on_leave == Some("Delete") {
            w.until(|| async { count(&w, &id).await == 1 }).await;
            // The site enters again.
            w.site("a", &[("role", "edge")]).await;
            w.until(|| async { w.children(&id).await.len() == 2 }).await;
        }
        deleting.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn children_of_deleted_sites_are_deleted_if_on_leave_is_delete() {
    let w = world();
    let _running = w.start();
    let id = begin(&w, Some("Delete")).await;
    w.store
        .delete(&Key::from(crate::world::site_id("a")))
        .await
        .expect("it is there");
    w.until(|| async { w.children(&id).await.len() == 1 }).await;
    assert_eq!(w.child_sites(&id).await, ["hub"]);
}

#[tokio::test(start_paused = true)]
async fn a_site_that_its_inventory_misses_keeps_its_child_and_gets_no_new_one() {
    let w = world();
    let _running = w.start();
    let id = begin(&w, Some("Delete")).await;
    for site in ["a", "c"] {
        let gone = [("role", "edge"), (INVENTORY_GONE, "2026-01-01T00:00:00Z")];
        w.site(site, &gone).await;
    }
    w.site("b", &[("role", "edge")]).await;
    let has_b = || async { w.child_sites(&id).await.iter().any(|site| site == "b") };
    w.until(has_b).await;
    w.until_idle().await;
    assert_eq!(w.child_sites(&id).await, ["a", "b", "hub"]);
    // Its inventory has it again.
    w.site("c", &[("role", "edge")]).await;
    w.until(|| async { w.children(&id).await.len() == 4 }).await;
    assert_eq!(w.child_sites(&id).await, ["a", "b", "c", "hub"]);
}

/// The idempotency key of a child of [`tracking`].
fn key_of_child(parent: &DeploymentId, site: &str) -> String {
    format!("{parent}|0|{site}|\"\"|p")
}

#[tokio::test(start_paused = true)]
async fn a_client_cannot_take_the_place_of_a_child() {
    let w = world();
    let _running = w.start();
    let id = begin(&w, None).await;
    let taken = NewDeployment::new()
        .parent(id.clone())
        .site(crate::world::site_id("hub"))
        .idempotency_key(key_of_child(&id, "b"));
    let refused = w.store.create_deployment(taken).await;
    let refused = refused.expect_err("the key is reserved");
    assert_eq!(refused.kind(), ErrorKind::BadArgument, "{refused}");
    for site in ["b", "c"] {
        w.site(site, &[("role", "edge")]).await;
    }
    w.until(|| async { w.children(&id).await.len() == 4 }).await;
    assert_eq!(w.child_sites(&id).await, ["a", "b", "c", "hub"]);
}

/// Creates a child of another deployment with this idempotency key. No preparer may run yet.
async fn take_key(w: &World, key: String) {
    let other = w.deploy(Vec::new()).await;
    let request = ClaimRequest::new(Stage::Prepare, "test");
    let claims = w.store.claim(&request).await.expect("it answers");
    let claim = claims.first().expect("a new deployment is due");
    let child = NewDeployment::new().idempotency_key(key);
    let generation = w.record(&other).await.entity.generation;
    let step = PrepareStep::new(other, generation)
        .effect(Effect::Deployment(child))
        .settle(Outcome::Done);
    let committed = w.store.commit_prepared(&claim.token, step).await;
    committed.expect("it is live");
}

#[tokio::test(start_paused = true)]
async fn a_child_that_cannot_be_created_is_named_and_does_not_block_others() {
    let w = world();
    let id = DeploymentId::new("parent").expect("an id");
    take_key(&w, key_of_child(&id, "b")).await;
    let _running = w.start();
    w.template("t", vec![part("Other", "o")]).await;
    w.site("hub", &[]).await;
    w.site("a", &[("role", "edge")]).await;
    let new = NewDeployment::new()
        .id(id.clone())
        .merge(crate::world::package(tracking(None)));
    w.store.create_deployment(new).await.expect("valid");
    w.until_prepared(&id).await;
    w.site("b", &[("role", "edge")]).await;
    let said = w.until_says(&id, TRACKED, "Waiting").await;
    assert!(
        said.contains("site b,") && said.contains(&key_of_child(&id, "b")),
        "{said}"
    );
    w.site("c", &[("role", "edge")]).await;
    w.until(|| async { w.children(&id).await.len() == 3 }).await;
    assert_eq!(w.child_sites(&id).await, ["a", "c", "hub"]);
}

/// Each of these templates on each edge, with `onLeave: Delete`.
fn on_edges(templates: &[&str]) -> Vec<serde_json::Value> {
    let mut entries = Vec::new();
    let mut resources = Vec::new();
    for template in templates {
        entries.push(json!({"template": template, "sites": ["edges"]}));
        resources.push(topo("Template", template, &json!({"templateId": template})));
    }
    let edges = json!({"select": {"metadata": {"role": "edge"}}});
    resources.push(topo("Sites", "edges", &edges));
    let spec = json!({"templates": entries, "track": "Continuous", "onLeave": "Delete"});
    resources.push(topo("Placement", "p", &spec));
    resources
}

async fn delete_template(w: &World, id: &str) {
    let key = Key::from(crate::world::template_id(id));
    w.store.delete(&key).await.expect("it is there");
}

#[tokio::test(start_paused = true)]
async fn a_missing_template_does_not_block_other_entries() {
    let w = world();
    let _running = w.start();
    for template in ["t", "u", "v"] {
        w.template(template, vec![]).await;
    }
    for site in ["a", "b"] {
        w.site(site, &[("role", "edge")]).await;
    }
    let id = w.deploy(on_edges(&["u", "t", "v"])).await;
    w.until_prepared(&id).await;
    w.until_idle().await;
    assert_eq!(w.child_sites(&id).await, ["a", "a", "a", "b", "b", "b"]);
    for template in ["u", "v"] {
        delete_template(&w, template).await;
    }
    // A site enters: the entry whose template exists gets its child.
    w.site("c", &[("role", "edge")]).await;
    let all = ["a", "a", "a", "b", "b", "b", "c"];
    w.until(|| async { w.child_sites(&id).await == all }).await;
    let said = w.until_says(&id, TRACKED, "Waiting").await;
    for template in ["u", "v"] {
        let reason = format!("waiting for template {template}, which is not registered");
        assert!(said.contains(&reason), "{said}");
    }
    // A site leaves: its children are deleted, and no others.
    w.site("a", &[("role", "core")]).await;
    let left = ["b", "b", "b", "c"];
    w.until(|| async { w.child_sites(&id).await == left }).await;
    w.until_idle().await;
    assert_eq!(w.child_sites(&id).await, left);
    // Each template that appears gets its children at once, although the other is still missing.
    w.template("v", vec![]).await;
    let with_v = ["b", "b", "b", "c", "c"];
    let took = w
        .until(|| async { w.child_sites(&id).await == with_v })
        .await;
    assert!(took.as_millis() < 50, "{took:?}");
    w.template("u", vec![]).await;
    let both = ["b", "b", "b", "c", "c", "c"];
    w.until(|| async { w.child_sites(&id).await == both }).await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_cannot_be_created_and_a_missing_template_are_both_named() {
    let w = world();
    let id = DeploymentId::new("parent").expect("an id");
    take_key(&w, key_of_child(&id, "b")).await;
    let _running = w.start();
    for template in ["t", "u"] {
        w.template(template, vec![]).await;
    }
    w.site("a", &[("role", "edge")]).await;
    let new = NewDeployment::new()
        .id(id.clone())
        .merge(crate::world::package(on_edges(&["t", "u"])));
    w.store.create_deployment(new).await.expect("valid");
    w.until_prepared(&id).await;
    w.until_idle().await;
    delete_template(&w, "u").await;
    w.site("b", &[("role", "edge")]).await;
    let said = w.until_says(&id, TRACKED, "Waiting").await;
    assert!(
        said.contains(&key_of_child(&id, "b")) && said.contains("waiting for template u,"),
        "{said}"
    );
    w.template("u", vec![]).await;
    w.until(|| async { w.child_sites(&id).await == ["a", "a", "b"] })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_site_that_is_registered_during_placement_is_not_missed() {
    for n in 0..60 {
        let w = world();
        w.backend.let_others_go_first();
        w.template("t", vec![]).await;
        w.site("hub", &[]).await;
        w.site("a", &[("role", "edge")]).await;
        let _running = w.start();
        w.until_idle().await;
        let id = w.deploy(tracking(None)).await;
        // At every point between the claim and its end.
        for _ in 0..n {
            tokio::task::yield_now().await;
        }
        w.site("b", &[("role", "edge")]).await;
        let took = w.until(|| async { w.children(&id).await.len() == 3 }).await;
        assert!(took <= Duration::from_millis(5), "{n}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_placement_that_tracks_once_does_not_change() {
    let w = world();
    let _running = w.start();
    w.template("t", vec![]).await;
    w.site("hub", &[]).await;
    let mut resources = tracking(None);
    resources[3]["spec"]["track"] = json!("Once");
    let id = w.deploy(resources).await;
    w.until_prepared(&id).await;
    w.site("b", &[("role", "edge")]).await;
    w.until_idle().await;
    assert_eq!(w.child_sites(&id).await, ["hub"]);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_new_sites_get_their_children_in_few_claims() {
    let w = world();
    let _running = w.start();
    let id = begin(&w, None).await;
    for n in 0..1_203 {
        w.site(&format!("late/{n:05}"), &[("role", "edge")]).await;
    }
    w.until(|| async { w.children(&id).await.len() == 1_205 })
        .await;
    w.until_idle().await;
    assert_eq!(count(&w, &id).await, 1_205);
}

#[tokio::test(start_paused = true)]
async fn a_site_change_that_affects_no_selection_enqueues_nothing() {
    let w = world();
    let _running = w.start();
    let id = begin(&w, None).await;
    let claimed = w.backend.claimed.load(Ordering::Relaxed);
    // Like each condition that a scheduler writes.
    let deployed = NewDeployment::new()
        .site(crate::world::site_id("a"))
        .merge(Package::default());
    let other = w.store.create_deployment(deployed).await.expect("valid");
    w.until_prepared(&other).await;
    let claims = tko_core::ClaimRequest::new(tko_core::Stage::Schedule, "s")
        .max(10)
        .lease(std::time::Duration::from_secs(30))
        .wait(std::time::Duration::ZERO);
    for claim in tko_core::WorkerApi::claim(&*w.store, &claims)
        .await
        .expect("answers")
    {
        let told = Condition::new("Scheduled", true, "Scheduled", "", tko_core::Generation(1));
        let step = tko_core::ScheduleStep::new()
            .conditions(claim.work.key.clone(), vec![told])
            .settle(tko_core::Outcome::Done);
        tko_core::WorkerApi::commit_placed(&*w.store, &claim.token, step)
            .await
            .expect("live");
    }
    w.until_idle().await;
    // The other deployment, and both sites for the scheduler; no follower was enqueued.
    assert_eq!(w.backend.claimed.load(Ordering::Relaxed) - claimed, 3);
    assert!(w.is_prepared(&id).await);
}
