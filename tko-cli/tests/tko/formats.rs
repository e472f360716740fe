//! The same content in every output format.

use crate::harness::{Server, filled, tko};
use serde_json::{Value, json};

#[tokio::test]
async fn every_format_has_the_same_content() {
    let server = Server::data().await;
    filled(&server).await;
    let list = "site list --id india/**";
    let json = server.tko(list).arg("-o=json").good().await.json();
    assert_eq!(json.as_array().map(Vec::len), Some(2));
    let yaml = server.tko(list).good().await;
    let read = tko_core::encoding::decode(
        &yaml.stdout,
        tko_core::Format::Yaml,
        tko_core::Dialect::People,
        &tko_core::Limits::default(),
    );
    assert_eq!(Value::Array(read.expect("YAML")), json);
    let cbor = server.tko(list).arg("--format=cbor").good().await;
    let read: Value = ciborium::from_reader(&cbor.stdout[..]).expect("CBOR");
    assert_eq!(read, json);
    let packed = server.tko(list).arg("-omessagepack").good().await;
    let read: Value = rmp_serde::from_slice(&packed.stdout).expect("MessagePack");
    assert_eq!(read, json);
    let xml = server.tko(list).arg("-oxml").good().await;
    assert!(
        xml.text()
            .contains(r#"<string key="siteId">india/north/1</string>"#),
        "{xml}"
    );
    let table = server.tko(list).arg("-otable").good().await;
    let lines: Vec<&str> = table.text().lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(
        lines[0].contains("SITE ID") && lines[2].contains("india/south/1"),
        "{table}"
    );
}

#[tokio::test]
async fn a_package_is_printed_in_every_format() {
    let server = Server::data().await;
    filled(&server).await;
    let wanted: Value = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "config"}, "data": {"a": "b"}});
    let get = "template get nf/upf:v1";
    let json = server.tko(get).arg("-ojson").good().await.json();
    assert_eq!(json, json!([wanted]));
    let cbor = server.tko(get).arg("-ocbor").good().await;
    let read: Value = ciborium::from_reader(&cbor.stdout[..]).expect("CBOR");
    assert_eq!(read, json!([wanted]));
    let packed = server.tko(get).arg("-omessagepack").good().await;
    let read: Value = rmp_serde::from_slice(&packed.stdout).expect("MessagePack");
    assert_eq!(read, json!([wanted]));
    let xml = server.tko(get).arg("-oxml").good().await;
    assert!(
        xml.text()
            .contains(r#"<string key="kind">ConfigMap</string>"#),
        "{xml}"
    );
    let table = server.tko(get).arg("-otable").good().await;
    assert!(table.text().contains("ConfigMap"), "{table}");
}

#[tokio::test]
async fn a_function_writes_yaml_or_json() {
    let list = json!({
        "apiVersion": "config.kubernetes.io/v1", "kind": "ResourceList",
        "items": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}],
        "functionConfig": {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "labels"},
            "data": {"zone": "edge"},
        },
    });
    let run = |format: &str| tko(&format!("fn set-labels {format}")).stdin(list.to_string());
    let json = run("-o json").good().await.json();
    assert_eq!(json["items"][0]["metadata"]["labels"]["zone"], "edge");
    let yaml = run("").good().await;
    assert!(yaml.text().starts_with("apiVersion: "), "{yaml}");
    assert!(yaml.text().contains("zone: edge"), "{yaml}");
    // An orchestrator calls functions with the environment of its user, and reads YAML.
    for format in ["json", "table"] {
        let same = run("").env("TKO_FORMAT", format).good().await;
        assert_eq!(same.text(), yaml.text(), "{format}");
    }
    let json = run("-o json").env("TKO_FORMAT", "table").good().await;
    assert_eq!(json.json()["kind"], "ResourceList");
    let names = tko("fn --list -o json").good().await.json();
    let names = names.as_array().expect("a list");
    assert!(names.contains(&json!("set-labels")), "{names:?}");
    for format in ["xml", "cbor", "table"] {
        let said = run(&format!("-o {format}")).bad(2).await;
        assert!(said.contains("yaml and json"), "{said}");
    }
}
