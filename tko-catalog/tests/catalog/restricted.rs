//! Controllers with restricted plugins: the hosts that they reach, and the secrets that they send.

use crate::server::{Answer, TestServer};
use crate::support::{Fixture, condition};
use std::fs;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tko_catalog::CatalogSettings;
use tko_source::SecretFolder;

/// Entries that send a token, and their executors.
const ENTRIES: [(&str, &str); 5] = [
    ("catalog|git", "git"),
    ("catalog|http", "http"),
    ("catalog|oci", "oci"),
    ("inventory|netbox", "netbox"),
    ("inventory|kubernetes", "kubernetes"),
];

/// A server that has nothing.
fn empty_server() -> TestServer {
    TestServer::start(|_, _| Answer::status(404))
}

/// The URL of a source on a server.
fn source_url(executor: &str, host: &str) -> String {
    if executor == "oci" {
        format!("oci://{host}/nf/upf")
    } else {
        format!("http://{host}/a.zip")
    }
}

/// The same server by another name.
fn as_localhost(server: &TestServer) -> String {
    server.host().replace("127.0.0.1", "localhost")
}

/// A folder with the secret `token` and the list of its hosts.
fn secrets(hosts: Option<&str>) -> (TempDir, SecretFolder) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("token"), "s3cret\n").expect("a file");
    if let Some(hosts) = hosts {
        fs::write(folder.path().join("token.hosts"), hosts).expect("a file");
    }
    let secrets = SecretFolder::new(folder.path());
    (folder, secrets)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_not_sent_to_a_host_that_is_not_in_its_list() {
    let server = empty_server();
    for (hosts, is_local, part) in [
        (None, false, "token.hosts"),
        (Some("git.example.com\n"), false, "is not for the host"),
        // A list applies without restrictions, too.
        (Some("git.example.com\n"), true, "is not for the host"),
    ] {
        let (_folder, secrets) = secrets(hosts);
        let settings = CatalogSettings::default().with_secrets(secrets);
        let fixture = Fixture::with(settings.with_local(is_local));
        for (id, executor) in ENTRIES {
            let url = source_url(executor, &server.host());
            let properties = [("url", &*url), ("token", "secret:token")];
            let entity = fixture.add(id, executor, &properties).await;
            let synced = condition(&entity, "Synced");
            assert_eq!(synced.status, Some(false), "{id}");
            assert!(synced.message.contains(part), "{id}: {}", synced.message);
        }
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_restrictions_a_secret_needs_no_list() {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let seen = sent.clone();
    let server = TestServer::start(move |request, _| {
        let header = request.header("authorization").map(str::to_owned);
        seen.lock().expect("not poisoned").extend(header);
        Answer::status(404)
    });
    let (_folder, secrets) = secrets(None);
    let settings = CatalogSettings::default().with_secrets(secrets);
    let fixture = Fixture::with(settings.with_local(true));
    let url = source_url("http", &server.host());
    let properties = [("url", &*url), ("token", "secret:token")];
    fixture.add("catalog|http", "http", &properties).await;
    let sent = sent.lock().expect("not poisoned");
    assert_eq!(sent.first().map(String::as_str), Some("Bearer s3cret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sync_reads_the_secret_and_its_list_again() {
    for (id, executor) in ENTRIES {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let seen = sent.clone();
        let server = TestServer::start(move |request, _| {
            let Some(header) = request.header("authorization") else {
                return Answer::status(401).header("www-authenticate", "Basic realm=\"test\"");
            };
            seen.lock().expect("not poisoned").push(header.to_owned());
            Answer::status(404)
        });
        let taken = || -> Vec<String> { std::mem::take(&mut *sent.lock().expect("not poisoned")) };
        let (folder, secrets) = secrets(Some("127.0.0.1\n"));
        let fixture = Fixture::with(CatalogSettings::default().with_secrets(secrets));
        let url = source_url(executor, &server.host());
        let properties = [("url", &*url), ("token", "secret:token")];
        fixture.add(id, executor, &properties).await;
        let old = taken();
        assert!(!old.is_empty(), "{id}");
        // A retry may have begun before the change, so the second sync counts.
        fs::write(folder.path().join("token"), "another\n").expect("a file");
        fixture.sync(id).await;
        taken();
        fixture.sync(id).await;
        let new = taken();
        assert!(!new.is_empty(), "{id}");
        assert!(!new.iter().any(|header| old.contains(header)), "{id}");
        fs::write(folder.path().join("token.hosts"), "git.example.com\n").expect("a file");
        fixture.sync(id).await;
        taken();
        let entity = fixture.sync(id).await;
        let message = &condition(&entity, "Synced").message;
        assert!(message.contains("is not for the host"), "{id}: {message}");
        assert_eq!(taken(), Vec::<String>::new(), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_not_sent_to_a_server_of_tokens_that_is_not_in_its_list() {
    let tokens = empty_server();
    let realm = format!("Bearer realm=\"http://{}/token\"", as_localhost(&tokens));
    let registry =
        TestServer::start(move |_, _| Answer::status(401).header("www-authenticate", &realm));
    let (_folder, secrets) = secrets(Some("127.0.0.1\n"));
    let settings = CatalogSettings::default().with_secrets(secrets);
    let fixture = Fixture::with(settings.with_local(true));
    let url = source_url("oci", &registry.host());
    let properties = [("url", &*url), ("token", "secret:token")];
    let entity = fixture.add("catalog|oci", "oci", &properties).await;
    let message = &condition(&entity, "Synced").message;
    assert!(
        message.contains("not for the host \"localhost\""),
        "{message}"
    );
    assert!(registry.calls() > 0);
    assert_eq!(tokens.calls(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_a_private_address_is_not_reached() {
    let server = empty_server();
    let fixture = Fixture::with(CatalogSettings::default());
    for (id, executor) in ENTRIES {
        for host in [as_localhost(&server), "[::1]:9".to_owned()] {
            let url = source_url(executor, &host);
            let entity = fixture.add(id, executor, &[("url", &url)]).await;
            let message = &condition(&entity, "Synced").message;
            assert!(message.contains("private address"), "{url}: {message}");
        }
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_to_a_private_address_is_not_followed() {
    let internal = empty_server();
    for (id, executor) in ENTRIES {
        for host in [as_localhost(&internal), "127.0.0.2:9".to_owned()] {
            let target = format!("http://{host}/internal");
            let server =
                TestServer::start(move |_, _| Answer::status(302).header("location", &target));
            let fixture = Fixture::with(CatalogSettings::default());
            let url = source_url(executor, &server.host());
            let entity = fixture.add(id, executor, &[("url", &url)]).await;
            let synced = condition(&entity, "Synced");
            assert_eq!(synced.status, Some(false), "{id}");
            let parts = ["private address", "is redirected"];
            let is_named = parts.iter().any(|part| synced.message.contains(part));
            assert!(is_named, "{id}: {}", synced.message);
            assert!(server.calls() > 0, "{id}");
        }
    }
    assert_eq!(internal.calls(), 0);
}
