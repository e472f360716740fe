//! The endpoints of the original.

use crate::harness::{CONFIG, TestServer, answer, sent};
use reqwest::StatusCode;
use serde_json::json;

#[tokio::test]
async fn an_empty_list_is_an_empty_list() {
    let server = TestServer::start().await;
    for kind in ["template", "site", "deployment", "plugin"] {
        let list = server.get(&format!("/api/{kind}/list"));
        assert_eq!(answer(list, StatusCode::OK).await, json!([]), "{kind}");
    }
}

#[tokio::test]
async fn lists_have_the_fields_of_the_original() {
    let server = TestServer::start().await;
    server
        .register("/api/v1/templates/nf%2Fa:v1?metadata=type%3DUPF", CONFIG)
        .await;
    server
        .register("/api/v1/sites/lab%2F1?template=nf%2Fa:v1", "")
        .await;
    let id = server.create("template=nf/a:v1&site=lab/1").await;
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
    assert_eq!(templates[0]["id"], "nf/a:v1");
    assert_eq!(templates[0]["deployments"], json!([id]));
    assert_eq!(templates[0]["metadata"]["type"], "UPF");
    assert!(templates[0]["updatedTimestamp"].as_i64() > Some(1_700_000_000_000));
    let sites = list("site").await;
    assert_eq!(
        (&sites[0]["id"], &sites[0]["template"]),
        (&json!("lab/1"), &json!("nf/a:v1"))
    );
    let deployments = list("deployment").await;
    assert_eq!(deployments[0]["id"], json!(id));
    assert_eq!(deployments[0]["prepared"], json!(false));
    assert_eq!(deployments[0]["parent"], "");
    let plugins = list("plugin").await;
    assert_eq!(plugins[0]["id"], "prepare|gateway");
    assert_eq!(plugins[0]["triggers"], json!(["x.example/v1,Thing"]));
    let about = answer(server.get("/api/about"), StatusCode::OK).await;
    assert_eq!(
        about["http"]["addressPorts"],
        json!([server.address.to_string()])
    );
    let package = sent(server.get("/api/template?id=nf/a:v1"), StatusCode::OK).await;
    assert_eq!(package.headers()["content-type"], "application/yaml");
    assert!(package.text().await.expect("text").contains("ConfigMap"));
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
    answer(server.get("/api/thing/list"), StatusCode::BAD_REQUEST).await;
}
