//! Packages by path and URL, from the command line to the store.

use crate::harness::{Server, Service, TIME, tko};
use rustix::process::Signal;
use std::fs;
use tokio::net::TcpListener;

fn resource(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

#[tokio::test]
async fn a_package_is_registered_from_a_folder() {
    let server = Server::data().await;
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("2.yml"), resource("two")).expect("a file");
    fs::write(folder.path().join("1.yaml"), resource("one")).expect("a file");
    let register = server.tko("template register it --url");
    register.arg(folder.path()).good().await;
    let got = server.tko("template get it -o json").good().await.json();
    let resources = got.as_array().expect("a list");
    let names = resources.iter().map(|r| &r["metadata"]["name"]);
    let names: Vec<_> = names.collect();
    assert_eq!(names, ["one", "two"]);

    let empty = folder.path().join("empty");
    fs::create_dir(&empty).expect("a folder");
    let register = server.tko("template register it --url").arg(&empty);
    let error = register.bad(2).await;
    let path = empty.to_str().expect("UTF-8");
    assert!(error.contains(path) && error.contains(".yaml"), "{error}");
}

#[tokio::test]
async fn a_source_that_does_not_exist_is_named() {
    for url in [
        "/nowhere/at.yaml",
        "file:///nowhere",
        "git:/nowhere",
        "tar:/nowhere.tar",
    ] {
        let error = tko("validate").arg(url).bad(2).await;
        assert!(error.contains("/nowhere"), "{error}");
    }
    let error = tko("validate").arg("").bad(2).await;
    assert!(error.contains("expected a path or a URL"), "{error}");
}

#[tokio::test]
async fn a_signal_ends_git_and_removes_its_clone() {
    // SIGHUP is left out: under `nohup` it is ignored.
    for (signal, code) in [(Signal::INT, 130), (Signal::QUIT, 131)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let folder = tempfile::tempdir().expect("a folder");
        let count = || fs::read_dir(folder.path()).expect("a folder").count();
        let command = tko("validate")
            .env("TMPDIR", folder.path().to_str().expect("UTF-8"))
            .arg(format!("git:http://{address}/r"));
        let mut service = Service::spawn(command, "validate");
        // The server does not answer, so git waits.
        let accepted = tokio::time::timeout(TIME, listener.accept()).await;
        let (_socket, _) = accepted.expect("git connects").expect("a connection");
        assert_eq!(count(), 1, "the clone");
        service.signal(signal);
        assert_eq!(service.ended().await.code(), Some(code));
        assert_eq!(count(), 0, "the clone was removed");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unavailable() {
    // Port 9 is reserved for a service that nobody runs.
    let url = "http://127.0.0.1:9/p.yaml";
    let error = tko("validate").arg(url).bad(5).await;
    assert!(error.contains(url), "{error}");
}

#[tokio::test]
async fn a_failed_download_is_not_blamed_on_the_data_service() {
    let server = Server::data().await;
    let url = "http://127.0.0.1:9/p.yaml";
    for command in [
        "template register it",
        "site register it",
        "deployment create",
    ] {
        let error = server.tko(command).arg("--url").arg(url).bad(5).await;
        assert!(
            error.contains(url) && !error.contains("data service"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_token_needs_its_host() {
    let validate = tko("validate http://127.0.0.1:9/a.yaml").env("TKO_SOURCE_TOKEN", "t0ken");
    let error = validate.bad(2).await;
    assert!(error.contains("TKO_SOURCE_HOST"), "{error}");
    assert!(!error.contains("t0ken"), "{error}");
}
