//! Conditions of references in `merge`.

use crate::parts::part;
use crate::placement::{placement, prepare_world};
use crate::world::{annotated, find, reference, topo, world};
use serde_json::{Value, json};
use tko_core::{DataApi, Key, annotation};
use tko_preparer::topology::{MergeConditions, native_with};
use tko_preparer::{PREPARED, PrepareSettings};

/// A reference with a condition.
fn when(kind: &str, name: &str, condition: &str) -> Value {
    let mut reference = reference(kind, name);
    reference["when"] = json!(condition);
    reference
}

#[tokio::test(start_paused = true)]
async fn a_condition_decides_whether_a_resource_is_merged() {
    let w = world();
    let conditions = MergeConditions::new(|source, package| match source {
        "yes" => Ok(true),
        "no" => Ok(false),
        "marked" => {
            let mut marks = package.iter().filter(|r| &*r.gvk().kind == "Marks");
            Ok(marks.all(|marks| annotation::is_true(marks, annotation::PREPARED)))
        }
        other => Err(format!("{other} is no condition")),
    });
    let registry = crate::parts::added_to(native_with(conditions));
    let _running = w.start_with(registry, PrepareSettings::default());
    prepare_world(&w).await;
    let extra = |name| annotated(part("Extra", name), "prepare", "Postpone");
    let topology = |condition: &str| {
        vec![
            topo("Template", "upf", &json!({"templateId": "nf/upf"})),
            placement(
                &json!([{"template": "upf", "sites": ["one", "new"], "merge": [
                    when("Extra", "x", "yes"), when("Extra", "y", "no"), when("Extra", "z", condition),
                    when("Extra", "missing", "no"),
                ]}]),
            ),
            topo("Site", "one", &json!({"siteId": "edge/1"})),
            topo(
                "Site",
                "new",
                &json!({"provisionIfNotFound": true, "merge": [
                    when("Extra", "x", "no"), when("Extra", "y", "yes"),
                ]}),
            ),
            extra("x"),
            extra("y"),
            extra("z"),
            // A condition is evaluated when the others are prepared.
            part("Marks", "m"),
        ]
    };
    let id = w.deploy(topology("marked")).await;
    w.until_prepared(&id).await;
    let children = w.children(&id).await;
    assert_eq!(children.len(), 2);
    for child in children {
        let has = |name| find(&child, "Extra", name).is_some();
        assert_eq!((has("x"), has("y"), has("z")), (true, false, true));
    }
    let site = w.resource(&id, "Site", "new").await.expect("it stays");
    let site = site["status"]["siteId"].as_str().expect("an id").to_owned();
    let key = Key::from(&crate::world::site_id(&site));
    let record = w.store.get(&key, crate::world::ALL).await.expect("a site");
    assert!(find(&record, "Extra", "x").is_none() && find(&record, "Extra", "y").is_some());

    let id = w.deploy(topology("what")).await;
    let message = w.until_says(&id, PREPARED, "Failed").await;
    assert!(
        message.contains("merge[2]: when: what is no condition"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_preparer_without_a_language_of_conditions_refuses_them() {
    let w = world();
    let _running = w.start();
    prepare_world(&w).await;
    let resources = vec![
        topo("Template", "upf", &json!({"templateId": "nf/upf"})),
        placement(&json!([{"template": "upf", "sites": ["one"], "merge": [
            when("Cluster", "c", "true"),
        ]}])),
        topo("Site", "one", &json!({"siteId": "edge/1"})),
        part("Cluster", "c"),
    ];
    let id = w.deploy(resources).await;
    let message = w.until_says(&id, PREPARED, "Failed").await;
    assert!(
        message.contains("this preparer evaluates no conditions"),
        "{message}"
    );
}
