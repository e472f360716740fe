//! Writes never store what readers cannot read.

use crate::requests::ApiClient;
use crate::serving::{Serving, config_map};
use reqwest::Method;
use serde_json::{Value, json};
use tko_core::{DataApi, Kind, Limits, List, Package, Select, Want, codec};

/// Maps within each other.
fn nested(levels: usize) -> Value {
    (0..levels).fold(Value::Null, |inner, _| json!({"a": inner}))
}

/// A resource with this many levels.
fn resource(levels: usize) -> Value {
    let mut resource = config_map("deep");
    resource["data"] = nested(levels - 1);
    resource
}

fn template(name: &str, levels: usize) -> Value {
    json!({"metadata": {"name": name}, "spec": {"package": {"resources": [resource(levels)]}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn no_write_nests_a_resource_deeper_than_readers_accept() {
    let serving = Serving::start().await;
    let client = ApiClient::new(&serving);
    for parameters in ["", "?fieldValidation=Ignore", "?fieldValidation=Strict"] {
        let path = format!("templates{parameters}");
        let refused = client.post(&path, &template("deep", 101)).await;
        assert_eq!(refused.status, 400, "{parameters}: {refused:?}");
    }
    let created = client.post("templates", &template("fits", 100)).await;
    assert_eq!(created.status, 201, "{created:?}");
    let read = client.get("templates/fits").await;
    let path = "templates/fits?fieldValidation=Strict";
    let replaced = client.put(path, &read.body).await;
    assert_eq!(replaced.status, 200, "{replaced:?}");

    let created = client.post("templates", &template("half", 60)).await;
    assert_eq!(created.status, 201, "{created:?}");
    let innermost = format!("/spec/package/resources/0/data{}", "/a".repeat(59));
    let more = json!([{"op": "add", "path": innermost, "value": nested(60)}]);
    let refused = client
        .patch("templates/half", "json-patch+json", &more)
        .await;
    assert_eq!(refused.status, 422, "{refused:?}");
    let more = json!({"spec": {"package": {"resources": [resource(101)]}}});
    for (kind, parameters) in [
        ("merge-patch+json", ""),
        ("apply-patch+yaml", "?fieldManager=a&force=true"),
    ] {
        let path = format!("templates/half{parameters}");
        let refused = client.patch(&path, kind, &more).await;
        assert_eq!(refused.status, 400, "{kind}: {refused:?}");
    }

    let listed = client.get("templates").await;
    assert_eq!(listed.status, 200, "{listed:?}");
    // Backends and other servers read what is stored by these limits.
    let list = List::new(Select::all(Kind::Template)).want(Want::PACKAGE);
    let page = serving.data.list(&list).await.expect("a page");
    assert_eq!(page.items.len(), 2);
    for record in page.items {
        let package = record.package.expect("it was requested");
        let read = codec::decode::<Package>(&codec::encode(&package), &Limits::default());
        assert_eq!(read.ok(), Some(package));
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_equal_keys_wins_within_the_same_limits_unless_the_write_is_strict() {
    let serving = Serving::start().await;
    let client = ApiClient::new(&serving);
    let object = |levels: usize| {
        let object = template("first", levels).to_string();
        let rest = object.strip_prefix('{').expect("a map");
        let rest = rest.replace("first", "last");
        format!("{{\"metadata\":{{\"name\":\"first\"}},{rest}")
    };
    let post = async |parameters: &str, levels: usize| {
        let path = format!("templates{parameters}");
        let body = object(levels);
        client
            .send(Method::POST, &path, "application/json", body)
            .await
    };
    let refused = post("?fieldValidation=Strict", 3).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    let refused = post("?fieldValidation=Ignore", 101).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    let created = post("", 3).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.body["metadata"]["name"], "last");
    assert!(created.warnings[0].contains("given twice"), "{created:?}");
    let deleted = client.delete("templates/last").await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    serving.stop().await;
}
