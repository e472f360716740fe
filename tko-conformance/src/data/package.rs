//! Packages through all operations, and their Deployment resource.

use super::fixture::{DataFixture, TTL};
use super::sample::{
    config, deployment, facts, head_of, named, of_template, site_id, t, template_id, with,
    with_head,
};
use crate::verdict::refused;
use serde_json::{Value, json};
use tko_core::ErrorKind::BadArgument;
use tko_core::{
    Deployment, DeploymentId, Key, NewDeployment, Package, Result, Version, deployment_resource,
};

/// Modifies a package, starting from the current one.
async fn modify(
    fixture: &DataFixture,
    id: &DeploymentId,
    change: impl Fn(&Package) -> Package,
) -> Result<Version> {
    let edit = fixture.data.start_modification(id, TTL).await?;
    let package = edit.record.package.expect("it is included");
    let ended = fixture
        .data
        .end_modification(&edit.token, change(&package))
        .await;
    if ended.is_err() {
        fixture
            .data
            .cancel_modification(&edit.token)
            .await
            .expect("it is live");
    }
    ended
}

async fn facts_of(fixture: &DataFixture, id: &DeploymentId) -> Deployment {
    let row = fixture.row(id).await;
    row.deployment().expect("it is a deployment").clone()
}

/// Numbers keep their type, and keys and resources their order, through every operation.
pub async fn numbers_and_order_survive(fixture: DataFixture) {
    let odd = json!({
        "kind": "Odd",
        "apiVersion": "example.org/v1",
        "metadata": {"name": "odd", "namespace": "n"},
        "z": i64::MIN,
        "y": u64::MAX,
        "x": 1.0,
        "w": 1,
        "v": 1e-7,
        "u": {"b": null, "a": [true, {"d": "é\u{1f600}\n", "c": ""}]},
        "a": "yes",
    });
    let package = named([odd, config("z"), config("a")]);
    let text = |package: &Package| {
        let values: Vec<&Value> = package.iter().map(|r| r.value()).collect();
        serde_json::to_string(&values).expect("JSON")
    };
    let mut new = super::sample::new_template("t", []);
    new.package = package.clone();
    fixture
        .data
        .register_template(new)
        .await
        .expect("the call is valid");
    assert_eq!(text(&fixture.package(t("t")).await), text(&package));
    let id = fixture.create(of_template("t")).await;
    modify(&fixture, &id, Package::clone)
        .await
        .expect("the call is valid");
    let whole = fixture.package(&id).await;
    let body = whole.without(&deployment_resource::identifier());
    assert_eq!(text(&body), text(&package));
    let history = fixture
        .data
        .history(&Key::from(&id), None, 1)
        .await
        .expect("it is read");
    let told = history[0].after.as_ref().and_then(|r| r.package.as_ref());
    assert_eq!(told.map(text), Some(text(&whole)));
}

/// A missing Deployment resource is restored by a modification, unchanged.
pub async fn a_missing_deployment_resource_is_restored(fixture: DataFixture) {
    fixture.site("s", []).await;
    let new = NewDeployment::new()
        .site(site_id("s"))
        .merge(named([config("a")]))
        .prepared(true)
        .approved(true);
    let id = fixture.create(new).await;
    let before = fixture.package(&id).await;
    modify(&fixture, &id, |_| named([config("b")]))
        .await
        .expect("the call is valid");
    let after = fixture.package(&id).await;
    assert_eq!(head_of(&after).value(), head_of(&before).value());
    assert!(
        after
            .find(named([config("b")]).resources()[0].identifier())
            .is_some()
    );
    let facts = facts_of(&fixture, &id).await;
    assert!(facts.prepared && facts.approved && facts.site == Some(site_id("s")));
}

/// The Deployment resource keeps its place in the package.
pub async fn the_deployment_resource_keeps_its_place(fixture: DataFixture) {
    let id = fixture.create(NewDeployment::default()).await;
    let names = async || -> Vec<String> {
        let package = fixture.package(&id).await;
        package
            .iter()
            .map(|r| r.identifier().name.to_string())
            .collect()
    };
    let reordered = |package: &Package| {
        let head = head_of(package).value().clone();
        named([config("a"), head, config("b")])
    };
    modify(&fixture, &id, reordered)
        .await
        .expect("the call is valid");
    assert_eq!(names().await, ["a", "deployment", "b"]);
    modify(&fixture, &id, |p| with(p, config("c")))
        .await
        .expect("the call is valid");
    assert_eq!(names().await, ["a", "deployment", "b", "c"]);
}

