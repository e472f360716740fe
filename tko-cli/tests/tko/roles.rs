//! Callers, roles and the audit trail, from the command line.

use crate::harness::{Server, tko};
use std::fs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";

#[tokio::test]
async fn s10_s13_s18_tokens_have_roles_and_changes_say_who_made_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let callers = path("callers");
    let token = async |name: &str, role: &str| {
        let new = tko(&format!("token new {name} --role {role} --file {callers}"));
        let printed = new.good().await.line().to_owned();
        fs::write(path(name), printed).expect("a file");
    };
    token("alice", "author").await;
    token("bob", "viewer").await;
    let server = Server::start(&format!("data start --grpc-tokens {callers}")).await;
    let as_caller =
        |name: &str, command: &str| server.tko(&format!("{command} --grpc-token {}", path(name)));
    let register = "template register nf --stdin";
    as_caller("alice", register).stdin(CONFIG).good().await;
    let refused = as_caller("bob", register).stdin(CONFIG).bad(6).await;
    for part in ["bob via grpc", "may not register template nf", "author"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    server.tko("template list").bad(6).await;

    // A caller that is added while the server runs.
    token("carol", "operator").await;
    let mut tries = 0;
    let created = loop {
        let ran = as_caller("carol", "deployment create nf").run().await;
        if ran.code() == Some(0) {
            break ran.line().to_owned();
        }
        tries += 1;
        assert!(tries < 100, "the file of callers is not read again");
    };
    let audit = as_caller("bob", "audit --who carol").good().await;
    let line: serde_json::Value = serde_json::from_str(audit.line()).expect("a JSON line");
    assert_eq!(line["id"], created);
    assert_eq!(
        (&line["caller"], &line["interface"]),
        (&"carol".into(), &"grpc".into())
    );
    assert_eq!(
        (&line["verb"], &line["kind"]),
        (&"created".into(), &"deployment".into())
    );
    let history = as_caller("bob", "history template nf").good().await;
    assert!(
        history.line().contains("\"caller\":\"alice\""),
        "{}",
        history.line()
    );
    let unknown = as_caller("bob", "history template neverwas").bad(3).await;
    assert!(unknown.contains("neverwas"), "{unknown}");
    let none = as_caller("bob", "audit --who nobody").good().await;
    assert_eq!(none.text(), "");
    assert!(
        server.service.log().contains("refused credentials"),
        "refused credentials are not logged"
    );
    let about = as_caller("bob", "about -ojson").good().await.json();
    assert_eq!(about["open"], false);
    server.service.stop().await;
}

#[tokio::test]
async fn probes_need_no_credentials_and_have_their_own_port() {
    let server = Server::start("data start --probe-address 127.0.0.1:0").await;
    let serving = server.service.event("serving probes").await;
    let address = serving["address"].as_str().expect("a text").to_owned();
    for (path, status) in [("/livez", "200"), ("/readyz", "200"), ("/metrics", "404")] {
        let mut stream = tokio::net::TcpStream::connect(&address)
            .await
            .expect("open");
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("open");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{path}: {answer}"
        );
    }
    let about = server.tko("about -ojson").good().await.json();
    assert_eq!(about["open"], true);
    server.service.stop().await;
}
