//! Topologies and plugins as operators treat them: edited, deleted, missing and endless.

use crate::parts::{gvk, part};
use crate::world::{World, site_id, template_id, topo, world};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tko_core::entity::{APPROVED, PREPARED};
use tko_core::{
    Answer, DataApi, DeploymentId, Key, PrepareCall, Preparer, Registry, Resource, Result,
};
use tko_preparer::PrepareSettings;

fn edges(role: &str) -> Value {
    topo(
        "Sites",
        "edges",
        &json!({"select": {"metadata": {"role": role}}}),
    )
}

/// A topology that follows the sites of the role `edge`.
async fn begin(w: &World) -> DeploymentId {
    w.template("t", vec![part("Other", "o")]).await;
    for (id, role) in [("a", "edge"), ("b", "edge"), ("c", "core")] {
        w.site(id, &[("role", role)]).await;
    }
    let spec = json!({
        "templates": [{"template": "t", "sites": ["edges"]}],
        "track": "Continuous",
        "onLeave": "Delete",
    });
    let resources = vec![
        topo("Template", "t", &json!({"templateId": "t"})),
        edges("edge"),
        topo("Placement", "p", &spec),
    ];
    let id = w.deploy(resources).await;
    w.until_prepared(&id).await;
    w.until_idle().await;
    assert_eq!(w.child_sites(&id).await, ["a", "b"]);
    id
}

async fn status(w: &World, id: &DeploymentId) -> Value {
    let placement = w.resource(id, "Placement", "p").await.expect("it stays");
    placement["status"].clone()
}

/// O4: an edited selection is acted on at once.
#[tokio::test(start_paused = true)]
async fn an_edited_selection_is_acted_on_at_once() {
    let w = world();
    let _running = w.start();
    let id = begin(&w).await;
    w.edit(&id, |package| {
        package.with(Arc::new(Resource::new(edges("core")).expect("a resource")))
    })
    .await;
    let took = w
        .until(|| async { w.child_sites(&id).await.contains(&"c".to_owned()) })
        .await;
    assert!(took < Duration::from_millis(50), "{took:?}");
}

/// O5: a template that comes back is used at once.
#[tokio::test(start_paused = true)]
async fn a_template_that_comes_back_is_used_at_once() {
    let w = world();
    let _running = w.start();
    let id = begin(&w).await;
    w.store
        .delete(&Key::from(template_id("t")))
        .await
        .expect("it is there");
    w.site("d", &[("role", "edge")]).await;
    w.until_says(&id, "Tracked", "Waiting").await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    w.template("t", vec![part("Other", "o")]).await;
    let took = w.until(|| async { w.children(&id).await.len() == 3 }).await;
    assert!(took < Duration::from_millis(50), "{took:?}");
}

/// O6: a child that is deleted by hand is created again soon, and the status counts what is there.
#[tokio::test(start_paused = true)]
async fn a_deleted_child_is_created_again() {
    let w = world();
    let _running = w.start();
    let id = begin(&w).await;
    let child = w.children(&id).await[0].entity.key.clone();
    w.store.delete(&child).await.expect("it is there");
    let took = w.until(|| async { w.children(&id).await.len() == 2 }).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    w.until_idle().await;
    assert_eq!(status(&w, &id).await["deployments"], 2);
    let now: Vec<String> = w
        .children(&id)
        .await
        .iter()
        .map(|child| child.entity.key.id().to_owned())
        .collect();
    assert_eq!(status(&w, &id).await["deploymentIds"], json!(now));
}

/// O3: children of another template than the Placement names now are counted, and a condition says
/// so.
#[tokio::test(start_paused = true)]
async fn children_of_another_template_are_reported() {
    let w = world();
    let _running = w.start();
    let id = begin(&w).await;
    w.template("t2", vec![]).await;
    w.edit(&id, |package| {
        let changed = topo("Template", "t", &json!({"templateId": "t2"}));
        package.with(Arc::new(Resource::new(changed).expect("a resource")))
    })
    .await;
    let message = w.until_says(&id, "Tracked", "Outdated").await;
    assert!(message.contains("2 children"), "{message}");
    assert_eq!(status(&w, &id).await["outdatedDeployments"], 2);
}

/// O16: the conditions of a healthy topology are of its current generation.
#[tokio::test(start_paused = true)]
async fn conditions_follow_the_generation() {
    let w = world();
    let _running = w.start();
    let id = begin(&w).await;
    w.site("d", &[("role", "edge")]).await;
    w.until(|| async { w.children(&id).await.len() == 3 }).await;
    w.until_idle().await;
    let record = w.record(&id).await;
    for kind in [PREPARED, APPROVED] {
        let condition = record.entity.condition(kind).expect("it is said");
        assert_eq!(condition.observed, record.entity.generation, "{kind}");
    }
}

/// Changes the package at each call and never marks its resource, slowly.
struct Restless;

#[async_trait]
impl Preparer for Restless {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        tokio::time::sleep(Duration::from_millis(900)).await;
        let target = call.package.find(call.target).expect("it is there");
        let mut value = target.value().clone();
        let turn = value["spec"]["turn"].as_u64().unwrap_or(0) + 1;
        value["spec"]["turn"] = json!(turn);
        Ok(Answer::Done {
            package: call.package.with(Arc::new(Resource::new(value)?)),
            effects: Vec::new(),
        })
    }
}

/// O9: a plugin that never ends is stopped within half a minute, and a condition says so.
#[tokio::test(start_paused = true)]
async fn a_plugin_that_never_ends_is_reported_soon() {
    let w = world();
    let registry = Registry::<dyn Preparer>::new().with(gvk("Restless"), "r", Arc::new(Restless));
    let _running = w.start_with(registry, PrepareSettings::default());
    let id = w.deploy(vec![part("Restless", "r")]).await;
    let start = tokio::time::Instant::now();
    let message = w.until_says(&id, PREPARED, "Endless").await;
    assert!(message.contains("does not end"), "{message}");
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

/// O8: a site that is registered again gets its deployment back with the next edit that names it.
#[tokio::test(start_paused = true)]
async fn an_edit_restores_the_site_that_is_registered_again() {
    let w = world();
    w.site("s", &[]).await;
    let new = tko_core::NewDeployment::new().site(site_id("s"));
    let id = w.store.create_deployment(new).await.expect("valid");
    w.store
        .delete(&Key::from(site_id("s")))
        .await
        .expect("it is there");
    assert_eq!(w.deployment(&id).await.site, None);
    w.site("s", &[]).await;
    w.edit(&id, |package| {
        package.with(Arc::new(Resource::new(part("Other", "o")).expect("one")))
    })
    .await;
    assert_eq!(w.deployment(&id).await.site, Some(site_id("s")));
}