/// A change of `spec.siteId` changes the relation; an unknown id is refused. A change of the
/// template is also refused, because the content would still be that of the first template (O3).
pub async fn the_ids_in_the_deployment_resource_set_the_relations(fixture: DataFixture) {
    fixture.template("t1", []).await;
    fixture.template("t2", []).await;
    fixture.site("s1", []).await;
    let id = fixture.create(of_template("t1")).await;
    let set = |field: &'static str, to: Value| {
        move |package: &Package| with_head(package, |head| head["spec"][field] = to.clone())
    };
    modify(&fixture, &id, set("siteId", json!("s1")))
        .await
        .expect("the site is there");
    refused(
        modify(&fixture, &id, set("templateId", json!("t2"))).await,
        &[BadArgument],
        "another template",
    );
    let facts = facts_of(&fixture, &id).await;
    assert_eq!(
        (facts.template, facts.site),
        (Some(template_id("t1")), Some(site_id("s1")))
    );
    for (field, to) in [
        ("siteId", json!("none")),
        ("templateId", json!("none")),
        ("siteId", json!(7)),
    ] {
        let before = fixture.revision().await;
        refused(
            modify(&fixture, &id, set(field, to)).await,
            &[BadArgument],
            field,
        );
        assert_eq!(fixture.revision().await, before);
    }
    modify(&fixture, &id, set("siteId", Value::Null))
        .await
        .expect("the relation can be cleared");
    let facts = facts_of(&fixture, &id).await;
    assert_eq!(
        (facts.template, facts.site),
        (Some(template_id("t1")), None)
    );
}

/// An edit cannot remove `spec.templateId`, because another edit could then name another template.
/// After the template was deleted, it can.
pub async fn an_edit_keeps_the_template(fixture: DataFixture) {
    fixture.template("t1", []).await;
    let id = fixture.create(of_template("t1")).await;
    let set = |to: Value| {
        move |package: &Package| with_head(package, |head| head["spec"]["templateId"] = to.clone())
    };
    let before = fixture.revision().await;
    for none in [Value::Null, json!("")] {
        refused(
            modify(&fixture, &id, set(none)).await,
            &[BadArgument],
            "no template",
        );
    }
    let removed = |package: &Package| with_head(package, |head| head["spec"] = json!({}));
    let version = fixture.row(&id).await.version;
    let package = removed(&fixture.package(&id).await);
    refused(
        fixture.data.update(&id, version, package).await,
        &[BadArgument],
        "an update without a template",
    );
    assert_eq!(fixture.revision().await, before);
    assert_eq!(
        facts_of(&fixture, &id).await.template,
        Some(template_id("t1"))
    );
    fixture.data.delete(&t("t1")).await.expect("it exists");
    modify(&fixture, &id, |p| with(p, config("more")))
        .await
        .expect("it may still name a deleted template");
    modify(&fixture, &id, removed)
        .await
        .expect("the template is gone");
    assert_eq!(facts_of(&fixture, &id).await.resource.template, None);
}

/// A change of the annotations changes `prepared` and `approved`. Removing prepared removes
/// approved; approved without prepared is refused.
pub async fn the_annotations_set_prepared_and_approved(fixture: DataFixture) {
    let id = fixture.create(NewDeployment::default()).await;
    let say = |prepared: &'static str, approved: &'static str| {
        move |package: &Package| {
            with_head(package, |head| {
                head["metadata"]["annotations"] = json!({
                    "nephio.org/prepared": prepared,
                    "nephio.org/approved": approved,
                });
            })
        }
    };
    refused(
        modify(&fixture, &id, say("false", "true")).await,
        &[BadArgument],
        "approved alone",
    );
    modify(&fixture, &id, say("true", "false"))
        .await
        .expect("the call is valid");
    let facts = facts_of(&fixture, &id).await;
    assert!(facts.prepared && !facts.approved);
    modify(&fixture, &id, say("true", "true"))
        .await
        .expect("the call is valid");
    assert!(facts_of(&fixture, &id).await.approved);
    modify(&fixture, &id, say("false", "true"))
        .await
        .expect("it takes approved along");
    let facts = facts_of(&fixture, &id).await;
    assert!(!facts.prepared && !facts.approved);
    let package = fixture.package(&id).await;
    let approved = head_of(&package).annotation("nephio.org/approved");
    assert_ne!(approved.as_deref(), Some("true"), "the package agrees");
}

