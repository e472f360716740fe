//! What an edit changes, for the person who approves it.

use crate::harness::{TestServer, answer, sent};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tko_core::{
    ClaimRequest, DataApi, DeploymentId, Key, Outcome, ScheduleStep, Stage, Want, WorkerApi,
};

/// A package that only a person approves.
const PACKAGE: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data: {a: b}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {password: hush}
---
apiVersion: deployment.nephio.org/v1alpha1
kind: Deployment
metadata:
  name: deployment
  annotations: {nephio.org/approve: Manual}
";

/// A server, and a prepared deployment for the site `lab`.
async fn created() -> (TestServer, String) {
    let server = TestServer::start().await;
    server.register("/api/v1/sites/lab", "").await;
    let post = server
        .post("/api/v1/deployments?site=lab&prepared=true")
        .header("content-type", "application/yaml");
    let created = answer(post.body(PACKAGE), StatusCode::CREATED).await;
    let id = created["deploymentId"].as_str().expect("an id").to_owned();
    (server, id)
}

/// Approves a deployment and reports that its site runs it.
async fn approve_and_place(server: &TestServer, id: &str) {
    let approve = server.post(&format!("/api/v1/deployments/{id}/approve"));
    answer(approve, StatusCode::NO_CONTENT).await;
    let id = DeploymentId::new(id).expect("an id");
    let record = server.store.get(&Key::from(&id), Want::ROW).await;
    let generation = record.expect("it exists").entity.generation;
    let request = ClaimRequest::new(Stage::Schedule, "test");
    let claims = server.store.claim(&request).await.expect("claimed");
    let claim = claims.first().expect("the site is due");
    let step = ScheduleStep::new()
        .placed(id, generation)
        .settle(Outcome::Done);
    let placed = server.store.commit_placed(&claim.token, step).await;
    placed.expect("the lease is live");
}

/// Edits the package as text.
async fn edit(server: &TestServer, id: &str, edit: impl FnOnce(&str) -> String) {
    let path = format!("/api/v1/deployments/{id}/package");
    let package = sent(server.get(&path), StatusCode::OK).await;
    let package = package.text().await.expect("a package");
    let put = server
        .put(&path)
        .header("content-type", "application/yaml")
        .header("if-match", "*");
    answer(put.body(edit(&package)), StatusCode::OK).await;
}

fn edited(package: &str) -> String {
    let more = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: more\n";
    let package = package
        .replace("a: b", "a: <script>")
        .replace("hush", "hush hush");
    format!("{package}---\n{more}")
}

async fn difference(server: &TestServer, id: &str, query: &str) -> Value {
    let path = format!("/api/v1/deployments/{id}/difference{query}");
    answer(server.get(&path), StatusCode::OK).await
}

fn changes(difference: &Value) -> Vec<String> {
    let items = difference["items"].as_array().expect("items").iter();
    let shown = items.map(|item| {
        let name = item["resource"]["name"].as_str().expect("a name");
        format!("{} {name}", item["change"].as_str().expect("a change"))
    });
    shown.collect()
}

async fn page(server: &TestServer, id: &str) -> String {
    let get = server.get(&format!("/deployments/{id}"));
    let page = sent(get.header("accept", "text/html"), StatusCode::OK).await;
    page.text().await.expect("a page")
}

