//! The Deployment resource: taken out of the package, kept as a shared skeleton, put back.

use serde_json::{Value, json};
use std::sync::Arc;
use tko_core::deployment_resource::{asked, merged, split};
use tko_core::{Deployment, Package, Resource, SiteId, TemplateId};

fn deployment(of: &Package) -> (Deployment, Package) {
    let parts = split(of).expect("it has a Deployment resource");
    let (template, site) = (parts.resource.template.clone(), parts.resource.site.clone());
    let deployment = Deployment::new(parts.resource)
        .template(template)
        .site(site)
        .prepared(parts.prepared)
        .approved(parts.approved);
    (deployment, parts.body)
}

#[allow(clippy::needless_pass_by_value)] // Reads like the literal that it is given.
fn head(mut metadata: Value, spec: Value) -> Value {
    metadata["name"] = json!("deployment");
    json!({"apiVersion": "deployment.nephio.org/v1alpha1", "kind": "Deployment", "metadata": metadata, "spec": spec})
}

fn other() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})
}

#[test]
fn whatever_was_written_comes_back_as_it_was() {
    for (metadata, spec) in [
        (json!({}), json!({})),
        (
            json!({}),
            json!({"siteId": "s/1", "x": 1, "templateId": "t:1"}),
        ),
        (
            json!({"annotations": {"nephio.org/approved": "false", "a": "b", "nephio.org/prepared": "true"}}),
            json!({"templateId": "t"}),
        ),
        (
            json!({"annotations": {"nephio.org/prepared": true, "nephio.org/approved": true}}),
            json!({}),
        ),
        (
            json!({"annotations": {"nephio.org/prepared": "", "nephio.org/approved": null}}),
            json!({"siteId": null, "templateId": ""}),
        ),
        (
            json!({"namespace": "n"}),
            json!({"prepared": true, "approved": true}),
        ),
    ] {
        for first in [true, false] {
            let mut values = vec![other(), head(metadata.clone(), spec.clone())];
            if first {
                values.reverse();
            }
            let package = Package::from_values(values).expect("a package");
            let (deployment, body) = deployment(&package);
            assert_eq!(body.len(), 1);
            let again = deployment.whole(&body);
            for (was, is) in package.iter().zip(&again) {
                assert_eq!(was.value().to_string(), is.value().to_string());
            }
        }
    }
}

#[test]
fn facts_are_written_where_they_were_said() {
    let said = json!({"annotations": {"nephio.org/prepared": "false", "x": "y"}});
    let package = Package::from_values([head(said, json!({"siteId": "s"}))]).expect("a package");
    let (mut deployment, body) = deployment(&package);
    deployment.prepared = true;
    deployment.approved = true;
    let whole = deployment.whole(&body);
    let annotations = &whole.resources()[0].value()["metadata"]["annotations"];
    assert_eq!(
        annotations.to_string(),
        r#"{"nephio.org/prepared":"true","x":"y","nephio.org/approved":"true"}"#
    );
    // Taken back, what was not there at first says false rather than nothing.
    let (mut deployment, body) = self::deployment(&whole);
    (deployment.prepared, deployment.approved) = (false, false);
    let back = deployment.whole(&body);
    assert_eq!(
        back.resources()[0].value()["metadata"]["annotations"]["nephio.org/approved"],
        "false"
    );
}

#[test]
fn deployments_of_one_template_share_a_skeleton() {
    let of = |site: &str| {
        let site: SiteId = site.parse().expect("an id");
        let template: TemplateId = "t".parse().expect("an id");
        let asked = asked(Some(&template), Some(&site), false, false);
        deployment(&merged(&Package::default(), &asked).expect("merges")).0
    };
    let (one, other) = (of("a"), of("b"));
    assert_eq!(one.resource.skeleton.hash(), other.resource.skeleton.hash());
    assert_ne!(one.resource, other.resource);
}

#[test]
fn creation_says_over_the_template_only_what_it_says() {
    let said = json!({"annotations": {"nephio.org/approve": "Manual"}});
    let template =
        Package::from_values([head(said, json!({"siteId": "by-template"}))]).expect("one");
    let result = merged(&template, &asked(None, None, true, false)).expect("merges");
    let value = result.resources()[0].value();
    assert_eq!(value["spec"]["siteId"], "by-template");
    assert_eq!(
        value["metadata"]["annotations"]["nephio.org/approve"],
        "Manual"
    );
    assert_eq!(
        value["metadata"]["annotations"]["nephio.org/prepared"],
        "true"
    );
    assert!(
        value["metadata"]["annotations"]
            .get("nephio.org/approved")
            .is_none()
    );
}

#[test]
fn several_of_them_are_refused() {
    let with = head(json!({"namespace": "a"}), json!({}));
    for metadata in [json!({"namespace": "b"}), json!({})] {
        let other = head(metadata, json!({}));
        let package = Package::from_values([other, with.clone()]).expect("two namespaces");
        let errors = [
            split(&package).err(),
            merged(&package, &asked(None, None, true, false)).err(),
        ];
        for error in errors {
            let error = error.expect("several").to_string();
            assert!(error.contains("several Deployment resources"), "{error}");
        }
    }
}

#[test]
fn ids_that_are_none_are_refused() {
    for spec in [
        json!({"siteId": "a b"}),
        json!({"templateId": 5}),
        json!({"siteId": "\0"}),
    ] {
        let package = Package::from_values([head(json!({}), spec.clone())]).expect("one");
        assert!(split(&package).is_err(), "{spec}");
    }
}

#[test]
fn a_stored_resource_that_is_nested_more_deeply_than_a_new_one_is_taken_apart() {
    let deep = (0..110).fold(Value::Null, |inner, _| json!([inner]));
    let stored = head(json!({}), json!({"siteId": "s", "deep": deep}));
    let stored = Resource::stored(stored).expect("identified");
    let package = Package::new(vec![Arc::new(stored)]).expect("a package");
    let (deployment, body) = deployment(&package);
    assert_eq!(deployment.whole(&body), package);
}
