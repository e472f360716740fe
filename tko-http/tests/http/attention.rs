//! What needs attention: found by state and reason without looking at everything, sorted by time, and
//! retried at once.

use crate::harness::{CONFIG, TestServer, answer, sent};
use reqwest::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    ClaimRequest, Condition, DataApi, DeploymentId, Generation, Key, NewDeployment, Outcome,
    PrepareStep, SiteId, Stage, WorkerApi,
};

/// Lets the preparation of these deployments fail; they wait for an hour.
async fn fail(server: &TestServer, ids: &[&str]) {
    let store: Arc<dyn WorkerApi> = Arc::new(server.store.clone());
    let request = ClaimRequest::new(Stage::Prepare, "preparer").max(1_000);
    for claim in store.claim(&request).await.expect("claims") {
        let id = claim.work.key.id().to_owned();
        let Some(at) = ids.iter().position(|one| *one == id) else {
            let done = [(claim.token, Outcome::Done)];
            store.settle(&done).await.expect("settled");
            continue;
        };
        let message = format!("no address pool left in region {at}");
        let condition = Condition::new("Prepared", false, "Failed", message, Generation(1));
        let step = PrepareStep::new(DeploymentId::new(&id).expect("an id"), Generation(1))
            .condition(condition)
            .settle(Outcome::Retry {
                after: Duration::from_hours(1),
                reason: "refused".to_owned(),
            });
        store
            .commit_prepared(&claim.token, step)
            .await
            .expect("a step");
    }
}

async fn ids(server: &TestServer, query: &str) -> Vec<String> {
    let page = answer(
        server.get(&format!("/api/v1/deployments?{query}")),
        StatusCode::OK,
    )
    .await;
    assert!(page["next"].is_null(), "{page}");
    let items = page["items"].as_array().expect("items").iter();
    let id = |item: &serde_json::Value| item["deploymentId"].as_str().expect("an id").to_owned();
    items.map(id).collect()
}

async fn page(server: &TestServer, path: &str) -> String {
    let request = server.get(path).header("accept", "text/html");
    let page = sent(request, StatusCode::OK).await.text().await;
    page.expect("a page")
}

/// Three of many thousands fail: two of one template, one of another.
async fn filled(thousands: usize) -> (TestServer, [&'static str; 3]) {
    let server = TestServer::start().await;
    server.register("/api/v1/templates/one", CONFIG).await;
    server.register("/api/v1/templates/two", CONFIG).await;
    let new = |number: usize| {
        let id = DeploymentId::new(&format!("d{number:05}")).expect("an id");
        let template = if number == 2_000 { "two" } else { "one" };
        NewDeployment::new()
            .id(id)
            .template(template.parse().ok())
            .prepared(!matches!(number, 7 | 2_000 | 4_999))
    };
    for thousand in 0..thousands {
        let numbers = thousand * 1_000..(thousand + 1) * 1_000;
        let created = server.store.create_deployments(numbers.map(new).collect());
        assert!(created.await.iter().all(Result::is_ok));
    }
    let failing = ["d00007", "d02000", "d04999"];
    fail(&server, &failing).await;
    (server, failing)
}

#[tokio::test]
async fn what_fails_is_found_at_once_among_many() {
    // More than a request looks at one by one.
    let (server, failing) = filled(25).await;
    assert_eq!(ids(&server, "state=failing").await, failing);
    assert_eq!(
        ids(&server, "state=failing&template-id=two").await,
        ["d02000"]
    );
    assert_eq!(ids(&server, "state=deleting").await, [""; 0]);
    let first = server.get("/api/v1/deployments?state=failing&limit=2");
    let first = answer(first, StatusCode::OK).await;
    assert_eq!(first["next"], "d02000");
    assert_eq!(
        ids(&server, "state=failing&limit=2&cursor=d02000").await,
        ["d04999"]
    );
    let by_reason = page(&server, "/deployments?q=--reason%20%27region%202%27").await;
    assert!(by_reason.contains("row-d04999") && !by_reason.contains("row-d00007"));
    assert!(
        !by_reason.contains("data-more"),
        "nothing else is looked for"
    );
    answer(
        server.delete("/api/v1/deployments/d02000"),
        StatusCode::NO_CONTENT,
    )
    .await;
    assert_eq!(ids(&server, "state=failing").await, ["d00007", "d04999"]);
}

#[tokio::test]
async fn sites_are_listed_by_state_too() {
    let server = TestServer::start().await;
    for id in ["bad", "good"] {
        server
            .register(&format!("/api/v1/sites/{id}"), CONFIG)
            .await;
    }
    let failed = Condition::new(
        "Scheduled",
        false,
        "SchedulerFailed",
        "the cluster refused",
        Generation(1),
    );
    let bad = Key::from(SiteId::new("bad").expect("an id"));
    let reported = server.store.report(&bad, vec![failed]).await;
    reported.expect("reported");
    let failing = server.get("/api/v1/sites?state=failing");
    let failing = answer(failing, StatusCode::OK).await;
    let items = failing["items"].as_array().expect("items");
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["siteId"], "bad");
    let deleting = server.get("/api/v1/sites?state=deleting");
    let deleting = answer(deleting, StatusCode::OK).await;
    assert_eq!(deleting["items"], serde_json::json!([]));
    let lines = server.get("/api/v1/sites?state=failing");
    let lines = sent(
        lines.header("accept", "application/x-ndjson"),
        StatusCode::OK,
    );
    let lines = lines.await.text().await.expect("lines");
    assert_eq!(lines.lines().count(), 1, "{lines}");
    for state in ["waiting", "red"] {
        let refused = server.get(&format!("/api/v1/sites?state={state}"));
        let problem = answer(refused, StatusCode::BAD_REQUEST).await;
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains("failing, deleting"), "{detail}");
    }
    let list = page(&server, "/sites?q=--state%20failing").await;
    assert!(list.contains("row-bad") && !list.contains("row-good"));
}