/// A package that becomes prepared must be completely valid.
pub async fn a_prepared_package_must_be_complete(fixture: DataFixture) {
    let merge = named([super::sample::need("n", None)]);
    let id = fixture.create(NewDeployment::new().merge(merge)).await;
    let prepared = |package: &Package| {
        with_head(package, |head| {
            head["metadata"]["annotations"] = json!({"nephio.org/prepared": "true"});
        })
    };
    refused(
        modify(&fixture, &id, prepared).await,
        &[BadArgument],
        "an incomplete package",
    );
    assert!(!facts_of(&fixture, &id).await.prepared);
    let complete =
        |package: &Package| with(&prepared(package), super::sample::need("n", Some("v")));
    modify(&fixture, &id, complete)
        .await
        .expect("it is complete");
    assert!(facts_of(&fixture, &id).await.prepared);
}

/// After a template or site is deleted, the package still names it. The relation stays cleared
/// until the value changes, or the template or site is registered again (O8).
pub async fn a_cleared_relation_stays_cleared(fixture: DataFixture) {
    fixture.template("t", []).await;
    fixture.site("s", []).await;
    let new = of_template("t").site(site_id("s"));
    let id = fixture.create(new).await;
    fixture.data.delete(&t("t")).await.expect("it exists");
    fixture
        .data
        .delete(&super::sample::s("s"))
        .await
        .expect("it exists");
    let named_still = async || {
        let package = fixture.package(&id).await;
        let head = head_of(&package);
        (
            head.get(&["spec", "templateId"]).cloned(),
            head.get(&["spec", "siteId"]).cloned(),
        )
    };
    assert_eq!(named_still().await, (Some(json!("t")), Some(json!("s"))));
    modify(&fixture, &id, |p| with(p, config("more")))
        .await
        .expect("an unchanged value is not checked");
    let facts = facts_of(&fixture, &id).await;
    assert_eq!((facts.template, facts.site), (None, None));
    fixture.template("t", []).await;
    fixture.site("s", []).await;
    modify(&fixture, &id, |p| with(p, config("most")))
        .await
        .expect("the call is valid");
    let facts = facts_of(&fixture, &id).await;
    assert_eq!(
        (facts.template, facts.site),
        (Some(template_id("t")), Some(site_id("s"))),
        "both are there again"
    );
    fixture.site("other", []).await;
    let moved = |p: &Package| with_head(p, |head| head["spec"]["siteId"] = json!("other"));
    modify(&fixture, &id, moved)
        .await
        .expect("the site is there");
    assert_eq!(facts_of(&fixture, &id).await.site, Some(site_id("other")));
}

/// A package with several Deployment resources is refused, also if one of them has no namespace. So
/// is a modification that adds one.
pub async fn several_deployment_resources_are_refused(fixture: DataFixture) {
    let plain = deployment(json!({}), json!({}));
    let within = |namespace: &str| {
        let mut resource = plain.clone();
        resource["metadata"]["namespace"] = json!(namespace);
        resource
    };
    for one in [within("a"), plain.clone()] {
        let merge = named([one, within("b"), facts("X", json!({"k": "v"}))]);
        let new = NewDeployment::new().merge(merge);
        refused(
            fixture.data.create_deployment(new).await,
            &[BadArgument],
            "two of them",
        );
    }
    let id = fixture.create(NewDeployment::default()).await;
    refused(
        modify(&fixture, &id, |package| with(package, within("b"))).await,
        &[BadArgument],
        "a second one",
    );
}
