use super::{Schema, StopValidationOnDrop};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tko_core::{Gvk, Resource};

fn gvk() -> Gvk {
    Gvk::of("example.com/v1", "Foo")
}

async fn messages(schema: Schema, mut resource: Value, complete: bool) -> Vec<String> {
    resource["apiVersion"] = json!("example.com/v1");
    resource["kind"] = json!("Foo");
    resource["metadata"]["name"] = json!("a");
    let resource = Arc::new(Resource::new(resource).expect("a resource"));
    Arc::new(schema)
        .validate(&resource, complete, 10)
        .await
        .expect("validated")
        .list
        .into_iter()
        .map(|finding| format!("{}: {}", finding.path, finding.message))
        .collect()
}

#[tokio::test]
async fn references_within_a_document_are_followed() {
    let schema = || {
        Schema::document(
            "a test",
            gvk(),
            json!({
                "definitions": {"port": {"type": "integer", "minimum": 1}},
                "properties": {"spec": {"properties": {"port": {"$ref": "#/definitions/port"}}}},
            }),
        )
    };
    assert!(
        messages(schema(), json!({"spec": {"port": 3}}), true)
            .await
            .is_empty()
    );
    let found = messages(schema(), json!({"spec": {"port": 0}}), true).await;
    assert_eq!(found, ["spec.port: must be at least 1, but is 0"]);
}

#[tokio::test]
async fn references_outside_or_in_a_loop_are_reported() {
    for (reference, word) in [
        ("http://localhost/x.json", "refers to"),
        ("#", "form a loop"),
    ] {
        let schema = Schema::document("a test", gvk(), json!({"$ref": reference}));
        let found = messages(schema, json!({}), true).await;
        assert_eq!(found.len(), 1);
        assert!(
            found[0].contains("a test") && found[0].contains(word),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn a_document_may_be_recursive() {
    let schema = || {
        Schema::document(
            "a test",
            gvk(),
            json!({"properties": {"spec": {"$ref": "#/definitions/tree"}}, "definitions": {"tree": {
                "type": "object", "properties": {"left": {"$ref": "#/definitions/tree"}}
            }}}),
        )
    };
    assert!(
        messages(schema(), json!({"spec": {"left": {"left": {}}}}), true)
            .await
            .is_empty()
    );
    let found = messages(schema(), json!({"spec": {"left": {"right": {}}}}), false).await;
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("spec.left.right: "), "{found:?}");
}

#[tokio::test]
async fn metadata_is_checked_whatever_the_schema() {
    let bad = json!({"metadata": {"labels": {"a": 1}}, "free": 1});
    let found = messages(Schema::document("a test", gvk(), json!({})), bad, true).await;
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("metadata.labels.a: "), "{found:?}");
}

#[tokio::test]
async fn rules_are_stopped_when_nobody_waits_for_them() {
    let stop = StopValidationOnDrop::default();
    let flag = Arc::clone(&stop.0);
    let call = async move {
        let _stop = stop;
        std::future::pending::<()>().await;
    };
    assert!(!flag.load(Ordering::Relaxed));
    // The deadline is over at once.
    let deadline = std::time::Duration::ZERO;
    assert!(tokio::time::timeout(deadline, call).await.is_err());
    assert!(flag.load(Ordering::Relaxed));
}
