//! Entities of `/api/v1`: list, get, put, delete, purge, history.

use crate::harness::{CONFIG, TestServer, answer, sent};
use reqwest::StatusCode;
use serde_json::json;

#[tokio::test]
async fn a_template_is_registered_read_and_deleted() {
    let server = TestServer::start().await;
    let path = "/api/v1/templates/nf%2Fupf%3Av1";
    server
        .register(&format!("{path}?metadata=a%3Db"), CONFIG)
        .await;
    let got = sent(server.get(path), StatusCode::OK).await;
    let tag = got.headers()["etag"].to_str().expect("text").to_owned();
    let template: serde_json::Value = got.json().await.expect("JSON");
    assert_eq!(template["templateId"], "nf/upf:v1");
    assert_eq!(template["metadata"]["a"], "b");
    let unchanged = server.get(path).header("if-none-match", &tag);
    sent(unchanged, StatusCode::NOT_MODIFIED).await;
    let package = format!("{path}/package");
    for (accept, kind) in [
        ("application/yaml", "application/yaml"),
        ("application/json", "application/json"),
        ("application/cbor", "application/cbor"),
        ("*/*", "application/yaml"),
    ] {
        let got = sent(
            server.get(&package).header("accept", accept),
            StatusCode::OK,
        )
        .await;
        assert_eq!(got.headers()["content-type"], kind);
    }
    let refused = server.get(&package).header("accept", "text/html");
    answer(refused, StatusCode::NOT_ACCEPTABLE).await;
    answer(server.delete(path), StatusCode::NO_CONTENT).await;
    answer(server.get(path), StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn preconditions_keep_others_changes() {
    let server = TestServer::start().await;
    let path = "/api/v1/sites/lab";
    let put = || {
        server
            .put(path)
            .header("content-type", "application/yaml")
            .body(CONFIG)
    };
    answer(put().header("if-none-match", "*"), StatusCode::OK).await;
    answer(
        put().header("if-none-match", "*"),
        StatusCode::PRECONDITION_FAILED,
    )
    .await;
    let got = sent(server.get(path), StatusCode::OK).await;
    let tag = got.headers()["etag"].to_str().expect("text").to_owned();
    server
        .register(&format!("{path}?metadata=x%3Dy"), CONFIG)
        .await;
    answer(
        put().header("if-match", &tag),
        StatusCode::PRECONDITION_FAILED,
    )
    .await;
    answer(
        put().header("if-match", "nonsense"),
        StatusCode::BAD_REQUEST,
    )
    .await;
    answer(put().header("if-match", "*"), StatusCode::OK).await;
}

#[tokio::test]
async fn entity_tags_are_compared_as_http_requires() {
    let server = TestServer::start().await;
    let path = "/api/v1/sites/lab";
    server.register(path, CONFIG).await;
    let package = format!("{path}/package");
    let read = async |format: &str| {
        let get = server.get(&package).header("accept", format);
        let got = sent(get, StatusCode::OK).await;
        got.headers()["etag"].to_str().expect("text").to_owned()
    };
    let (yaml, json) = (
        read("application/yaml").await,
        read("application/json").await,
    );
    assert_ne!(yaml, json);
    for (known, status) in [(&json, StatusCode::NOT_MODIFIED), (&yaml, StatusCode::OK)] {
        let get = server.get(&package).header("accept", "application/json");
        let got = sent(get.header("if-none-match", known), status).await;
        assert_eq!(got.headers()["vary"], "accept");
    }
    let put = async |tags: String, status| {
        let put = server.put(path).header("content-type", "application/yaml");
        answer(put.header("if-match", tags).body(CONFIG), status).await;
    };
    put(format!("W/{yaml}"), StatusCode::PRECONDITION_FAILED).await;
    put(
        "\"998\", \"999\"".to_owned(),
        StatusCode::PRECONDITION_FAILED,
    )
    .await;
    put(format!("\"999\", {yaml}"), StatusCode::OK).await;
    put(read("application/json").await, StatusCode::OK).await;
    let delete = server.delete(path).header("if-match", "W/\"1\"");
    answer(delete, StatusCode::PRECONDITION_FAILED).await;
    let absent = server.delete("/api/v1/sites/none");
    let absent = absent.header("if-match", "\"1\", \"2\"");
    answer(absent, StatusCode::PRECONDITION_FAILED).await;
}

#[tokio::test]
async fn a_deletion_keeps_what_has_changed_since_it_was_read() {
    let server = TestServer::start().await;
    let path = "/api/v1/sites/lab";
    let tag = async || {
        let got = sent(server.get(path), StatusCode::OK).await;
        got.headers()["etag"].to_str().expect("text").to_owned()
    };
    server.register(path, CONFIG).await;
    let read = tag().await;
    server
        .register(&format!("{path}?metadata=x%3Dy"), CONFIG)
        .await;
    let stale = || server.delete(path).header("if-match", &read);
    let problem = answer(stale(), StatusCode::PRECONDITION_FAILED).await;
    assert_eq!(problem["type"], "urn:tko:problem:precondition-failed");
    answer(
        server.delete(path).header("if-none-match", "*"),
        StatusCode::BAD_REQUEST,
    )
    .await;
    let current = tag().await;
    let delete = server.delete(path).header("if-match", current);
    answer(delete, StatusCode::NO_CONTENT).await;
    answer(server.get(path), StatusCode::NOT_FOUND).await;
    answer(stale(), StatusCode::PRECONDITION_FAILED).await;
    server.register(path, CONFIG).await;
    let delete = server.delete(path).header("if-match", "*");
    answer(delete, StatusCode::NO_CONTENT).await;
}

#[tokio::test]
async fn a_precondition_that_cannot_be_checked_is_refused() {
    let server = TestServer::start().await;
    server.register("/api/v1/sites/lab", CONFIG).await;
    server.register("/api/v1/templates/t", CONFIG).await;
    let id = server.create("template=t&prepared=true").await;
    let approve = format!("/api/v1/deployments/{id}/approve");
    for request in [
        server.post("/api/v1/sites/lab/retry"),
        server.post(&approve),
    ] {
        let request = request.header("if-match", "\"999\"");
        let problem = answer(request, StatusCode::BAD_REQUEST).await;
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains("remove If-Match"), "{detail}");
    }
    answer(server.get("/api/v1/sites/lab"), StatusCode::OK).await;
    answer(server.post(&approve), StatusCode::NO_CONTENT).await;
}

#[tokio::test]
async fn pages_continue_at_their_cursor() {
    let server = TestServer::start().await;
    for number in 0..7 {
        server
            .register(&format!("/api/v1/sites/s%2F{number}"), "")
            .await;
    }
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/sites?limit=3&id=s%2F*&cursor={cursor}");
        let page = answer(server.get(&path), StatusCode::OK).await;
        let items = page["items"].as_array().expect("items").clone();
        ids.extend(items.into_iter().map(|site| site["siteId"].clone()));
        match page["next"].as_str() {
            Some(next) => cursor = next.replace('/', "%2F"),
            None => break,
        }
    }
    assert_eq!(ids, ["s/0", "s/1", "s/2", "s/3", "s/4", "s/5", "s/6"]);
    let lines = server
        .get("/api/v1/sites")
        .header("accept", "application/x-ndjson");
    let lines = sent(lines, StatusCode::OK)
        .await
        .text()
        .await
        .expect("text");
    assert_eq!(lines.lines().count(), 7);
}

