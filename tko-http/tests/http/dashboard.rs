//! The pages of the dashboard, without a browser: every page is there, and hostile text is escaped.

use crate::harness::{CONFIG, MemoryStore, TestServer, now_ms, sent, store};
use reqwest::StatusCode;
use std::sync::Arc;
use tko_core::api::MAX_SKIPPED;
use tko_core::{
    ApiCall, Caller, DataApi, DeploymentId, Guard, Guarded, Kind, List, NewDeployment, Select,
};
use tko_http::HttpServerSettings;
use tko_serve::Access;
use tokio::runtime::Handle;

async fn page(server: &TestServer, path: &str) -> String {
    let request = server.get(path).header("accept", "text/html");
    sent(request, StatusCode::OK)
        .await
        .text()
        .await
        .expect("a page")
}

/// A percent-encoded `KEY=VALUE` that is markup.
const HOSTILE: &str = "%3Cscript%3Ealert(1)%3C%2Fscript%3E%3D%22%3E%3Cimg%20src%3Dx%3E%E2%80%AE";

#[tokio::test]
async fn every_page_is_served_and_hostile_metadata_is_escaped() {
    let server = TestServer::start().await;
    let metadata = format!("metadata={HOSTILE}");
    server
        .register(&format!("/api/v1/templates/nf%2Fupf?{metadata}"), CONFIG)
        .await;
    server
        .register(
            &format!("/api/v1/sites/lab%2F1?template=nf%2Fupf&{metadata}"),
            CONFIG,
        )
        .await;
    let id = server
        .create(&format!("template=nf/upf&site=lab/1&{metadata}"))
        .await;
    let child = server
        .create(&format!("template=nf/upf&parent={id}&prepared=true"))
        .await;
    for path in [
        "/".to_owned(),
        "/deployments".to_owned(),
        "/deployments?q=--state%20waiting%20--reason%20%3Cb%3E".to_owned(),
        "/sites".to_owned(),
        "/templates?q=%22%3E%3Cscript%3E".to_owned(),
        "/plugins".to_owned(),
        "/activity".to_owned(),
        "/about".to_owned(),
        "/sites/lab%2F1".to_owned(),
        "/sites/lab%2F1?view=merge&find=%3Cscript%3E".to_owned(),
        "/templates/nf%2Fupf".to_owned(),
        format!("/deployments/{id}"),
        format!("/deployments/{id}?view=merge"),
        format!("/deployments/{id}/topology"),
        format!("/deployments/{child}/compare"),
        format!("/rows/deployments?q=&key={id}&key={child}"),
        "/confirm/sites?action=delete&q=lab/*".to_owned(),
    ] {
        let text = page(&server, &path).await;
        assert!(!text.contains("<script>"), "{path}");
        assert!(!text.contains("<img"), "{path}");
        assert!(!text.contains('\u{202e}'), "{path}");
        assert!(
            !text.contains("style="),
            "{path}: inline styles are against the policy"
        );
    }
    let site = page(&server, "/sites/lab%2F1").await;
    assert!(site.contains("&#60;script&#62;"), "{site}");
}

