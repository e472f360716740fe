//! The endpoints of the original.

use crate::harness::{CONFIG, TestServer, answer, sent};
use reqwest::StatusCode;
use serde_json::{Value, json};

#[tokio::test]
async fn an_empty_list_is_an_empty_list() {
    let server = TestServer::start().await;
    for kind in ["template", "site", "deployment", "plugin"] {
        let list = server.get(&format!("/api/{kind}/list"));
        assert_eq!(answer(list, StatusCode::OK).await, json!([]), "{kind}");
    }
}

/// Removes the timestamps of a row, and checks that they are milliseconds since the epoch.
fn without_times(row: &Value, fields: &[&str]) -> Value {
    let mut row = row.clone();
    let map = row.as_object_mut().expect("an object");
    for field in fields {
        let time = map.remove(*field).and_then(|time| time.as_i64());
        let is_now = |time: &i64| (1_700_000_000_000..100_000_000_000_000).contains(time);
        assert!(time.as_ref().is_some_and(is_now), "{field}: {time:?}");
    }
    row
}

#[tokio::test]
async fn lists_have_the_fields_of_the_original() {
    let server = TestServer::start().await;
    server
        .register("/api/v1/templates/nf%2Fa:v1?metadata=type%3DUPF", CONFIG)
        .await;
    server
        .register("/api/v1/sites/lab%2F1?metadata=region%3Dsouth", "")
        .await;
    server
        .register("/api/v1/sites/lab%2F2?template=nf%2Fa:v1", "")
        .await;
    server
        .create("id=a&template=nf/a:v1&site=lab/1&prepared=true&approved=true")
        .await;
    server.create("id=b&template=nf/a:v1&parent=a").await;
    let plugin = json!({
        "executor": "command", "arguments": ["x"], "properties": {"p": "q"},
        "triggers": [{"group": "x.example", "version": "v1", "kind": "Thing"}],
    });
    let put = server
        .put("/api/v1/plugins/prepare%7Cgateway")
        .json(&plugin);
    answer(put, StatusCode::OK).await;
    let list = async |kind| answer(server.get(&format!("/api/{kind}/list")), StatusCode::OK).await;
    let templates = list("template").await;
    assert_eq!(
        without_times(&templates[0], &["updatedTimestamp"]),
        json!({"id": "nf/a:v1", "deployments": ["a", "b"], "metadata": {"type": "UPF"}})
    );
    let sites = list("site").await;
    assert_eq!(
        without_times(&sites[0], &["updatedTimestamp"]),
        json!({
            "id": "lab/1", "template": "", "deployments": ["a"],
            "metadata": {"region": "south"},
        })
    );
    assert_eq!(
        without_times(&sites[1], &["updatedTimestamp"]),
        json!({
            "id": "lab/2", "template": "nf/a:v1", "deployments": [],
            "metadata": {"type": "UPF"},
        })
    );
    let deployments = list("deployment").await;
    let times = ["createdTimestamp", "updatedTimestamp"];
    assert_eq!(
        without_times(&deployments[0], &times),
        json!({
            "id": "a", "template": "nf/a:v1", "parent": "", "site": "lab/1",
            "metadata": {"type": "UPF"}, "prepared": true, "approved": true,
        })
    );
    assert_eq!(
        without_times(&deployments[1], &times),
        json!({
            "id": "b", "template": "nf/a:v1", "parent": "a", "site": "",
            "metadata": {"type": "UPF"}, "prepared": false, "approved": false,
        })
    );
    assert_eq!(
        list("plugin").await,
        json!([{
            "id": "prepare|gateway", "type": "prepare", "name": "gateway",
            "executor": "command", "arguments": ["x"], "properties": {"p": "q"},
            "triggers": ["x.example/v1,Thing"],
        }])
    );
    let about = answer(server.get("/api/about"), StatusCode::OK).await;
    assert_eq!(
        about,
        json!({
            "instanceName": "tko", "instanceDescription": "",
            "tkoVersion": env!("CARGO_PKG_VERSION"), "backend": "memory",
            "http": {"addressPorts": [server.address.to_string()]},
        })
    );
}

#[tokio::test]
async fn packages_are_yaml_as_in_the_original() {
    let server = TestServer::start().await;
    server.register("/api/v1/templates/nf%2Fa:v1", CONFIG).await;
    server.register("/api/v1/sites/lab%2F1", CONFIG).await;
    let id = server.create("template=nf/a:v1&site=lab/1").await;
    for entity in ["template?id=nf/a:v1", "site?id=lab/1"] {
        let package = yaml(&server, entity).await;
        assert!(package.contains("kind: ConfigMap"), "{entity}: {package}");
        assert!(package.contains("name: settings"), "{entity}: {package}");
    }
    let package = yaml(&server, &format!("deployment?id={id}")).await;
    for part in ["kind: ConfigMap", "kind: Deployment", "\n---\n"] {
        assert!(package.contains(part), "{part:?}: {package}");
    }
}

/// The package of an entity, which must be YAML.
async fn yaml(server: &TestServer, entity: &str) -> String {
    let package = sent(server.get(&format!("/api/{entity}")), StatusCode::OK).await;
    assert_eq!(package.headers()["content-type"], "application/yaml");
    package.text().await.expect("text")
}

#[tokio::test]
async fn windows_page_and_malformed_numbers_are_refused() {
    let server = TestServer::start().await;
    for site in ["a", "b", "c", "d"] {
        server.register(&format!("/api/v1/sites/{site}"), "").await;
    }
    let page = answer(
        server.get("/api/site/list?offset=1&count=2"),
        StatusCode::OK,
    )
    .await;
    let ids: Vec<_> = page
        .as_array()
        .expect("a list")
        .iter()
        .map(|site| &site["id"])
        .collect();
    assert_eq!(ids, ["b", "c"]);
    for query in ["count=0", "count=-1", "offset=0", "offset=0&count=0"] {
        let whole = server.get(&format!("/api/site/list?{query}"));
        let whole = answer(whole, StatusCode::OK).await;
        let sites = whole.as_array().expect("a list");
        assert_eq!(sites.len(), 4, "{query} is no limit");
    }
    for query in ["offset=x", "count=x", "page=2"] {
        let refused = server.get(&format!("/api/site/list?{query}"));
        let problem = answer(refused, StatusCode::BAD_REQUEST).await;
        assert_eq!(problem["status"], 400, "{query}");
    }
    answer(server.get("/api/site?id=none"), StatusCode::NOT_FOUND).await;
    for path in ["/api/thing/list", "/api/thing", "/api/v1"] {
        answer(server.get(path), StatusCode::NOT_FOUND).await;
    }
}