#[tokio::test]
async fn a_refused_package_lists_every_violation() {
    let server = TestServer::start().await;
    let refused = "apiVersion: x/v1\nkind: Refused\nmetadata: {name: a}\n---\n\
                   apiVersion: x/v1\nkind: Refused\nmetadata: {name: b}\n";
    let put = server
        .put("/api/v1/templates/t")
        .header("content-type", "application/yaml");
    let put = put.body(refused);
    let response = sent(put, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let problem: serde_json::Value = response.json().await.expect("JSON");
    assert_eq!(problem["type"], "urn:tko:problem:invalid-package");
    let violations = problem["violations"].as_array().expect("a list");
    assert_eq!(violations.len(), 2);
    assert_eq!(violations[1]["resource"]["name"], "b");
    assert_eq!(violations[1]["path"], "kind");
}

#[tokio::test]
async fn a_purge_says_first_what_it_would_delete() {
    let server = TestServer::start().await;
    for number in 0..12 {
        server
            .register(&format!("/api/v1/sites/s%2F{number}"), "")
            .await;
    }
    let dry = server.post("/api/v1/sites:purge?id=s%2F1*&dryRun=true");
    let dry = answer(dry, StatusCode::OK).await;
    assert_eq!(
        (&dry["count"], &dry["first"]),
        (&json!(3), &json!(["s/1", "s/10", "s/11"]))
    );
    answer(server.post("/api/v1/sites:purge"), StatusCode::BAD_REQUEST).await;
    let done = answer(server.post("/api/v1/sites:purge?id=s%2F1*"), StatusCode::OK).await;
    assert_eq!(done["done"], 3);
    let done = answer(server.post("/api/v1/sites:purge?all=true"), StatusCode::OK).await;
    assert_eq!(done["done"], 9);
}

#[tokio::test]
async fn o2_an_empty_filter_deletes_and_approves_nothing() {
    let server = TestServer::start().await;
    server.register("/api/v1/sites/lab", CONFIG).await;
    server.register("/api/v1/templates/t", CONFIG).await;
    let id = server.create("template=t&prepared=true").await;
    for bulk in [
        "sites:purge?id=",
        "sites:purge?all=true&id=",
        "sites:purge?id=lab&dryRun=",
        "templates:purge?id=t&metadata=",
        "deployments:purge?template-id=t&site-id=",
        "deployments:approve",
        "deployments:approve?parent=",
        "deployments:approve?template-id=t&site-id=",
    ] {
        let refused = server.post(&format!("/api/v1/{bulk}"));
        answer(refused, StatusCode::BAD_REQUEST).await;
    }
    for path in ["sites/lab", "templates/t"] {
        answer(server.get(&format!("/api/v1/{path}")), StatusCode::OK).await;
    }
    let one = server.get(&format!("/api/v1/deployments/{id}"));
    assert_eq!(answer(one, StatusCode::OK).await["approved"], false);
    let all = server.post("/api/v1/deployments:approve?all=true");
    assert_eq!(answer(all, StatusCode::OK).await["done"], 1);
}

#[tokio::test]
async fn a_history_names_who_changed_what() {
    let server = TestServer::start().await;
    server.register("/api/v1/sites/lab", CONFIG).await;
    server
        .register("/api/v1/sites/lab?metadata=a%3Db", CONFIG)
        .await;
    let history = answer(server.get("/api/v1/sites/lab/history"), StatusCode::OK).await;
    let items = history["items"].as_array().expect("items");
    assert_eq!(items.len(), 2);
    assert_eq!(
        (&items[0]["caller"], &items[0]["interface"]),
        (&json!("anonymous"), &json!("http"))
    );
    assert_eq!(items[0]["after"]["metadata"]["a"], "b");
}

#[tokio::test]
async fn unknown_parameters_collections_and_methods_are_refused() {
    let server = TestServer::start().await;
    answer(
        server.get("/api/v1/sites?colour=red"),
        StatusCode::BAD_REQUEST,
    )
    .await;
    answer(server.get("/api/v1/sites?limit=0"), StatusCode::BAD_REQUEST).await;
    answer(
        server.get("/api/v1/sites?limit=1001"),
        StatusCode::BAD_REQUEST,
    )
    .await;
    answer(
        server.get("/api/v1/sites?order=time"),
        StatusCode::BAD_REQUEST,
    )
    .await;
    answer(server.get("/api/v1/things"), StatusCode::NOT_FOUND).await;
    answer(server.get("/api/v2/sites"), StatusCode::NOT_FOUND).await;
    answer(
        server.put("/api/v1/deployments/a"),
        StatusCode::METHOD_NOT_ALLOWED,
    )
    .await;
    let wrong = sent(
        server.delete("/api/v1/sites"),
        StatusCode::METHOD_NOT_ALLOWED,
    )
    .await;
    let allowed = wrong.headers()["allow"].to_str().expect("text").to_owned();
    assert!(allowed.contains("GET"), "{allowed}");
    let problem: serde_json::Value = wrong.json().await.expect("JSON");
    assert_eq!(problem["type"], "urn:tko:problem:method-not-allowed");
    let summary = answer(
        server.get("/api/v1/summary?by=colour"),
        StatusCode::BAD_REQUEST,
    )
    .await;
    assert!(
        summary["detail"]
            .as_str()
            .is_some_and(|text| text.contains("colour"))
    );
}
