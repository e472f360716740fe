//! Registering templates, sites and plugins.

use super::fixture::DataFixture;
use super::sample::{
    annotated, bad, config, config_of, facts, named, need, new_plugin, new_site, new_template,
    of_template, running_on, s, site_id, t, template_id, value_of,
};
use crate::verdict::refused;
use serde_json::json;
use tko_core::ErrorKind::{AlreadyExists, BadArgument, Busy, Conflict, NotFound};
use tko_core::{
    Error, Expect, Generation, Gvk, Key, Metadata, NewDeployment, NewSite, NewTemplate, Version,
    deployment_resource,
};

/// A template is read back as registered, with its resources and their keys in order.
pub async fn a_template_is_read_back(fixture: DataFixture) {
    let package = [
        config("z"),
        config("a"),
        facts("Nf", json!({"b": 1, "a": 2})),
    ];
    let new = new_template("nf/a:v1", package).metadata([("given", "by me")]);
    let version = fixture
        .data
        .register_template(new.clone())
        .await
        .expect("the call is valid");
    let record = fixture.read(t("nf/a:v1")).await;
    assert_eq!(record.entity.version, version);
    assert_eq!(record.entity.generation, Generation(1));
    assert_eq!(record.package, Some(new.package));
    let expected = [("Nf.a", "2"), ("Nf.b", "1"), ("given", "by me")];
    assert_eq!(
        record.entity.metadata,
        expected.into_iter().collect::<Metadata>()
    );
}

/// A second registration replaces package and metadata, keeps `created`, and returns the new
/// version. An equal one changes nothing.
pub async fn a_second_registration_replaces_the_first(fixture: DataFixture) {
    let first = fixture.template("t", [config("a")]).await;
    let created = fixture.row(t("t")).await.created;
    let second = fixture.template("t", [config("b")]).await;
    assert_ne!(first, second);
    let record = fixture.read(t("t")).await;
    assert_eq!(record.package, Some(named([config("b")])));
    assert_eq!(record.entity.generation, Generation(2));
    assert_eq!(record.entity.created, created);
    let before = fixture.revision().await;
    assert_eq!(
        fixture.template("t", [config("b")]).await,
        second,
        "its current version"
    );
    assert_eq!(
        fixture.revision().await,
        before,
        "a change without effect makes no revision"
    );
}

/// A changed template leaves the packages and relations of its deployments alone.
pub async fn a_changed_template_leaves_its_deployments_alone(fixture: DataFixture) {
    fixture
        .template(
            "t",
            [config_of("a", "old"), facts("Nf", json!({"v": "old"}))],
        )
        .await;
    let new = new_site("s", []).template(template_id("t"));
    fixture
        .data
        .register_site(new)
        .await
        .expect("the call is valid");
    let id = fixture.create(of_template("t")).await;
    let keys = [s("s"), Key::from(&id)];
    let mut before = Vec::new();
    for key in &keys {
        before.push(fixture.read(key).await);
    }
    fixture
        .template(
            "t",
            [config_of("a", "new"), facts("Nf", json!({"v": "new"}))],
        )
        .await;
    for (key, before) in keys.iter().zip(before) {
        let after = fixture.read(key).await;
        assert_eq!(after.entity.version, before.entity.version, "{key}");
        assert_eq!(after.package, before.package, "{key}");
        assert_eq!(after.entity.template(), Some(&template_id("t")), "{key}");
        assert_eq!(value_of(&after.entity, "Nf.v"), Some("old"), "{key}");
    }
}

