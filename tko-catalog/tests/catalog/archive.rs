//! Catalogs in archives on web servers.

use crate::server::{Answer, TestServer};
use crate::support::{Fixture, assert_synced, condition, config};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tko_catalog::CatalogSettings;
use tko_source::SourceLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const ID: &str = "catalog|core";

/// A tar archive of files, and of links to a file of the machine.
fn archive(files: &[(&str, &str)], links: &[&str]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        let added = archive.append_data(&mut header, name, text.as_bytes());
        added.expect("a file");
    }
    for name in links {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Symlink);
        let added = archive.append_link(&mut header, name, "/etc/passwd");
        added.expect("a link");
    }
    archive.into_inner().expect("an archive")
}

/// A server of an archive, and the archive, which a test can replace.
fn serve(archive: Vec<u8>) -> (TestServer, Arc<Mutex<Vec<u8>>>) {
    let content = Arc::new(Mutex::new(archive));
    let served = content.clone();
    let server = TestServer::start(move |_, _| {
        let content = served.lock().expect("the content").clone();
        Answer::status(200).body(content)
    });
    (server, content)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_in_an_archive_does_not_stop_other_packages() {
    let package = config("a", "1");
    let file = |name: &'static str| (name, &*package);
    let both = [file("p/v1/a.yaml"), file("q/v1/a.yaml")];
    let (server, content) = serve(archive(&both, &[]));
    let fixture = Fixture::with(CatalogSettings::default());
    let url = server.url("/packages.tar");
    let properties = [("url", &*url), ("prune", "true")];
    assert_synced(&fixture.add(ID, "http", &properties).await);
    assert_eq!(fixture.templates().await, ["p:v1", "q:v1"]);
    let others = [file("q/v1/a.yaml"), file("r/v1/a.yaml")];
    *content.lock().expect("the content") = archive(&others, &["p/v1/a.yaml"]);
    let entity = fixture.sync(ID).await;
    let synced = condition(&entity, "Synced");
    assert_eq!(synced.status, Some(true), "{}", synced.message);
    let message = &condition(&entity, "Complete").message;
    let problem = "1 problem; p/v1: p/v1/a.yaml is a link";
    assert!(message.starts_with(problem), "{message}");
    // The template of the package with the link is neither gone nor removed.
    assert_eq!(fixture.templates().await, ["p:v1", "q:v1", "r:v1"]);
    let kept = fixture.template("p:v1").await.expect("it stays");
    assert!(!kept.entity.given.contains_key("Catalog.gone"));
    // The same if the archive has nothing else.
    *content.lock().expect("the content") = archive(&[], &["p/v1/a.yaml"]);
    let entity = fixture.sync(ID).await;
    let message = &condition(&entity, "Complete").message;
    assert!(
        message.contains(problem.trim_start_matches("1 problem; ")),
        "{message}"
    );
    let kept = fixture.template("p:v1").await.expect("it stays");
    assert!(!kept.entity.given.contains_key("Catalog.gone"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_etag_the_revision_is_the_beginning_of_the_digest() {
    let files = |value: &str| archive(&[("upf/v1/a.yaml", &config("a", value))], &[]);
    let (server, content) = serve(files("1"));
    let fixture = Fixture::with(CatalogSettings::default());
    let url = server.url("/packages.tar");
    assert_synced(&fixture.add(ID, "http", &[("url", &url)]).await);
    let upf = fixture.template("upf:v1").await.expect("a template");
    let digest = upf.entity.given.get("Catalog.digest").expect("a digest");
    let revision = upf.entity.given.get("Catalog.revision");
    assert_eq!(revision, Some(&digest[..12]));
    fixture.sync_unchanged(ID).await;
    *content.lock().expect("the content") = files("2");
    let entity = fixture.sync(ID).await;
    let message = &condition(&entity, "Complete").message;
    let at = format!("(at {})", &digest[..12]);
    assert!(message.contains(&at), "{at} in {message}");
}

/// A server that answers with a byte, again and again, for the life of the test.
async fn dripping_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a client");
        let mut request = vec![0; 4096];
        let read = socket.read(&mut request).await;
        assert!(read.expect("a request") > 0);
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
        let mut sent = socket.write_all(head.as_bytes()).await;
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while sent.is_ok() {
            ticks.tick().await;
            sent = socket.write_all(b"#").await;
        }
    });
    format!("http://{address}/drip.yaml")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_sends_a_little_now_and_then_is_given_up() {
    let limits = SourceLimits::default().with_stall_timeout(Duration::from_secs(1));
    let settings = CatalogSettings::default()
        .with_source(limits)
        .with_timeout(Duration::from_mins(1));
    let fixture = Fixture::with(settings);
    let url = dripping_server().await;
    let entity = fixture.add(ID, "http", &[("url", &url)]).await;
    let message = &condition(&entity, "Synced").message;
    assert!(message.contains("/drip.yaml"), "{message}");
}
