//! Ids and names that are nearly as long as permitted.

use crate::parts::{gvk, marked, part, registry};
use crate::tracking::tracking;
use crate::world::{World, topo, world};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tko_core::limits::MAX_IDEMPOTENCY_KEY;
use tko_core::{
    Answer, DeploymentId, Effect, NewDeployment, PrepareCall, Preparer, Record, Resource, Result,
    SiteId, Subscription,
};
use tko_preparer::{PREPARED, PrepareSettings};
use tko_worker::{CancellationToken, DeletionController};

/// The id of a site, of 1,010 bytes.
fn long() -> String {
    "z".repeat(1_010)
}

/// The number of children that a Placement has counted.
async fn counted(w: &World, id: &DeploymentId, placement: &str) -> Value {
    let placement = w.resource(id, "Placement", placement).await;
    placement.expect("it stays")["status"]["deployments"].clone()
}

fn key_of(child: &Record) -> &str {
    let deployment = child.entity.deployment().expect("a deployment");
    deployment.idempotency_key.as_deref().expect("a key")
}

#[tokio::test(start_paused = true)]
async fn a_site_with_a_long_id_gets_one_child_and_blocks_no_other() {
    let w = world();
    let deletions = DeletionController::new((*w.store).clone()).with_clock(w.clock.clone());
    let deleting = tokio::spawn(deletions.run(CancellationToken::new()));
    let _running = w.start();
    let long = long();
    w.site(&long, &[("role", "edge")]).await;
    w.site("b", &[("role", "edge")]).await;
    w.template("t", vec![part("Other", "o")]).await;
    w.site("hub", &[]).await;
    let id = w.deploy(tracking(Some("Delete"))).await;
    w.until_prepared(&id).await;
    w.until_idle().await;
    let all = ["b", "hub", long.as_str()];
    assert_eq!(w.child_sites(&id).await, all);
    let children = w.children(&id).await;
    // Keys that fit do not change, because stored children have them.
    let of_b = format!("{id}|0|b|\"\"|p");
    assert!(children.iter().any(|child| key_of(child) == of_b));
    assert!(
        children
            .iter()
            .all(|child| key_of(child).len() <= MAX_IDEMPOTENCY_KEY)
    );
    // Another site enters: the existing child is recognized, so it is neither created again nor
    // deleted.
    w.site("c", &[("role", "edge")]).await;
    w.until(|| async { w.children(&id).await.len() == 4 }).await;
    w.until_idle().await;
    assert_eq!(w.child_sites(&id).await, ["b", "c", "hub", &long]);
    assert_eq!(counted(&w, &id, "p").await, 4);
    // The site leaves.
    w.site(&long, &[("role", "core")]).await;
    w.until(|| async { w.children(&id).await.len() == 3 }).await;
    w.until_idle().await;
    assert_eq!(w.child_sites(&id).await, ["b", "c", "hub"]);
    deleting.abort();
}

#[tokio::test(start_paused = true)]
async fn a_placement_with_a_long_name_finds_its_children() {
    for (name, site) in [(2_000, "a".to_owned()), (900, long()), (980, long())] {
        let w = world();
        let _running = w.start();
        w.template("t", vec![]).await;
        w.site("hub", &[]).await;
        w.site(&site, &[("role", "edge")]).await;
        let mut resources = tracking(None);
        let name = "p".repeat(name);
        resources[3]["metadata"]["name"] = json!(name);
        let id = w.deploy(resources).await;
        w.until_prepared(&id).await;
        w.site("b", &[("role", "edge")]).await;
        w.until(|| async { w.children(&id).await.len() == 3 }).await;
        w.until_idle().await;
        assert_eq!(w.children(&id).await.len(), 3);
        assert_eq!(counted(&w, &id, &name).await, 3);
    }
}

/// Creates a child with a key that is too long.
struct LongKey;

#[async_trait]
impl Preparer for LongKey {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let child = NewDeployment::new().idempotency_key("k".repeat(2_000));
        Ok(Answer::Done {
            package: marked(&call),
            effects: vec![Effect::Deployment(child)],
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_what_is_too_long() {
    let w = world();
    let registry = registry().with(gvk("LongKey"), "long-key", Arc::new(LongKey));
    let _running = w.start_with(registry, PrepareSettings::default());
    let id = w.deploy(vec![part("LongKey", "k")]).await;
    let message = w.until_says(&id, PREPARED, "Invalid").await;
    let words = "preparer long-key is not valid: idempotency key: has 2000 bytes";
    assert!(message.contains(words), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_site_with_a_long_id_is_waited_for_and_found() {
    let w = world();
    let _running = w.start();
    let id = w
        .deploy(vec![topo("Site", "one", &json!({"siteId": long()}))])
        .await;
    let message = w.until_says(&id, PREPARED, "Waiting").await;
    assert!(message.contains("which is not registered"), "{message}");
    w.site(&long(), &[]).await;
    let took = w.until_prepared(&id).await;
    assert!(took < Duration::from_millis(50), "{took:?}");
}

/// Waits for so many entities that their subscriptions exceed the limit; for none once the package
/// has an `Answer`.
struct WaitsForMany;

#[async_trait]
impl Preparer for WaitsForMany {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        if call.package.of(&gvk("Answer")).next().is_some() {
            return Ok(Answer::Done {
                package: marked(&call),
                effects: Vec::new(),
            });
        }
        let mut waits_for = Vec::new();
        for number in 0..3_000 {
            let site = SiteId::new(&format!("{number}/{}", "s".repeat(900)))?;
            waits_for.push(Subscription::Entity(site.into()));
        }
        Ok(Answer::NotYet {
            reason: "waiting for many".to_owned(),
            waits_for,
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_whose_subscriptions_are_refused_has_a_condition_and_is_retried() {
    let w = world();
    let registry = registry().with(gvk("Many"), "many", Arc::new(WaitsForMany));
    let _running = w.start_with(registry, PrepareSettings::default());
    let id = w.deploy(vec![part("Many", "m")]).await;
    let message = w.until_says(&id, PREPARED, "Invalid").await;
    for words in ["Many m: waiting for many", "subscriptions: has"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    w.until(|| async { w.record(&id).await.work[0].attempts >= 2 })
        .await;
    w.edit(&id, |package| {
        let answer = Resource::new(part("Answer", "a")).expect("valid");
        package.with(Arc::new(answer))
    })
    .await;
    w.until_prepared(&id).await;
}
