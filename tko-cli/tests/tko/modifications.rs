//! `tko deployment mod`: a package is claimed, changed and committed with a token.

use crate::harness::Server;
use std::fs;

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config\ndata:\n  a: b\n";

async fn deployment(server: &Server) -> String {
    let create = server.tko("deployment create --stdin").stdin(CONFIG);
    create.good().await.line().to_owned()
}

/// Runs `mod start`; returns the token and the package that it prints.
async fn started(server: &Server, id: &str, flags: &str) -> (String, String) {
    let start = format!("deployment mod start {id} {flags}");
    let started = server.tko(&start).good().await;
    let (token, package) = started.text().split_once('\n').expect("a token first");
    (token.to_owned(), package.to_owned())
}

async fn package(server: &Server, id: &str) -> String {
    let got = server.tko(&format!("deployment get {id}")).good().await;
    got.text().to_owned()
}

#[tokio::test]
async fn a_package_is_changed_between_start_and_end() {
    let server = Server::data().await;
    let id = deployment(&server).await;
    let (token, text) = started(&server, &id, "").await;
    assert_eq!(text, package(&server, &id).await);
    let end = server.tko("deployment mod end --stdin").arg(&token);
    let ended = end.stdin(text.replace("a: b", "a: c")).good().await;
    assert!(ended.stdout.is_empty());
    assert!(ended.stderr.contains(&id), "{ended}");
    assert!(package(&server, &id).await.contains("  a: c\n"));
}

#[tokio::test]
async fn a_package_is_changed_in_a_folder() {
    let server = Server::data().await;
    let id = deployment(&server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("made");
    let start = server.tko(&format!("deployment mod start {id} -u"));
    let started = start.arg(&dir).good().await;
    let token = started.line();
    let file = dir.join("deployment.yaml");
    let text = fs::read_to_string(&file).expect("the file exists");
    fs::write(&file, text.replace("a: b", "a: d")).expect("a file");
    let end = server.tko("deployment mod end").arg(token).arg("-u");
    end.arg(&dir).good().await;
    assert!(package(&server, &id).await.contains("  a: d\n"));
}

#[tokio::test]
async fn a_modification_is_exclusive_until_cancelled() {
    let server = Server::data().await;
    let id = deployment(&server).await;
    let (token, _) = started(&server, &id, "").await;
    let start = format!("deployment mod start {id}");
    let busy = server.tko(&start).bad(4).await;
    assert!(busy.contains(&id), "{busy}");
    let cancel = || server.tko("deployment mod cancel").arg(&token);
    cancel().good().await;
    let twice = cancel().bad(3).await;
    assert!(twice.contains(&id), "{twice}");
    started(&server, &id, "").await;
}

#[tokio::test]
async fn a_late_or_repeated_end_changes_nothing() {
    let server = Server::data().await;
    let id = deployment(&server).await;
    let before = package(&server, &id).await;
    let changed = before.replace("a: b", "a: late");
    let (token, _) = started(&server, &id, "--time 1ms").await;
    let end = |token: &str| server.tko("deployment mod end --stdin").arg(token);
    let late = end(&token).stdin(&*changed).bad(4).await;
    let says =
        format!("modification of deployment {id} has expired and nothing was written; start");
    assert!(late.contains(&says), "{late}");
    assert_eq!(package(&server, &id).await, before);

    let (token, _) = started(&server, &id, "").await;
    let first = before.replace("a: b", "a: first");
    end(&token).stdin(&*first).good().await;
    let twice = end(&token).stdin(&*changed).bad(3).await;
    let says = format!("no such lease or modification of deployment {id}: it was used");
    assert!(twice.contains(&says), "{twice}");
    assert_eq!(package(&server, &id).await, first);

    let start = server.tko(&format!("deployment mod start {id} --time 2h"));
    let long = start.bad(2).await;
    assert!(long.contains("--time") && !long.contains("ttl"), "{long}");

    let none = end("nonsense").stdin(&*changed).bad(2).await;
    assert!(none.contains("token"), "{none}");
    let forged = end(&format!("deployment|{id}|0"))
        .stdin(&*changed)
        .bad(3)
        .await;
    assert!(forged.contains(&id), "{forged}");
    assert_eq!(package(&server, &id).await, first);
}

#[tokio::test]
async fn a_refused_end_keeps_the_token_valid() {
    let server = Server::data().await;
    let id = deployment(&server).await;
    let (token, text) = started(&server, &id, "").await;
    let end = || server.tko("deployment mod end -s").arg(&token);
    let wrong = text.replace("\ndata:", "\ndate:");
    let refused = end().stdin(wrong).bad(2).await;
    assert!(
        refused.contains("ConfigMap config") && refused.contains("date"),
        "{refused}"
    );
    assert_eq!(package(&server, &id).await, text);
    end().stdin(text.replace("a: b", "a: e")).good().await;
    let unknown = server.tko("deployment mod start 0123").bad(3).await;
    assert!(unknown.contains("0123"), "{unknown}");
}
