//! Deletions of many objects, and of objects that others depend on.

use crate::requests::ApiClient;
use crate::serving::{Serving, package};
use serde_json::json;
use tko_core::{DataApi, NewTemplate, TemplateId};

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_of_a_collection_stops_at_its_limit() {
    let serving = Serving::start().await;
    for number in 0..700 {
        let id = TemplateId::new(&format!("t{number}")).expect("an id");
        let new = NewTemplate::new(id, package("a"));
        serving.data.register_template(new).await.expect("valid");
    }
    let client = ApiClient::new(&serving);
    let deleted = client.delete("templates?limit=600").await;
    assert_eq!(deleted.status, 200);
    assert_eq!(deleted.body["items"].as_array().map(Vec::len), Some(600));
    let left = client.get("templates").await;
    assert_eq!(left.body["items"].as_array().map(Vec::len), Some(100));
    serving.stop().await;
}

/// Checks that patches of `sites/a`, whose deletion was requested, are refused.
async fn refuses_patches(client: &ApiClient) {
    let more = json!({"metadata": {"finalizers": ["example.com/a", "example.com/b"]}});
    let test = json!({"op": "test", "path": "/metadata/name", "value": "a"});
    let none = json!({});
    let long = format!("sites/a?fieldManager={}", "x".repeat(129));
    for (path, kind, patch, expected) in [
        ("sites/a", "merge-patch+json", &more, 422),
        (
            "sites/a",
            "json-patch+json",
            &json!(vec![test; 10_001]),
            413,
        ),
        ("sites/a", "apply-patch+yaml", &none, 422),
        ("sites/a?force=true", "merge-patch+json", &none, 422),
        (long.as_str(), "merge-patch+json", &none, 422),
    ] {
        let refused = client.patch(path, kind, patch).await;
        assert_eq!(refused.status, expected, "{path} {kind}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_nothing_waits_for_a_garbage_collector() {
    let serving = Serving::start().await;
    let client = ApiClient::new(&serving);
    let site = json!({"metadata": {"name": "a"}});
    for policy in ["Orphan", "Foreground"] {
        client.post("sites", &site).await;
        let path = format!("sites/a?propagationPolicy={policy}");
        let deleted = client.delete(&path).await;
        assert_eq!(deleted.status, 200, "{deleted:?}");
        let warning = deleted.warnings.first().expect("a warning");
        assert!(warning.contains("is Background"), "{warning}");
        assert_eq!(client.get("sites/a").await.status, 404, "{policy}");
    }
    // The next deletion removes a finalizer of the garbage collector that is already there.
    let kept = json!({"metadata": {"name": "a", "finalizers": ["example.com/a", "orphan"]}});
    client.post("sites", &kept).await;
    let deleted = client.delete("sites/a").await;
    assert_eq!(
        deleted.body["metadata"]["finalizers"],
        json!(["example.com/a"])
    );
    let ready = &deleted.body["status"]["conditions"][0];
    assert_eq!(ready["reason"], "Deleting", "{ready}");
    let message = ready["message"].as_str().expect("a message");
    assert!(message.contains("example.com/a"), "{message}");
    refuses_patches(&client).await;
    let released = json!({"metadata": {"finalizers": []}});
    let released = client.patch("sites/a", "merge-patch+json", &released).await;
    assert_eq!(released.status, 200, "{released:?}");
    assert_eq!(client.get("sites/a").await.status, 404);
    serving.stop().await;
}
