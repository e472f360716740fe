use super::{ABSENT_TIME, UrlTemplate};
use crate::source::SchemaSource;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tko_core::{ErrorKind, Gvk};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers every request with `answer` and counts the requests. Ends with the runtime.
async fn serve(answer: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("has an address");
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (
        format!(
            "http://{address}/{{{{.Group}}}}/{{{{.ResourceKind}}}}_{{{{.ResourceAPIVersion}}}}.json"
        ),
        count,
    )
}

const SCHEMA: &str =
    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 17\r\n\r\n{\"type\":\"object\"}";
const ABSENT: &str = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const FAULT: &str = "HTTP/1.1 500 Oops\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const PAGE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\n<html>";

fn source(template: &str) -> UrlTemplate {
    UrlTemplate::new(template, "1.31".parse().expect("a version")).expect("a template")
}

fn issuer() -> Gvk {
    Gvk::of("cert-manager.io/v1", "Issuer")
}

#[tokio::test]
async fn a_schema_is_fetched_once_and_cached_for_others() {
    let (template, count) = serve(SCHEMA).await;
    let folder = tempfile::tempdir().expect("a folder");
    let first = source(&template).with_cache(folder.path().join("within"));
    let found = first
        .find(&issuer())
        .await
        .expect("fetched")
        .expect("found");
    assert!(
        found.origin().ends_with("/cert-manager.io/issuer_v1.json"),
        "{}",
        found.origin()
    );
    let again = first.find(&issuer()).await.expect("known").expect("found");
    assert_eq!(found.number(), again.number());
    let second = source(&template).with_cache(folder.path().join("within"));
    assert!(second.find(&issuer()).await.expect("cached").is_some());
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn concurrent_lookups_send_one_request() {
    let (template, count) = serve(SCHEMA).await;
    let source = source(&template);
    let gvk = issuer();
    let (a, b, c) = tokio::join!(source.find(&gvk), source.find(&gvk), source.find(&gvk));
    for found in [a, b, c] {
        assert!(found.expect("fetched").is_some());
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_damaged_cache_file_is_fetched_again() {
    let (template, count) = serve(SCHEMA).await;
    let folder = tempfile::tempdir().expect("a folder");
    let find = || async {
        let source = source(&template).with_cache(folder.path());
        source.find(&issuer()).await.expect("found").is_some()
    };
    assert!(find().await);
    let file = std::fs::read_dir(folder.path())
        .expect("a folder")
        .next()
        .expect("a file");
    std::fs::write(file.expect("a file").path(), "{").expect("written");
    assert!(find().await);
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_missing_schema_is_remembered_for_a_while() {
    let (template, count) = serve(ABSENT).await;
    let source = source(&template);
    for _ in 0..3 {
        assert!(source.find(&issuer()).await.expect("an answer").is_none());
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
    tokio::time::pause();
    tokio::time::advance(ABSENT_TIME).await;
    tokio::time::resume();
    assert!(source.find(&issuer()).await.expect("an answer").is_none());
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn failures_are_errors_and_are_not_cached() {
    for answer in [FAULT, PAGE, ""] {
        let (template, count) = serve(answer).await;
        let source = source(&template);
        for _ in 0..2 {
            let error = source.find(&issuer()).await.expect_err("down");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.chain().contains("issuer_v1.json"), "{error}");
        }
        assert!(count.load(Ordering::SeqCst) >= 2);
    }
}

#[tokio::test]
async fn a_refused_connection_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("has an address");
    drop(listener);
    let error = source(&format!("http://{address}/x")).find(&issuer()).await;
    assert_eq!(error.expect_err("down").kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_server_that_never_answers_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("has an address");
    let source = source(&format!("http://{address}/x")).with_time(Duration::from_millis(50));
    let error = source.find(&issuer()).await.expect_err("too slow");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn schemas_over_the_limit_are_errors() {
    let (template, _) = serve(SCHEMA).await;
    let error = source(&template).with_max_bytes(16).find(&issuer()).await;
    let error = error.expect_err("too large").chain();
    assert!(error.contains("16 bytes"), "{error}");
}

#[tokio::test]
async fn kinds_with_invalid_names_are_never_requested() {
    let (template, count) = serve(SCHEMA).await;
    let source = source(&template);
    for (api_version, kind) in [("a/v1", "../x"), ("a?b/v1", "X"), ("a/v1", "x/y")] {
        assert!(
            source
                .find(&Gvk::of(api_version, kind))
                .await
                .expect("none")
                .is_none()
        );
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[test]
fn other_schemes_are_refused() {
    for bad in [
        "ftp://x/{{.Group}}",
        "schemas/{{.Group}}.json",
        "file:///etc",
    ] {
        assert!(
            UrlTemplate::new(bad, "1.31".parse().expect("a version")).is_err(),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn all_fetches_together_have_a_deadline() {
    // Accepts and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("has an address");
    let template = format!("http://{address}/{{{{.ResourceKind}}}}.json");
    let source = source(&template).with_total_time(Duration::from_millis(50));
    for kind in ["A", "B", "C"] {
        let gvk = Gvk::of("example.com/v1", kind);
        let error = source.find(&gvk).await.expect_err("no answer");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    let error = source.find(&issuer()).await.expect_err("no time left");
    assert!(
        tko_core::error::chain(&error).contains("all fetches together"),
        "{error}"
    );
}
