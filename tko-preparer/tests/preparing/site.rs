//! `Site`: found, waited for, or provisioned.

use crate::parts::part;
use crate::world::{World, annotated, reference, site_id, topo, world};
use serde_json::{Value, json};
use tko_core::metadata::INVENTORY_GONE;
use tko_core::pattern::Pattern;
use tko_core::{DataApi, DeploymentId, Key, Kind, Select, annotation};
use tko_preparer::PREPARED;

async fn site_of(w: &World, id: &DeploymentId, name: &str) -> Option<String> {
    let site = w.resource(id, "Site", name).await?;
    site["status"]["siteId"].as_str().map(str::to_owned)
}

async fn provisioned(w: &World) -> Vec<tko_core::Record> {
    w.all(Select::all(Kind::Site).id(Pattern::id("provisioned/*").expect("a pattern")))
        .await
}

#[tokio::test(start_paused = true)]
async fn a_site_by_id_is_waited_for_and_found() {
    let w = world();
    let _running = w.start();
    let id = w
        .deploy(vec![topo("Site", "one", &json!({"siteId": "edge/1"}))])
        .await;
    let message = w.until_says(&id, PREPARED, "Waiting").await;
    assert!(
        message.contains("Site one: waiting for site edge/1, which is not registered"),
        "{message}"
    );
    w.site("edge/1", &[]).await;
    w.until_prepared(&id).await;
    assert_eq!(site_of(&w, &id, "one").await.as_deref(), Some("edge/1"));
}

