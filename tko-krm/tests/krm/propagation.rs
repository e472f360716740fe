//! Deletions of many objects, and of objects that others depend on; and the options of deletions.

use crate::requests::ApiClient;
use crate::serving::{Serving, package};
use reqwest::Method;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_options_of_a_deletion_deletes_nothing() {
    let serving = Serving::start().await;
    let client = ApiClient::new(&serving);
    let site = json!({"metadata": {"name": "a"}});
    let created = client.post("sites", &site).await;
    assert_eq!(created.status, 201, "{created:?}");
    let delete = async |path: &str, media: &str, body: &str| {
        let body = body.to_owned();
        client.send(Method::DELETE, path, media, body).await
    };
    let (own, json) = ("tko.nephio.org/v1alpha1", "application/json");
    let of = |version: &str, kind: &str| {
        let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}});
        object.to_string()
    };
    for (media, body, expected) in [
        (json, of("tko.nephio.org/v9", "Site"), 400),
        (json, of(own, "Site"), 400),
        (json, of("v1", "Status"), 400),
        (json, of("tko.nephio.org/v9", "DeleteOptions"), 400),
        (json, of("", "Site"), 400),
        ("application/xml", "<a/>".to_owned(), 415),
        ("application/x-www-form-urlencoded", "{}".to_owned(), 415),
        ("application/vnd.kubernetes.protobuf", "k8s".to_owned(), 415),
    ] {
        for path in ["sites/a", "sites"] {
            let refused = delete(path, media, &body).await;
            assert_eq!(refused.status, expected, "{media} {body}: {refused:?}");
        }
    }
    assert_eq!(client.get("sites/a").await.status, 200);
    for (media, body) in [
        (json, of("v1", "DeleteOptions")),
        (json, of("meta.k8s.io/v1", "DeleteOptions")),
        ("application/json; charset=utf-8", of(own, "DeleteOptions")),
        ("application/yaml", "kind: DeleteOptions".to_owned()),
        (json, "{}".to_owned()),
        // Without a body, nothing depends on its type.
        ("application/xml", String::new()),
    ] {
        let deleted = delete("sites/a", media, &body).await;
        assert_eq!(deleted.status, 200, "{media} {body}: {deleted:?}");
        client.post("sites", &site).await;
    }
    serving.stop().await;
}