#[tokio::test]
async fn actions_ask_first_and_count_again() {
    let server = TestServer::start().await;
    server.register("/api/v1/templates/t", CONFIG).await;
    let first = server.create("template=t&prepared=true").await;
    server.create("template=t&prepared=true").await;
    let question = page(
        &server,
        "/confirm/deployments?action=approve&q=--state%20waiting",
    )
    .await;
    assert!(question.contains("Approve 2 deployments"), "{question}");
    // Nothing selected and no filter is not everything.
    for action in ["approve", "delete"] {
        let path = format!("/confirm/deployments?action={action}&q=");
        let refused = sent(server.get(&path), StatusCode::BAD_REQUEST).await;
        let refused = refused.text().await.expect("a page");
        assert!(refused.contains("nothing is selected"), "{refused}");
        let form = format!("action={action}&q=&count=100");
        let form_type = "application/x-www-form-urlencoded";
        let all = server
            .post("/apply/deployments")
            .header("content-type", form_type);
        sent(all.body(form), StatusCode::BAD_REQUEST).await;
    }
    let apply = |count: u32| {
        let asked = now_ms();
        let form = format!("action=approve&q=--state+waiting&count={count}&asked={asked}");
        let form_type = "application/x-www-form-urlencoded";
        server
            .post("/apply/deployments")
            .header("content-type", form_type)
            .body(form)
    };
    // There are more than were confirmed: it asks again.
    let again = sent(apply(1), StatusCode::OK)
        .await
        .text()
        .await
        .expect("a page");
    assert!(again.contains("Meanwhile there are 2"), "{again}");
    let done = sent(apply(2), StatusCode::SEE_OTHER).await;
    let to = done.headers()["location"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(to.ends_with("&done=approve&count=2"), "{to}");
    assert!(page(&server, &to).await.contains("2 approved"));
    let approved = server.get(&format!("/api/v1/deployments/{first}"));
    let approved: serde_json::Value = sent(approved, StatusCode::OK)
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(approved["approved"], true);
    let cross = apply(0).header("sec-fetch-site", "cross-site");
    sent(cross, StatusCode::FORBIDDEN).await;
}

/// Posts a form, percent-encoded, as a browser does.
fn post(server: &TestServer, path: &str, form: String) -> reqwest::RequestBuilder {
    server
        .post(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "text/html")
        .body(form)
}

/// Creates deployments that wait for approval: `d00000`, `d00001` and so on.
async fn create_waiting(server: &TestServer, count: usize) {
    let new = |number: usize| {
        let id = DeploymentId::new(&format!("d{number:05}")).expect("an id");
        NewDeployment::new().id(id).prepared(true)
    };
    for first in (0..count).step_by(1_000) {
        let numbers = first..count.min(first + 1_000);
        let created = server.store.create_deployments(numbers.map(new).collect());
        assert!(created.await.iter().all(Result::is_ok));
    }
}

/// Posts a form and returns the page.
async fn posted(server: &TestServer, path: &str, form: String) -> String {
    let response = sent(post(server, path, form), StatusCode::OK).await;
    response.text().await.expect("a page")
}

#[tokio::test]
async fn many_picked_rows_are_confirmed_and_approved() {
    let server = TestServer::start().await;
    create_waiting(&server, 300).await;
    let list = page(&server, "/deployments").await;
    let form = "<form method=\"post\" action=\"/confirm/deployments\"";
    assert!(list.contains(form), "{list}");
    // All that match, then those that are picked.
    let filter = "action=approve&q=--state+waiting".to_owned();
    let question = posted(&server, "/confirm/deployments", filter).await;
    assert!(question.contains("Approve 300 deployments"), "{question}");
    let ids: Vec<String> = (0..300).map(|id| format!("&id=d{id:05}")).collect();
    let picked = format!("action=approve&q={}", ids.concat());
    let question = posted(&server, "/confirm/deployments", picked.clone()).await;
    assert!(question.contains("Approve 300 deployments"), "{question}");
    assert!(question.contains("value=\"d00299\""), "{question}");
    let confirmed = format!("{picked}&count=300&asked={}", now_ms());
    let apply = post(&server, "/apply/deployments", confirmed);
    let done = sent(apply, StatusCode::SEE_OTHER).await;
    assert_eq!(
        done.headers()["location"],
        "/deployments?q=&done=approve&count=300"
    );
    // The addresses of forms lead to the list.
    for path in ["/confirm/deployments", "/apply/deployments"] {
        let list = sent(server.get(path), StatusCode::SEE_OTHER).await;
        assert_eq!(list.headers()["location"], "/deployments", "{path}");
    }
    let cross = post(&server, "/confirm/deployments", picked);
    let cross = cross.header("sec-fetch-site", "cross-site");
    sent(cross, StatusCode::FORBIDDEN).await;
}

#[tokio::test]
async fn an_old_question_is_asked_again() {
    let server = TestServer::start().await;
    create_waiting(&server, 2).await;
    let form = "action=delete&q=--state+waiting&count=2";
    let mut question = String::new();
    for asked in [
        String::new(),
        "&asked=0".to_owned(),
        format!("&asked={}", now_ms() - 301_000),
    ] {
        question = posted(&server, "/apply/deployments", format!("{form}{asked}")).await;
        let is_asked = question.contains("more than 5 minutes old")
            && question.contains("Delete 2 deployments");
        assert!(is_asked, "{asked:?}: {question}");
    }
    let (_, asked) = question
        .split_once("name=\"asked\" value=\"")
        .expect("its time");
    let (asked, _) = asked.split_once('"').expect("its end");
    let confirmed = post(
        &server,
        "/apply/deployments",
        format!("{form}&asked={asked}"),
    );
    let done = sent(confirmed, StatusCode::SEE_OTHER).await;
    let to = done.headers()["location"].to_str().expect("text");
    assert!(to.ends_with("&done=delete&count=2"), "{to}");
}

#[tokio::test]
async fn what_an_action_leaves_unchanged_is_shown_with_the_reason() {
    let server = TestServer::start().await;
    server.register("/api/v1/templates/t", CONFIG).await;
    let waiting = server.create("template=t&prepared=true").await;
    let (one, other) = (
        server.create("template=t").await,
        server.create("template=t").await,
    );
    let form = format!("action=approve&q=&id={waiting}&id={one}&id={other}");
    let question = posted(&server, "/confirm/deployments", form.clone()).await;
    assert!(
        question.contains("except those that are not prepared"),
        "{question}"
    );
    let form = format!("{form}&count=3&asked={}", now_ms());
    let result = posted(&server, "/apply/deployments", form).await;
    assert!(
        result.contains("1 deployment approved, 2 unchanged"),
        "{result}"
    );
    for id in [&one, &other] {
        let reason = format!("deployment {id} is not prepared yet");
        assert!(result.contains(&reason), "{reason}: {result}");
    }
}

#[tokio::test]
async fn the_number_of_picked_rows_that_stay_unchanged_is_exact() {
    let server = TestServer::start().await;
    // As many as the API reports at most. These do not exist.
    let ids: Vec<String> = (0..MAX_SKIPPED).map(|id| format!("&id=d{id:05}")).collect();
    let form = format!(
        "action=approve&q={}&count={MAX_SKIPPED}&asked={}",
        ids.concat(),
        now_ms()
    );
    let result = posted(&server, "/apply/deployments", form).await;
    assert!(
        result.contains("0 deployments approved, 1,000 unchanged"),
        "{result}"
    );
}

/// Creates a deployment that waits for approval whenever a client reads the position of the feed. A
/// confirmed action does that after it has counted what its search found.
struct MeanwhileGuard(MemoryStore);

impl Guard for MeanwhileGuard {
    fn check(&self, caller: Option<&Caller>, call: ApiCall<'_>) -> tko_core::Result<()> {
        // The server reads the position in the background, too.
        let is_client = caller.is_some_and(|caller| *caller != Caller::process());
        if is_client && matches!(call, ApiCall::FeedPosition) {
            let new = NewDeployment::new().prepared(true);
            let created = self.0.create_deployment(new);
            tokio::task::block_in_place(|| Handle::current().block_on(created))?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_by_state_changes_only_what_was_counted() {
    let store = store();
    let guarded = Guarded::new(Arc::new(store.clone()), MeanwhileGuard(store.clone()));
    let settings = HttpServerSettings::default();
    let server = TestServer::serving(Arc::new(guarded), store, settings, Access::new(), 0).await;
    create_waiting(&server, 2).await;
    let form = "action=delete&q=--state+waiting&count=2";
    let form = format!("{form}&asked={}", now_ms());
    let confirmed = post(&server, "/apply/deployments", form);
    let done = sent(confirmed, StatusCode::SEE_OTHER).await;
    let to = done.headers()["location"].to_str().expect("text");
    assert!(to.ends_with("&done=delete&count=2"), "{to}");
    let all = List::new(Select::all(Kind::Deployment));
    let left = server.store.list(&all).await.expect("a page").items;
    assert_eq!(left.len(), 1, "it was created after the count");
}

#[tokio::test]
async fn an_action_on_very_many_says_that_there_may_be_more() {
    let server = TestServer::start().await;
    create_waiting(&server, 10_001).await;
    let more = "One action changes at most 10,000, so there may be more. \
                Repeat the action for the rest.";
    let question = "/confirm/deployments?action=delete&q=--state%20waiting";
    let question = page(&server, question).await;
    assert!(question.contains("Delete 10,000 deployments"), "{question}");
    assert!(question.contains(more), "{question}");
    // Where it leads after the deletion.
    let done = "/deployments?q=&done=delete&count=10000&more=true";
    let done = page(&server, done).await;
    assert!(done.contains(&format!("10,000 deleted. {more}")), "{done}");
}

#[tokio::test]
async fn the_text_of_an_edit_outlives_its_modification() {
    let server = TestServer::start().await;
    server.register("/api/v1/templates/t", CONFIG).await;
    let id = server.create("template=t").await;
    let started = post(&server, &format!("/deployments/{id}/edit"), String::new());
    let started = sent(started, StatusCode::OK).await;
    let started = started.text().await.expect("a page");
    let (_, token) = started
        .split_once("name=\"token\" value=\"")
        .expect("a token");
    let (token, _) = token.split_once('"').expect("its end");
    let token = token.replace('|', "%7C");
    let cancel = server.delete(&format!("/api/v1/modifications/{token}"));
    sent(cancel, StatusCode::NO_CONTENT).await;
    let text = CONFIG
        .replace("a: b", "a: long-work")
        .replace('\n', "%0A")
        .replace(' ', "+");
    let form = format!("do=save&token={token}&until=12%3A00+UTC&package={text}");
    let saved = post(&server, &format!("/deployments/{id}/save"), form);
    let shown = sent(saved, StatusCode::OK).await;
    let shown = shown.text().await.expect("a page");
    for part in ["a: long-work", "This edit has ended"] {
        assert!(shown.contains(part), "{part:?}: {shown}");
    }
}

#[tokio::test]
async fn the_address_of_the_editor_leads_to_the_deployment() {
    let server = TestServer::start().await;
    for action in ["edit", "save"] {
        let request = server.get(&format!("/deployments/d1/{action}"));
        let request = request.header("accept", "text/html");
        let redirect = sent(request, StatusCode::SEE_OTHER).await;
        assert_eq!(redirect.headers()["location"], "/deployments/d1");
    }
}

#[tokio::test]
async fn errors_are_pages_for_browsers() {
    let server = TestServer::start().await;
    for (path, status) in [
        ("/sites/none", StatusCode::NOT_FOUND),
        ("/things", StatusCode::NOT_FOUND),
        ("/a/b/c/d", StatusCode::NOT_FOUND),
        ("/deployments?colour=red", StatusCode::BAD_REQUEST),
        ("/deployments/a%2Fb", StatusCode::BAD_REQUEST),
    ] {
        let request = server.get(path).header("accept", "text/html");
        let text = sent(request, status).await.text().await.expect("a page");
        assert!(text.starts_with("<!doctype html>"), "{path}: {text}");
    }
}
