//! The results of preparation: prepared, approved, or a condition that says why not.

use crate::parts::{Signs, added_to, gvk, here, marked, part, registry};
use crate::world::{ALL, annotated, find, package, template_id, thing, topo, world};
use async_trait::async_trait;
use futures_util::StreamExt;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    Answer, DataApi, Effect, Event, Key, Kind, NewDeployment, PrepareCall, Preparer, Registry,
    Result, Revision, Select, Watch, annotation, deployment_resource,
};
use tko_preparer::{APPROVED, PREPARED, PrepareSettings};

#[tokio::test(start_paused = true)]
async fn a_package_without_anything_to_prepare_is_prepared_and_approved() {
    let w = world();
    let _running = w.start();
    let id = w.deploy(vec![part("Other", "o")]).await;
    let took = w.until_prepared(&id).await;
    assert!(took < Duration::from_millis(10), "{took:?}");
    assert!(w.deployment(&id).await.approved);
    let prepared = w.condition(&id, PREPARED).await;
    assert_eq!(
        (prepared.status, &*prepared.reason),
        (Some(true), "Prepared")
    );
    assert_eq!(prepared.observed, w.record(&id).await.entity.generation);
    assert_eq!(w.condition(&id, APPROVED).await.reason, "Automatic");
    assert!(w.record(&id).await.work.is_empty());
}

#[tokio::test(start_paused = true)]
async fn approval_follows_the_annotation_or_else_the_setting() {
    for (setting, annotation, approved) in [
        (true, None, true),
        (true, Some("Default"), true),
        (true, Some("Auto"), true),
        (true, Some("Manual"), false),
        (false, None, false),
        (false, Some("Auto"), true),
        (false, Some("Manual"), false),
    ] {
        let w = world();
        let settings = PrepareSettings::default().with_auto_approve(setting);
        let _running = w.start_with(registry(), settings);
        let mut head = json!({
            "apiVersion": "deployment.nephio.org/v1alpha1",
            "kind": "Deployment",
            "metadata": {"name": "deployment"},
        });
        if let Some(value) = annotation {
            head = annotated(head, "approve", value);
        }
        let id = w.deploy(vec![head]).await;
        w.until_prepared(&id).await;
        assert_eq!(
            w.deployment(&id).await.approved,
            approved,
            "{setting} {annotation:?}"
        );
        let condition = w.condition(&id, APPROVED).await;
        assert_eq!(condition.status, Some(approved));
        assert_eq!(condition.reason == "AwaitingApproval", !approved);
        if !approved {
            // Approval by a person updates the condition.
            let all = Select::all(Kind::Deployment);
            assert_eq!(w.store.approve(&all).await.expect("valid").done, 1);
            let condition = w.condition(&id, APPROVED).await;
            assert_eq!(
                (condition.status, &*condition.reason),
                (Some(true), "Approved")
            );
        }
    }
}

/// Marks its resource, and also marks and approves the deployment.
struct Approves;