/// `Expect` is enforced: absent, an exact version, or any. A refusal changes nothing.
pub async fn expectations_are_enforced(fixture: DataFixture) {
    let expecting =
        |expect: Expect, word: &str| new_template("t", [config_of("a", word)]).expect(expect);
    let register = async |new: NewTemplate| fixture.data.register_template(new).await;
    let nowhere = register(expecting(Expect::At(Version(7)), "a")).await;
    refused(nowhere, &[NotFound], "a version of an absent entity");
    assert_eq!(fixture.revision().await, 0);
    let first = register(expecting(Expect::Absent, "a"))
        .await
        .expect("it is absent");
    let error = refused(
        register(expecting(Expect::Absent, "b")).await,
        &[AlreadyExists],
        "again",
    );
    assert!(
        matches!(&error, Error::AlreadyExists(key) if *key == t("t")),
        "{error:?}"
    );
    let second = register(expecting(Expect::At(first), "b"))
        .await
        .expect("the version is unchanged");
    let error = refused(
        register(expecting(Expect::At(first), "c")).await,
        &[Conflict],
        "a stale version",
    );
    assert!(
        matches!(&error, Error::Conflict(keys) if keys[..] == [t("t")]),
        "{error:?}"
    );
    assert_eq!(fixture.row(t("t")).await.version, second);
    assert_eq!(fixture.revision().await, 2);
    let site = |expect: Expect| new_site("s", []).expect(expect);
    let register = async |new: NewSite| fixture.data.register_site(new).await;
    let version = register(site(Expect::Absent)).await.expect("it is absent");
    refused(
        register(site(Expect::Absent)).await,
        &[AlreadyExists],
        "again",
    );
    register(site(Expect::At(version)))
        .await
        .expect("the version is unchanged");
    refused(
        register(site(Expect::At(Version(u64::MAX)))).await,
        &[Conflict],
        "a stale version",
    );
}

/// An invalid package is refused with every violation, by resource and path, and nothing is stored.
pub async fn an_invalid_package_is_refused_with_every_violation(fixture: DataFixture) {
    let package = [bad("one"), config("fine"), bad("two")];
    let result = fixture
        .data
        .register_template(new_template("t", package))
        .await;
    let error = refused(result, &[BadArgument], "the package");
    let Error::BadArgument {
        violations,
        message,
        ..
    } = &error
    else {
        unreachable!("its kind was checked");
    };
    let named: Vec<(String, &str)> = violations
        .iter()
        .map(|v| {
            (
                v.resource
                    .as_ref()
                    .map(|r| r.name.to_string())
                    .unwrap_or_default(),
                &*v.path,
            )
        })
        .collect();
    let expected = [
        ("one".to_owned(), "spec.bad"),
        ("two".to_owned(), "spec.bad"),
    ];
    assert_eq!(named, expected, "{error:?}");
    assert!(
        message.contains("one") && message.contains("two"),
        "{message}"
    );
    assert!(fixture.find(t("t")).await.is_none());
    assert_eq!(fixture.revision().await, 0);
}

/// A template must be partially valid; a site must be completely valid after merging.
pub async fn templates_may_be_incomplete_but_sites_may_not(fixture: DataFixture) {
    fixture.template("t", [need("n", None)]).await;
    let of_t =
        |resources: Vec<serde_json::Value>| new_site("s", resources).template(template_id("t"));
    let result = fixture.data.register_site(of_t(vec![])).await;
    refused(result, &[BadArgument], "an incomplete site");
    assert!(fixture.find(s("s")).await.is_none());
    let complete = of_t(vec![need("n", Some("v"))]);
    fixture
        .data
        .register_site(complete)
        .await
        .expect("it is complete once merged");
    assert_eq!(fixture.package(s("s")).await, named([need("n", Some("v"))]));
}

/// An unknown value of a known annotation is refused, naming the resource and the allowed values.
/// Other annotations are ignored.
pub async fn unknown_annotation_values_are_refused(fixture: DataFixture) {
    let odd = annotated(config("odd"), "nephio.org/merge", "Sometimes");
    let result = fixture
        .data
        .register_template(new_template("t", [odd]))
        .await;
    let error = refused(result, &[BadArgument], "an unknown value").to_string();
    for part in ["odd", "nephio.org/merge", "Replace", "Override"] {
        assert!(error.contains(part), "{part} is named: {error}");
    }
    let other = annotated(config("other"), "nephio.org/something", "Whatever");
    fixture.template("t", [other]).await;
}