#[tokio::test(start_paused = true)]
async fn a_selection_takes_the_first_by_id_and_compares_values_as_text() {
    let w = world();
    let _running = w.start();
    w.site(
        "b",
        &[
            ("Site.cloud", "GDC-E"),
            ("Site.cores", "16"),
            ("Site.on", "true"),
        ],
    )
    .await;
    w.site("a", &[("Site.cloud", "GDC-E"), ("Site.cores", "16")])
        .await;
    w.site(
        "c",
        &[
            ("Site.cloud", "GDC-E"),
            ("Site.cores", "16"),
            ("Site.on", "true"),
        ],
    )
    .await;
    let select =
        json!({"select": {"metadata": {"Site.cloud": "GDC*", "Site.cores": 16, "Site.on": true}}});
    let id = w.deploy(vec![topo("Site", "one", &select)]).await;
    w.until_prepared(&id).await;
    assert_eq!(site_of(&w, &id, "one").await.as_deref(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn a_selection_skips_sites_that_their_inventory_misses() {
    let w = world();
    let _running = w.start();
    let gone = [("role", "edge"), (INVENTORY_GONE, "2026-01-01T00:00:00Z")];
    for site in ["a", "b", "d"] {
        w.site(site, &gone).await;
    }
    let select = json!({"select": {"metadata": {"role": "edge"}}});
    let waits = w.deploy(vec![topo("Site", "one", &select)]).await;
    let message = w.until_says(&waits, PREPARED, "Waiting").await;
    assert!(message.contains("no site matches role=edge"), "{message}");
    w.site("c", &[("role", "edge")]).await;
    w.until_prepared(&waits).await;
    assert_eq!(site_of(&w, &waits, "one").await.as_deref(), Some("c"));
    // The inventory has it again.
    w.site("b", &[("role", "edge")]).await;
    let again = w.deploy(vec![topo("Site", "one", &select)]).await;
    w.until_prepared(&again).await;
    assert_eq!(site_of(&w, &again, "one").await.as_deref(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn a_site_that_its_inventory_misses_is_still_found_if_it_is_named_or_was_chosen() {
    let w = world();
    let _running = w.start();
    let gone = [("role", "edge"), (INVENTORY_GONE, "2026-01-01T00:00:00Z")];
    w.site("a", &gone).await;
    w.site("b", &[("role", "edge")]).await;
    let named = topo("Site", "one", &json!({"siteId": "a"}));
    let select = json!({"select": {"metadata": {"role": "edge"}}});
    let mut chosen = topo("Site", "one", &select);
    chosen["status"] = json!({"siteId": "a"});
    for site in [named, chosen] {
        let id = w.deploy(vec![site]).await;
        w.until_prepared(&id).await;
        assert_eq!(site_of(&w, &id, "one").await.as_deref(), Some("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_selection_without_a_match_waits_for_one() {
    let w = world();
    let _running = w.start();
    let select = json!({"select": {"metadata": {"Site.region": "south"}}});
    let id = w.deploy(vec![topo("Site", "one", &select)]).await;
    let message = w.until_says(&id, PREPARED, "Waiting").await;
    assert!(
        message.contains("no site matches Site.region=south"),
        "{message}"
    );
    w.site("n", &[("Site.region", "north")]).await;
    w.until_idle().await;
    assert!(!w.is_prepared(&id).await);
    w.site("s", &[("Site.region", "south")]).await;
    w.until_prepared(&id).await;
    assert_eq!(site_of(&w, &id, "one").await.as_deref(), Some("s"));
}

#[tokio::test(start_paused = true)]
async fn a_missing_site_is_provisioned_once_from_its_template_and_merged_resources() {
    let w = world();
    let _running = w.start();
    let id = w
        .deploy(vec![
            topo(
                "Site",
                "new",
                &json!({
                    "select": {"metadata": {"Site.region": "south"}},
                    "provisionIfNotFound": true,
                    "provisionTemplateId": "site/edge",
                    "merge": [reference("Marks", "cluster"), reference("Other", "later")],
                }),
            ),
            part("Marks", "cluster"),
            annotated(part("Other", "later"), "metadata", "Postpone"),
        ])
        .await;
    let message = w.until_says(&id, PREPARED, "Waiting").await;
    assert!(
        message.contains("waiting for template site/edge, the template of the new site"),
        "{message}"
    );
    w.template("site/edge", vec![part("Base", "base")]).await;
    w.until_prepared(&id).await;
    let sites = provisioned(&w).await;
    assert_eq!(sites.len(), 1);
    let site = &sites[0];
    assert_eq!(
        site_of(&w, &id, "new").await.as_deref(),
        Some(site.entity.key.id())
    );
    assert_eq!(
        site.entity.template().map(ToString::to_string).as_deref(),
        Some("site/edge")
    );
    assert_eq!(site.entity.metadata.get("type"), Some("provisioned"));
    let of = |kind| {
        crate::world::find(
            site,
            kind,
            match kind {
                "Base" => "base",
                "Marks" => "cluster",
                _ => "later",
            },
        )
    };
    assert!(of("Base").is_some());
    let cluster = of("Marks").expect("merged");
    assert_eq!(
        cluster["metadata"]["annotations"][annotation::PREPARED],
        "true"
    );
    let later = of("Other").expect("merged");
    assert_eq!(
        later["metadata"]["annotations"][annotation::METADATA],
        "Here"
    );
}

#[tokio::test(start_paused = true)]
async fn an_existing_site_is_not_provisioned() {
    let w = world();
    let _running = w.start();
    w.site("s", &[("Site.region", "south")]).await;
    let spec = json!({
        "select": {"metadata": {"Site.region": "south"}},
        "provisionIfNotFound": true,
    });
    let id = w.deploy(vec![topo("Site", "one", &spec)]).await;
    w.until_prepared(&id).await;
    assert_eq!(site_of(&w, &id, "one").await.as_deref(), Some("s"));
    assert!(provisioned(&w).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_template_renames_apply_to_the_new_site() {
    let w = world();
    let _running = w.start();
    let spec = json!({"provisionIfNotFound": true, "merge": [reference("Other", "long-name")]});
    let other = annotated(part("Other", "long-name"), "rename", "short");
    w.template("t", vec![topo("Site", "one", &spec), other])
        .await;
    let id = w.create("t").await;
    w.until_prepared(&id).await;
    let sites = provisioned(&w).await;
    assert!(crate::world::find(&sites[0], "Other", "short").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_site_with_a_status_is_never_provisioned_again() {
    let w = world();
    let _running = w.start();
    let spec = json!({"provisionIfNotFound": true});
    let id = w.deploy(vec![topo("Site", "one", &spec)]).await;
    w.until_prepared(&id).await;
    let first = site_of(&w, &id, "one").await.expect("provisioned");
    let again = |package: &tko_core::Package| {
        let unmarked = package.iter().map(|resource| {
            let mut value: Value = resource.value().clone();
            if let Some(annotations) = value["metadata"]["annotations"].as_object_mut() {
                annotations.remove(annotation::PREPARED);
            }
            value
        });
        crate::world::package(unmarked.collect())
    };
    w.edit(&id, again).await;
    w.until_prepared(&id).await;
    assert_eq!(site_of(&w, &id, "one").await.as_ref(), Some(&first));
    assert_eq!(provisioned(&w).await.len(), 1);
    // Even if the site is deleted; that is reported.
    w.store
        .delete(&Key::from(site_id(&first)))
        .await
        .expect("it is there");
    w.edit(&id, again).await;
    let message = w.until_says(&id, PREPARED, "Waiting").await;
    assert!(message.contains("is no longer registered"), "{message}");
    assert!(provisioned(&w).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn mistakes_in_a_site_are_reported() {
    for (spec, words) in [
        (json!({}), "names no site"),
        (json!({"siteId": 5}), "spec.siteId: 5 is not text"),
        (json!({"siteId": "a b"}), "\"a b\" has the character ' '"),
        (
            json!({"provisionIfNotFound": "yes"}),
            "is not true or false",
        ),
        (
            json!({"select": {"metadata": {"a": {"b": 1}}}}),
            "spec.select.metadata[\"a\"]",
        ),
        (
            json!({"select": {"metadata": {"a": "x\\"}}}),
            "lone backslash",
        ),
        (
            json!({"provisionIfNotFound": true, "merge": [reference("No", "such")]}),
            "spec.merge[0]: No such (x/v1) is not in the package",
        ),
        (
            json!({"provisionIfNotFound": true, "merge": [{"kind": "X"}]}),
            "spec.merge[0]: ",
        ),
        (
            json!({"provisionIfNotFound": true, "merge": [
                {"apiVersion": "topology.nephio.org/v1alpha1", "kind": "Site", "name": "one"},
            ]}),
            "Site one cannot refer to itself",
        ),
    ] {
        let w = world();
        let _running = w.start();
        let id = w.deploy(vec![topo("Site", "one", &spec)]).await;
        let message = w.until_says(&id, PREPARED, "Failed").await;
        assert!(message.contains(words), "{spec}: {message}");
        assert!(provisioned(&w).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_provisioned_site_is_not_registered() {
    let w = world();
    let _running = w.start();
    let spec = json!({"provisionIfNotFound": true, "merge": [reference("Need", "n")]});
    let id = w
        .deploy(vec![topo("Site", "one", &spec), part("Need", "n")])
        .await;
    let message = w.until_says(&id, PREPARED, "Invalid").await;
    assert!(
        message.contains("Need n: spec.value: is missing"),
        "{message}"
    );
    assert!(provisioned(&w).await.is_empty());
    assert_eq!(site_of(&w, &id, "one").await, None);
}