#[async_trait]
impl Preparer for Approves {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let package = marked(&call);
        let own = package.resolve(&deployment_resource::identifier())?;
        let own = own
            .expect("every deployment has one")
            .annotated(annotation::PREPARED, "true")
            .annotated(annotation::APPROVED, "true")
            .annotated(annotation::APPROVE, "Auto");
        Ok(Answer::Done {
            package: package.with(Arc::new(own)),
            effects: Vec::new(),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_preparer_neither_approves_the_deployment_nor_marks_it_prepared() {
    for (policy, approved) in [("Manual", false), ("Auto", true)] {
        let w = world();
        let registry = registry().with(gvk("Approves"), "approves", Arc::new(Approves));
        let _running = w.start_with(registry, PrepareSettings::default());
        let own = json!({
            "apiVersion": "deployment.nephio.org/v1alpha1",
            "kind": "Deployment",
            "metadata": {"name": "deployment"},
        });
        let own = annotated(own, "approve", policy);
        let id = w
            .deploy(vec![own, part("Approves", "a"), part("Waits", "s")])
            .await;
        w.until_says(&id, PREPARED, "Waiting").await;
        assert!(!w.is_prepared(&id).await, "{policy}");
        w.site("s", &[]).await;
        w.until_prepared(&id).await;
        assert_eq!(w.deployment(&id).await.approved, approved, "{policy}");
        assert_eq!(w.condition(&id, PREPARED).await.status, Some(true));
        let condition = w.condition(&id, APPROVED).await;
        assert_eq!(condition.status, Some(approved), "{policy}");
    }
}

/// The Deployment resource with the policy of approval `Auto`, marked as prepared and approved.
fn approved_resource() -> serde_json::Value {
    let own = json!({
        "apiVersion": "deployment.nephio.org/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": "deployment"},
    });
    let marked = annotated(annotated(own, "prepared", "true"), "approved", "true");
    annotated(marked, "approve", "Auto")
}

/// Marks its resource, and creates an approved child of template `t`.
struct CreatesApproved;

#[async_trait]
impl Preparer for CreatesApproved {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let parent = call.deployment.entity.key.deployment().cloned();
        let child = NewDeployment::new()
            .parent(parent)
            .template(template_id("t"))
            .merge(package(vec![approved_resource()]))
            .prepared(true)
            .approved(true);
        Ok(Answer::Done {
            package: marked(&call),
            effects: vec![Effect::Deployment(child)],
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_is_approved_by_its_policy_after_its_own_preparation() {
    for (policy, approved) in [("Manual", false), ("Default", true)] {
        let w = world();
        let registry = registry().with(gvk("Creates"), "creates", Arc::new(CreatesApproved));
        let _running = w.start_with(registry, PrepareSettings::default());
        let own = annotated(approved_resource(), "approve", policy);
        let own = annotated(annotated(own, "prepared", "false"), "approved", "false");
        w.template("t", vec![own, part("Waits", "s")]).await;
        let parent = w.deploy(vec![part("Creates", "c")]).await;
        w.until_prepared(&parent).await;
        let children = w.children(&parent).await;
        assert_eq!(children.len(), 1);
        let child = children[0].entity.key.deployment().expect("a deployment");
        w.until_says(child, PREPARED, "Waiting").await;
        let facts = w.deployment(child).await;
        assert!(!facts.prepared && !facts.approved, "{policy}");
        w.site("s", &[]).await;
        w.until_prepared(child).await;
        assert_eq!(w.deployment(child).await.approved, approved, "{policy}");
        let condition = w.condition(child, APPROVED).await;
        assert_eq!(condition.status, Some(approved), "{policy}");
    }
}

#[tokio::test(start_paused = true)]
async fn added_resources_are_prepared_and_removed_ones_count_as_done() {
    let w = world();
    let _running = w.start();
    let id = w
        .deploy(vec![part("Spawns", "s"), part("Vanishes", "v")])
        .await;
    w.until_prepared(&id).await;
    let record = w.record(&id).await;
    for name in ["s", "s+", "s++", "s+++"] {
        let spawned = find(&record, "Spawns", name).expect("spawned");
        assert_eq!(
            spawned["metadata"]["annotations"][annotation::PREPARED],
            "true"
        );
    }
    assert!(find(&record, "Vanishes", "v").is_none());
}

#[tokio::test(start_paused = true)]
async fn preparers_of_one_kind_run_in_order_each_on_the_result_before() {
    let w = world();
    let registry = ["a", "b", "c"]
        .into_iter()
        .fold(Registry::<dyn tko_core::Preparer>::new(), |r, name| {
            r.with(gvk("Signed"), name, Arc::new(Signs(name)))
        });
    let _running = w.start_with(registry, PrepareSettings::default());
    let id = w.deploy(vec![part("Signed", "s")]).await;
    w.until_prepared(&id).await;
    let signed = w.resource(&id, "Signed", "s").await.expect("it stays");
    assert_eq!(signed["spec"]["seen"], "abc");
    // One step for the resource and the deployment.
    assert_eq!(w.record(&id).await.entity.generation.0, 2);
}

#[tokio::test(start_paused = true)]
async fn an_endless_preparation_is_stopped_and_reported() {
    let w = world();
    let settings = PrepareSettings::default().with_max_rounds(5);
    let _running = w.start_with(registry(), settings);
    let id = w.deploy(vec![part("Forever", "f")]).await;
    let message = w.until_says(&id, PREPARED, "Endless").await;
    assert!(message.contains("after"), "{message}");
    let record = w.record(&id).await;
    assert!(record.package.expect("was asked for").len() < 510);
    assert!(record.work[0].due.since(w.clock.now()) > Duration::from_mins(2));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_reported_and_other_resources_are_prepared() {
    for (kind, reason, words) in [
        (
            "Fails",
            "Failed",
            "Fails f: preparer fails failed: poison: never works",
        ),
        (
            "Panics",
            "Failed",
            "Panics f: preparer panics failed: panicked",
        ),
        (
            "Hangs",
            "Failed",
            "Hangs f: preparer hangs failed: did not finish within 30s",
        ),
        ("Idle", "Failed", "neither changed the package nor marked"),
        ("Stuck", "Failed", "without effects or new progress"),
        ("Flood", "Failed", "501"),
        (
            "Bad",
            "Invalid",
            "Any bad: spec.bad: must not be set; remove it",
        ),
        ("Asks", "Waiting", "its preparer gave no reason"),
    ] {
        let w = world();
        let _running = w.start();
        let id = w.deploy(vec![part(kind, "f"), part("Marks", "m")]).await;
        let message = w.until_says(&id, PREPARED, reason).await;
        assert!(message.contains(words), "{kind}: {message}");
        let other = w.resource(&id, "Marks", "m").await.expect("it stays");
        assert_eq!(
            other["metadata"]["annotations"][annotation::PREPARED],
            "true",
            "{kind}"
        );
        let record = w.record(&id).await;
        assert!(!record.entity.deployment().expect("a deployment").prepared);
        assert_eq!(record.work[0].attempts, 1, "{kind}");
        assert!(
            record.work[0]
                .error
                .as_ref()
                .expect("reported")
                .contains(words),
            "{kind}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_preparer_is_reported_only_for_resources_that_say_here() {
    let w = world();
    let _running = w.start();
    let id = w
        .deploy(vec![here("Nobody", "n"), part("Nobody", "fine")])
        .await;
    let message = w.until_says(&id, PREPARED, "NoPreparer").await;
    assert!(message.contains("Nobody n: "), "{message}");
    assert!(!message.contains("fine"), "{message}");
    // Removing the annotation is enough.
    w.edit(&id, |package| {
        let mut resources = package.resources().to_vec();
        resources.retain(|r| &*r.identifier().name != "n");
        tko_core::Package::new(resources).expect("fewer")
    })
    .await;
    assert!(w.until_prepared(&id).await < Duration::from_millis(10));
}

/// A program may have no preparers for topologies, or not for all of their kinds.
#[tokio::test(start_paused = true)]
async fn a_topology_without_a_preparer_never_counts_as_prepared() {
    let w = world();
    let empty = added_to(Registry::new());
    let _running = w.start_with(empty, PrepareSettings::default());
    for kind in ["TOSCA", "Placement", "Unheard"] {
        let own = topo(kind, "n", &json!({}));
        let id = w.deploy(vec![part("Marks", "a"), own.clone()]).await;
        let message = w.until_says(&id, PREPARED, "NoPreparer").await;
        let no_preparer = format!("no preparer for topology.nephio.org/v1alpha1/{kind}");
        assert!(message.contains(&no_preparer), "{message}");
        assert!(!w.is_prepared(&id).await, "{kind}");
        // It is left alone where the package says so.
        let never = annotated(own, "prepare", "Never");
        let id = w.deploy(vec![part("Marks", "a"), never]).await;
        w.until_prepared(&id).await;
    }
}

#[tokio::test(start_paused = true)]
async fn resources_that_say_postpone_or_never_are_skipped() {
    let w = world();
    let _running = w.start();
    let id = w
        .deploy(vec![
            annotated(part("Fails", "a"), "prepare", "Postpone"),
            annotated(part("Fails", "b"), "prepare", "Never"),
            annotated(part("Fails", "c"), "prepared", "true"),
        ])
        .await;
    w.until_prepared(&id).await;
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_package_lists_every_violation_and_continues_once_corrected() {
    let w = world();
    let _running = w.start();
    let id = w.deploy(vec![part("Need", "a"), part("Need", "b")]).await;
    let message = w.until_says(&id, PREPARED, "Invalid").await;
    assert!(
        message.contains(
            "Need a: spec.value: is missing; set it; Need b: spec.value: is missing; set it"
        ),
        "{message}"
    );
    w.edit(&id, |package| {
        let full = |name| thing("Need", name, &json!({"value": 1}));
        ["a", "b"]
            .into_iter()
            .fold(package.clone(), |package, name| {
                package.with(Arc::new(
                    tko_core::Resource::new(full(name)).expect("valid"),
                ))
            })
    })
    .await;
    assert!(w.until_prepared(&id).await < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_marks_the_deployment_prepared_corrects_its_condition() {
    let w = world();
    let _running = w.start();
    let id = w.deploy(vec![part("Waits", "s")]).await;
    w.until_says(&id, PREPARED, "Waiting").await;
    w.edit(&id, |package| {
        let own = package.resolve(&deployment_resource::identifier());
        let own = own.expect("there is one only").expect("it is there");
        package.with(annotation::prepared(own))
    })
    .await;
    let entity = w.record(&id).await.entity;
    let condition = entity.condition(PREPARED).expect("it is said");
    assert_eq!(
        (condition.status, &*condition.reason),
        (Some(true), "Marked")
    );
    assert_eq!(condition.observed, entity.generation);
}

#[tokio::test(start_paused = true)]
async fn a_preparer_that_limits_itself_may_wait_for_longer_than_the_time_limit() {
    let w = world();
    let settings = PrepareSettings::default().with_timeout(Duration::from_secs(2));
    let _running = w.start_with(registry(), settings);
    let id = w.deploy(vec![part("Queues", "q")]).await;
    let took = w.until_prepared(&id).await;
    assert!(took >= Duration::from_secs(99), "{took:?}");
    // Its only call was enough.
    assert!(took < Duration::from_secs(110), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn retries_back_off_write_nothing_and_delay_no_other_deployment() {
    let w = world();
    let running = w.start();
    w.template("poison", vec![part("Fails", "f")]).await;
    w.template("hang", vec![part("Hangs", "h")]).await;
    w.template("ok", vec![part("Marks", "m")]).await;
    let mut bad = Vec::new();
    for _ in 0..100 {
        bad.push(w.create("poison").await);
        bad.push(w.create("hang").await);
    }
    w.until(|| async { w.record(&bad[0]).await.work[0].attempts >= 5 })
        .await;
    let record = w.record(&bad[0]).await;
    assert_eq!(record.entity.conditions.len(), 1);
    let history = w
        .store
        .history(&Key::from(&bad[0]), None, 100)
        .await
        .expect("kept");
    // Created; subscriptions and condition in one commit.
    assert_eq!(history.len(), 2);
    let due = record.work[0].due;
    assert!(due.since(w.clock.now()) < Duration::from_mins(5));
    // Although everything is due at once and hangs for 30 s, good deployments are prepared.
    tokio::time::advance(Duration::from_mins(10)).await;
    let good = w.create("ok").await;
    let took = w.until_prepared(&good).await;
    assert!(took < Duration::from_mins(2), "{took:?}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn preparing_again_calls_only_preparers_of_unprepared_resources() {
    let w = world();
    let registry = registry().with(gvk("Signed"), "s", Arc::new(Signs("x")));
    let _running = w.start_with(registry, PrepareSettings::default());
    let id = w
        .deploy(vec![part("Signed", "a"), part("Signed", "b")])
        .await;
    w.until_prepared(&id).await;
    w.edit(&id, |package| {
        let change = |mut value: serde_json::Value| {
            let unmark = value["metadata"]["name"] != "b";
            if unmark {
                let annotations = &mut value["metadata"]["annotations"];
                annotations
                    .as_object_mut()
                    .expect("a map")
                    .remove(annotation::PREPARED);
            }
            value
        };
        crate::world::package(package.iter().map(|r| change(r.value().clone())).collect())
    })
    .await;
    let record = w
        .store
        .get(&Key::from(&id), ALL)
        .await
        .expect("it is there");
    let deployment = record.entity.deployment().expect("a deployment");
    assert!(!deployment.prepared && !deployment.approved);
    w.until_prepared(&id).await;
    let seen = |value: Option<serde_json::Value>| value.expect("it stays")["spec"]["seen"].clone();
    assert_eq!(seen(w.resource(&id, "Signed", "a").await), "xx");
    assert_eq!(seen(w.resource(&id, "Signed", "b").await), "x");
    assert!(w.deployment(&id).await.approved);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_deployments_are_shared_by_three_preparers() {
    let w = world();
    w.template("ok", vec![part("Marks", "m")]).await;
    let new = NewDeployment::new().template(crate::world::template_id("ok"));
    for created in w.store.create_deployments(vec![new; 1_000]).await {
        created.expect("valid");
    }
    let running: Vec<_> = (0..3).map(|_| w.start()).collect();
    w.until(|| async { w.unprepared().await == 0 }).await;
    for record in w.all(Select::all(Kind::Deployment)).await {
        // Created, then prepared and finished in one step: never prepared twice.
        assert_eq!(record.entity.generation.0, 2);
    }
    for one in running {
        one.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn preparers_on_several_threads_in_real_time_prepare_each_once() {
    let w = world();
    w.template("ok", vec![part("Marks", "m")]).await;
    let running: Vec<_> = (0..3).map(|_| w.start()).collect();
    let prepared = Select::all(Kind::Deployment).prepared(true);
    let mut events = w.store.watch(Watch::new(prepared.clone(), Revision(0)));
    for _ in 0..300 {
        w.create("ok").await;
    }
    let mut entered = 0;
    while entered < 300 {
        let event = events
            .next()
            .await
            .expect("it goes on")
            .expect("it is kept");
        entered += usize::from(matches!(event, Event::Put { entered: true, .. }));
    }
    for record in w.all(prepared).await {
        assert_eq!(record.entity.generation.0, 2);
    }
    for one in running {
        one.stop().await;
    }
}
