//! Deployments: create, batch, approve, modify, count.

use crate::harness::{CONFIG, TestServer, answer, sent, store};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use tko_core::{ApiCall, Caller, Guard, Guarded, Pattern, Result, Scope};
use tko_http::HttpServerSettings;
use tko_serve::Access;

async fn with_template() -> TestServer {
    let server = TestServer::start().await;
    server.register("/api/v1/templates/t", CONFIG).await;
    server
}

#[tokio::test]
async fn an_idempotency_key_creates_once() {
    let server = with_template().await;
    let post = || {
        server
            .post("/api/v1/deployments?template=t")
            .header("idempotency-key", "order-1")
    };
    let one = answer(post(), StatusCode::CREATED).await;
    let other = answer(post(), StatusCode::CREATED).await;
    assert_eq!(one, other);
    let unknown = server.post("/api/v1/deployments?template=none");
    answer(unknown, StatusCode::BAD_REQUEST).await;
}

#[tokio::test]
async fn the_idempotency_key_of_a_child_is_refused() {
    let server = with_template().await;
    let parent = server.create("template=t").await;
    let key = format!("{parent}|0|lab/1|\"\"|p");
    let post = server
        .post(&format!("/api/v1/deployments?template=t&parent={parent}"))
        .header("idempotency-key", key.as_str());
    let refused = answer(post, StatusCode::BAD_REQUEST).await;
    assert!(refused.to_string().contains("idempotency key"), "{refused}");
    let line = json!({"templateId": "t", "idempotencyKey": key});
    let batch = server
        .post("/api/v1/deployments")
        .header("content-type", "application/x-ndjson")
        .body(line.to_string());
    let refused = answer(batch, StatusCode::OK).await;
    assert_eq!(refused["status"], 400, "{refused}");
    let listed = answer(server.get("/api/v1/deployments"), StatusCode::OK).await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_batch_answers_line_by_line() {
    let server = with_template().await;
    let mut lines = String::new();
    for number in 0..450 {
        let template = if number == 7 { "none" } else { "t" };
        let line = json!({"templateId": template, "metadata": {"n": number.to_string()}});
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    lines.push_str("{\"templateId\": \n");
    let post = server
        .post("/api/v1/deployments")
        .header("content-type", "application/x-ndjson");
    let text = sent(post.body(lines), StatusCode::OK)
        .await
        .text()
        .await
        .expect("text");
    let answers: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(answers.len(), 451);
    for (number, answer) in answers.iter().enumerate() {
        let is_created = answer["deploymentId"].is_string();
        assert_eq!(is_created, number != 7 && number != 450, "{answer}");
    }
    assert_eq!(answers[450]["status"], 400);
}

#[tokio::test]
async fn empty_parameters_and_empty_deployments_are_refused() {
    let server = with_template().await;
    let put = |path: &str| server.put(path).header("content-type", "application/yaml");
    server.register("/api/v1/sites/lab?template=t", "").await;
    for query in [
        "?template=t&site=",
        "?template=",
        "?template=t&prepared=",
        "",
    ] {
        let post = server.post(&format!("/api/v1/deployments{query}"));
        answer(post, StatusCode::BAD_REQUEST).await;
    }
    let detached = put("/api/v1/sites/lab?template=").body(CONFIG);
    answer(detached, StatusCode::BAD_REQUEST).await;
    let post = server
        .post("/api/v1/deployments")
        .header("content-type", "application/x-ndjson");
    let post = post.body("[]\n{}\n[\"a\", \"t\"]\n{\"metadata\": {}}\n");
    let text = sent(post, StatusCode::OK).await.text().await.expect("text");
    assert_eq!(text.lines().count(), 4, "{text}");
    for line in text.lines() {
        assert!(line.contains("\"status\":400"), "{line}");
    }
    let listed = answer(server.get("/api/v1/deployments"), StatusCode::OK).await;
    assert_eq!(listed["items"], json!([]));
    let site = answer(server.get("/api/v1/sites/lab"), StatusCode::OK).await;
    assert_eq!(site["templateId"], "t");
    let with_package = server
        .post("/api/v1/deployments")
        .header("content-type", "application/yaml");
    answer(with_package.body(CONFIG), StatusCode::CREATED).await;
}

#[tokio::test]
async fn one_or_all_selected_are_approved() {
    let server = with_template().await;
    let id = server.create("template=t&prepared=true").await;
    for _ in 0..3 {
        server
            .create("template=t&prepared=true&metadata=wave%3D2")
            .await;
    }
    let unprepared = server.create("template=t").await;
    let approve = server.post(&format!("/api/v1/deployments/{id}/approve"));
    answer(approve, StatusCode::NO_CONTENT).await;
    let refused = server.post(&format!("/api/v1/deployments/{unprepared}/approve"));
    answer(refused, StatusCode::CONFLICT).await;
    let path = "/api/v1/deployments:approve?metadata=wave%3D2";
    let dry = answer(server.post(&format!("{path}&dryRun=true")), StatusCode::OK).await;
    assert_eq!(dry["count"], 3);
    assert_eq!(answer(server.post(path), StatusCode::OK).await["done"], 3);
    let listed = answer(
        server.get("/api/v1/deployments?state=approved"),
        StatusCode::OK,
    )
    .await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(4));
    let failing = answer(
        server.get("/api/v1/deployments?state=failing"),
        StatusCode::OK,
    )
    .await;
    assert_eq!(failing["items"], json!([]));
}

/// Restricts approvals to the deployments of another site.
struct ElsewhereGuard;

impl Guard for ElsewhereGuard {
    fn check(&self, _: Option<&Caller>, _: ApiCall<'_>) -> Result<()> {
        Ok(())
    }

    fn scopes(&self, _: Option<&Caller>, call: ApiCall<'_>) -> Result<Vec<Arc<Scope>>> {
        let other = || Arc::new(Scope::new().site(Pattern::literal("other")));
        let is_approval = matches!(call, ApiCall::Approve(_));
        Ok(is_approval.then(other).into_iter().collect())
    }
}

#[tokio::test]
async fn an_approval_that_the_role_does_not_cover_is_forbidden() {
    let store = store();
    let guarded = Arc::new(Guarded::new(Arc::new(store.clone()), ElsewhereGuard));
    let settings = HttpServerSettings::default();
    let server = TestServer::serving(guarded, store, settings, Access::new(), 0).await;
    server.register("/api/v1/templates/t", CONFIG).await;
    let id = server.create("template=t&prepared=true").await;
    let approve = server.post(&format!("/api/v1/deployments/{id}/approve"));
    let refused = answer(approve, StatusCode::FORBIDDEN).await;
    assert!(refused.to_string().contains("does not cover"), "{refused}");
}

#[tokio::test]
async fn a_modification_keeps_others_away_until_it_ends() {
    let server = with_template().await;
    let id = server.create("template=t").await;
    let start = || server.post(&format!("/api/v1/deployments/{id}/modification?ttl=60"));
    let started = answer(start(), StatusCode::CREATED).await;
    answer(start(), StatusCode::CONFLICT).await;
    let token = started["token"]
        .as_str()
        .expect("a token")
        .replace('|', "%7C");
    let path = format!("/api/v1/modifications/{token}");
    let mut package = started["package"].clone();
    package[0]["data"]["a"] = json!("changed");
    let refused = json!([{"apiVersion": "x/v1", "kind": "Refused", "metadata": {"name": "a"}}]);
    answer(
        server.put(&path).json(&refused),
        StatusCode::UNPROCESSABLE_ENTITY,
    )
    .await;
    answer(server.put(&path).json(&package), StatusCode::OK).await;
    answer(server.put(&path).json(&package), StatusCode::NOT_FOUND).await;
    let read = server.get(&format!("/api/v1/deployments/{id}/package"));
    let read = sent(read, StatusCode::OK).await;
    let tag = read.headers()["etag"].to_str().expect("text").to_owned();
    assert!(read.text().await.expect("text").contains("changed"));
    let cancelled = answer(start(), StatusCode::CREATED).await;
    let token = cancelled["token"]
        .as_str()
        .expect("a token")
        .replace('|', "%7C");
    let cancel = server.delete(&format!("/api/v1/modifications/{token}"));
    answer(cancel, StatusCode::NO_CONTENT).await;
    let put = || {
        server
            .put(&format!("/api/v1/deployments/{id}/package"))
            .json(&package)
    };
    answer(put(), StatusCode::PRECONDITION_REQUIRED).await;
    answer(
        put().header("if-match", "\"1\""),
        StatusCode::PRECONDITION_FAILED,
    )
    .await;
    answer(put().header("if-match", tag), StatusCode::OK).await;
}

#[tokio::test]
async fn the_summary_follows_changes() {
    let server = with_template().await;
    server
        .register("/api/v1/sites/lab?metadata=region%3Dsouth", "")
        .await;
    server.create("template=t&site=lab").await;
    server.create("template=t&site=lab&prepared=true").await;
    let read = || server.get("/api/v1/summary?by=site.region");
    let mut summary = Value::Null;
    for _ in 0..1_000 {
        summary = answer(read(), StatusCode::OK).await;
        if summary["complete"] == true && summary["deployments"]["total"] == 2 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(summary["deployments"]["waiting"], 1, "{summary}");
    assert_eq!(summary["by"]["south"]["total"], 2, "{summary}");
    assert_eq!(
        (&summary["sites"], &summary["templates"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn a_summary_says_that_there_are_more_groups() {
    let mut settings = HttpServerSettings::default();
    settings.max_groups = 2;
    let server = TestServer::with(store(), settings, Access::new(), 0).await;
    // The names of the groups, and whether there are more, once this many sites are counted.
    let groups = async |sites: usize| {
        for _ in 0..1_000 {
            let by_region = server.get("/api/v1/summary?by=site.region");
            let summary = answer(by_region, StatusCode::OK).await;
            if summary["complete"] == true && summary["sites"] == json!(sites) {
                let groups = summary["by"].as_object().expect("groups");
                let names: Vec<String> = groups.keys().cloned().collect();
                return (names, summary["more"] == true);
            }
            tokio::task::yield_now().await;
        }
        panic!("not {sites} sites");
    };
    let register = async |site: &str, region: &str| {
        let path = format!("/api/v1/sites/{site}?metadata=region%3D{region}");
        server.register(&path, "").await;
    };
    register("a", "south").await;
    register("b", "north").await;
    let both = vec!["north".to_owned(), "south".to_owned()];
    assert_eq!(groups(2).await, (both.clone(), false));
    register("c", "west").await;
    assert_eq!(groups(3).await, (both, true));
    let all = answer(server.get("/api/v1/summary"), StatusCode::OK).await;
    assert_eq!(all.get("more"), None, "{all}");
}