#[tokio::test]
async fn a_list_by_time_begins_with_the_last_change() {
    let (server, failing) = filled(5).await;
    let latest = page(&server, "/deployments?sort=updated").await;
    let first = latest.find("<tr id=\"row-").expect("a row");
    let first = &latest[first + 12..first + 18];
    assert!(failing.contains(&first), "{first}");
    assert!(latest.contains("aria-sort=\"descending\""));
    assert!(latest.contains("Others changed earlier"), "there are more");
    // Few are sorted exactly.
    let few = page(&server, "/deployments?sort=updated&q=--state%20failing").await;
    assert!(failing.iter().all(|id| few.contains(&format!("row-{id}"))));
    assert!(!few.contains("Others changed earlier"));
    sent(
        server.get("/deployments?sort=colour"),
        StatusCode::BAD_REQUEST,
    )
    .await;
}

#[tokio::test]
async fn waiting_work_is_retried_at_once() {
    let server = TestServer::start().await;
    server.register("/api/v1/templates/one", CONFIG).await;
    let id = server.create("template=one").await;
    let path = format!("/api/v1/deployments/{id}/retry");
    fail(&server, &[&id]).await;
    let claim = ClaimRequest::new(Stage::Prepare, "preparer");
    assert!(server.store.claim(&claim).await.expect("claims").is_empty());
    let shown = page(&server, &format!("/deployments/{id}")).await;
    assert!(shown.contains("next try in 59 min"), "{shown}");
    assert!(shown.contains("<button>Retry now</button>"), "{shown}");
    let retried = answer(server.post(&path), StatusCode::OK).await;
    assert_eq!(retried["count"], 1);
    assert_eq!(server.store.claim(&claim).await.expect("claims").len(), 1);
    // A worker has it: nothing waits.
    let retried = answer(server.post(&path), StatusCode::OK).await;
    assert_eq!(retried["count"], 0);
    let pressed = server.post(&format!("/deployments/{id}/retry"));
    let pressed = sent(pressed, StatusCode::SEE_OTHER).await;
    let to = pressed.headers()["location"]
        .to_str()
        .expect("text")
        .to_owned();
    assert_eq!(to, format!("/deployments/{id}?retried=0"));
    assert!(page(&server, &to).await.contains("Nothing waits"));
    answer(
        server.post("/api/v1/sites/none/retry"),
        StatusCode::NOT_FOUND,
    )
    .await;
}