/// A site is its template's package and metadata with its own merged in.
pub async fn a_site_is_merged_with_its_template(fixture: DataFixture) {
    let new = new_template("t", [config_of("x", "template's"), config("y")])
        .metadata([("a", "template's"), ("b", "template's")]);
    fixture
        .data
        .register_template(new)
        .await
        .expect("the call is valid");
    let new = new_site("s", [config("z"), config_of("x", "site's")])
        .template(template_id("t"))
        .metadata([("b", "site's")]);
    let version = fixture
        .data
        .register_site(new)
        .await
        .expect("the call is valid");
    let record = fixture.read(s("s")).await;
    assert_eq!(record.entity.version, version);
    assert_eq!(record.entity.template(), Some(&template_id("t")));
    let merged = named([config_of("x", "site's"), config("y"), config("z")]);
    assert_eq!(record.package, Some(merged));
    assert_eq!(value_of(&record.entity, "a"), Some("template's"));
    assert_eq!(value_of(&record.entity, "b"), Some("site's"));
    let unknown = new_site("u", []).template(template_id("none"));
    refused(
        fixture.data.register_site(unknown).await,
        &[BadArgument],
        "an unknown template",
    );
    assert!(fixture.find(s("u")).await.is_none());
}

/// A site that is registered again keeps its deployments.
pub async fn a_site_keeps_its_deployments(fixture: DataFixture) {
    fixture.site("s", [config("a")]).await;
    let new = NewDeployment::new().site(site_id("s"));
    let id = fixture.create(new).await;
    let before = fixture.row(&id).await.version;
    fixture.site("s", [config("b")]).await;
    let after = fixture.row(&id).await;
    assert_eq!(after.version, before);
    assert_eq!(
        after.deployment().and_then(|d| d.site.clone()),
        Some(site_id("s"))
    );
}

/// A plugin is read back field by field; a second registration replaces it.
pub async fn a_plugin_is_read_back(fixture: DataFixture) {
    let mut new = new_plugin("gateway/x");
    for _ in 0..2 {
        let version = fixture
            .data
            .register_plugin(new.clone())
            .await
            .expect("the call is valid");
        let row = fixture.row(&new.id).await;
        assert_eq!(row.version, version);
        let plugin = row.plugin().expect("it is a plugin");
        assert_eq!(plugin.executor, new.executor);
        assert_eq!(plugin.arguments, new.arguments);
        assert_eq!(plugin.properties, new.properties);
        assert_eq!(plugin.triggers, new.triggers);
        new.arguments.clear();
        new.triggers.pop();
    }
}

/// A plugin without an executor, or with a trigger without version or kind, is refused. So is a
/// prepare plugin for the Deployment resource, which would never be called.
pub async fn an_invalid_plugin_is_refused(fixture: DataFixture) {
    let mut without = new_plugin("p");
    without.executor.clear();
    refused(
        fixture.data.register_plugin(without).await,
        &[BadArgument],
        "no executor",
    );
    for trigger in [Gvk::new("g", "", "K"), Gvk::new("g", "v1", "")] {
        let mut odd = new_plugin("p");
        odd.triggers.push(trigger);
        refused(
            fixture.data.register_plugin(odd).await,
            &[BadArgument],
            "an empty part",
        );
    }
    let mut never = new_plugin("p");
    never.triggers.push(deployment_resource::identifier().gvk);
    refused(
        fixture.data.register_plugin(never).await,
        &[BadArgument],
        "a kind that is not prepared",
    );
    assert_eq!(fixture.revision().await, 0);
}

/// An entity under deletion cannot be registered (`Busy`) or referenced.
pub async fn an_entity_under_deletion_is_busy(fixture: DataFixture) {
    fixture.site("s", []).await;
    let id = fixture.create(running_on("s")).await;
    fixture.place("s", &[&id]).await;
    fixture.data.delete(&s("s")).await.expect("it exists");
    assert!(
        fixture.row(s("s")).await.deleting,
        "the scheduler must remove it first"
    );
    let error = refused(
        fixture.data.register_site(new_site("s", [])).await,
        &[Busy],
        "the site",
    );
    assert!(
        matches!(&error, Error::Busy(key) if *key == s("s")),
        "{error:?}"
    );
    let new = NewDeployment::new().site(site_id("s"));
    refused(
        fixture.data.create_deployment(new).await,
        &[BadArgument],
        "a reference to it",
    );
}