#[tokio::test]
async fn an_unapproved_edit_is_compared_with_what_the_site_keeps() {
    let (server, id) = created().await;
    let never = difference(&server, &id, "").await;
    assert_eq!(
        never["before"],
        json!({"state": "neverChanged", "generation": null, "revision": null})
    );
    assert_eq!(never["items"], json!([]));
    approve_and_place(&server, &id).await;
    let placed = server.get(&format!("/api/v1/deployments/{id}"));
    let revision = answer(placed, StatusCode::OK).await["revision"].clone();
    edit(&server, &id, edited).await;

    let shown = difference(&server, &id, "").await;
    assert_eq!(shown["deploymentId"], json!(id));
    assert_eq!(shown["siteId"], "lab");
    assert_eq!(
        shown["before"],
        json!({"state": "kept", "generation": 2, "revision": null})
    );
    assert_eq!(shown["after"]["generation"], 3);
    assert_eq!(shown["after"]["approved"], false);
    assert_eq!(shown["reordered"], false);
    let mut found = changes(&shown);
    found.sort_unstable();
    assert_eq!(found, ["added more", "changed config", "changed login"]);
    let text = shown.to_string();
    assert!(!text.contains("hush"), "{text}");
    let items = shown["items"].as_array().expect("items");
    let secret = items
        .iter()
        .find(|item| item["resource"]["kind"] == "Secret")
        .expect("the Secret");
    assert_eq!(
        secret["resource"],
        json!({"apiVersion": "v1", "kind": "Secret", "name": "login"})
    );
    let diff = secret["diff"].as_str().expect("a text");
    assert!(
        diff.starts_with("--- v1 Secret login\n+++ v1 Secret login\n@@ "),
        "{diff}"
    );
    assert!(
        diff.ends_with("-  password: (hidden)\n+  password: (changed)\n"),
        "{diff}"
    );

    let since = difference(&server, &id, &format!("?revision={revision}")).await;
    assert_eq!(since["before"]["state"], "atRevision");
    assert_eq!(since["items"], shown["items"]);
    for query in ["?revision=0", "?revision=x", "?colour=red"] {
        let path = format!("/api/v1/deployments/{id}/difference{query}");
        answer(server.get(&path), StatusCode::BAD_REQUEST).await;
    }
    for path in [
        "/api/v1/deployments/none/difference",
        "/api/v1/sites/lab/difference",
    ] {
        sent(server.get(path), StatusCode::NOT_FOUND).await;
    }
}

#[tokio::test]
async fn the_page_shows_the_change_that_waits_for_approval() {
    let (server, id) = created().await;
    let heading = "Change that waits for approval";
    let first = page(&server, &id).await;
    assert!(!first.contains(heading), "nothing was placed: {first}");
    approve_and_place(&server, &id).await;
    edit(&server, &id, edited).await;
    let shown = page(&server, &id).await;
    for part in [
        heading,
        "From generation 2, which site lab keeps, to generation 3. \
         Resources: 1 added, 0 removed, 2 changed.",
        "added <span class=\"mono\">v1 ConfigMap more</span>",
        "changed <span class=\"mono\">v1 Secret login</span>",
        "<span class=\"del\">-  a: b\n</span>",
        "&lt;script&gt;",
        "<span class=\"del\">-  password: (hidden)\n</span>",
        "<span class=\"add\">+  password: (changed)\n</span>",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("<script>"), "{shown}");
    assert!(!shown.contains("does not show the whole change"), "{shown}");
    // One button, next to the change.
    let action = format!("action=\"/deployments/{id}/approve?generation=3\"");
    assert_eq!(shown.matches(&action).count(), 1, "{shown}");
    let section = shown.find(heading).expect("the section");
    assert!(shown.find(&action) > Some(section), "{shown}");
    // What nobody has seen is not approved.
    edit(&server, &id, |package| {
        package.replace("<script>", "<style>")
    })
    .await;
    let pressed = server.post(&format!("/deployments/{id}/approve?generation=3"));
    let refused = sent(pressed, StatusCode::CONFLICT).await;
    let refused = refused.text().await.expect("a page");
    assert!(refused.contains("look at the change again"), "{refused}");
    let pressed = server.post(&format!("/deployments/{id}/approve?generation=4"));
    sent(pressed, StatusCode::SEE_OTHER).await;

    edit(&server, &id, |package| package.replace("<style>", "<b>")).await;
    approve_and_place(&server, &id).await;
    let approved = page(&server, &id).await;
    assert!(!approved.contains(heading), "{approved}");
}

#[tokio::test]
async fn a_long_change_is_cut_on_the_page() {
    let (server, id) = created().await;
    approve_and_place(&server, &id).await;
    edit(&server, &id, |package| {
        package.replace("a: b", &format!("a: {}", "long ".repeat(40_000)))
    })
    .await;
    let shown = page(&server, &id).await;
    let sentence = format!(
        "The page does not show the whole change. To see it, run \
         <code>tko deployment diff {id}</code>."
    );
    assert!(shown.contains(&sentence), "{shown}");
    let whole = difference(&server, &id, "").await;
    assert!(whole.to_string().len() > 200_000);
}
