//! Web servers.

mod fixture;

use fixture::{ALL, names, read, read_with, refused, resource, zip};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tko_core::ErrorKind;
use tko_source::{SourceCredentials, SourceLimits, SourceReader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The requests that a server has seen.
type Requests = Arc<Mutex<Vec<String>>>;

/// A web server for the life of the test: its URL, and the requests that it has seen.
async fn server(redirect_to: Option<String>) -> (String, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let requests = Requests::default();
    let seen = requests.clone();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.expect("a client");
            let mut request = vec![0; 4096];
            let length = socket.read(&mut request).await.expect("a request");
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let (_, path) = request.split_once(' ').expect("a method");
            let path = path.split([' ', '?']).next().expect("a path").to_owned();
            seen.lock().expect("not poisoned").push(request);
            let mut headers = String::new();
            let (status, body) = match path.as_str() {
                "/p.zip" => ("200 OK", zip("")),
                "/one.yaml" => ("200 OK", resource("web").into_bytes()),
                "/moved.yaml" => {
                    let to = redirect_to.as_deref().expect("a place");
                    headers = format!("location: {to}\r\n");
                    ("302 Found", Vec::new())
                }
                "/private" => ("401 Unauthorized", Vec::new()),
                "/forbidden" => ("403 Forbidden", Vec::new()),
                "/busy" => ("503 Service Unavailable", Vec::new()),
                // Never answers.
                "/slow" => {
                    std::future::pending::<()>().await;
                    continue;
                }
                _ => ("404 Not Found", Vec::new()),
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
            );
            // The client may have hung up.
            let _ = socket.write_all(head.as_bytes()).await;
            let _ = socket.write_all(&body).await;
        }
    });
    (format!("http://{address}"), requests)
}

#[tokio::test]
async fn files_and_archives_are_downloaded() {
    let (url, _) = server(None).await;
    assert_eq!(names(&format!("{url}/one.yaml")).await, ["web"]);
    assert_eq!(names(&format!("{url}/p.zip")).await, ALL);
    assert_eq!(names(&format!("{url}/p.zip?version=1")).await, ALL);
    let part = format!("zip:{url}/p.zip!20");
    assert_eq!(names(&part).await, ["two", "three"]);
}

#[tokio::test]
async fn answers_become_errors_of_their_kind() {
    let (url, _) = server(None).await;
    for (path, kind, part) in [
        ("none.yaml", ErrorKind::BadArgument, "404"),
        ("private", ErrorKind::Unauthenticated, "TKO_SOURCE_TOKEN"),
        ("forbidden", ErrorKind::Forbidden, "403"),
        ("busy", ErrorKind::Unavailable, "503"),
    ] {
        let source = format!("{url}/{path}?secret");
        let error = read(&source).await.expect_err("an error");
        assert_eq!(error.kind(), kind, "{error:?}");
        let text = error.chain();
        assert!(text.contains(part) && text.contains(path), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn downloads_are_limited_in_size_and_time() {
    let (url, _) = server(None).await;
    let mut limits = SourceLimits::default();
    limits.max_bytes = 10;
    let reader = SourceReader::new().with_limits(limits);
    let read = read_with(&reader, &format!("{url}/one.yaml")).await;
    refused(read, &["one.yaml", "larger than 10 bytes"]);

    let mut limits = SourceLimits::default();
    limits.timeout = Duration::from_millis(50);
    let reader = SourceReader::new().with_limits(limits.clone());
    let slow = format!("{url}/slow");
    let error = read_with(&reader, &slow).await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("within 50ms"), "{error}");

    // The server waits for ever in the first request: another one is not accepted.
    limits.timeout = Duration::from_mins(10);
    limits.stall_timeout = Duration::from_millis(50);
    let reader = SourceReader::new().with_limits(limits);
    let error = read_with(&reader, &slow).await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("/slow"), "{error}");
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

#[tokio::test]
async fn a_server_that_sends_a_little_now_and_then_is_given_up() {
    let limits = SourceLimits::default()
        .with_stall_timeout(Duration::from_secs(1))
        .with_timeout(Duration::from_secs(30));
    let reader = SourceReader::new().with_limits(limits);
    let read = read_with(&reader, &dripping_server().await).await;
    let error = read.expect_err("too slow");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let text = error.chain();
    let is_whole_limit = text.contains("within 30s");
    assert!(text.contains("/drip.yaml") && !is_whole_limit, "{text}");
}

#[tokio::test]
async fn a_token_goes_to_its_host_alone() {
    let (elsewhere, requests_elsewhere) = server(None).await;
    let (url, requests) = server(Some(format!("{elsewhere}/one.yaml"))).await;
    let authorized = |requests: &Requests| {
        let requests = requests.lock().expect("not poisoned");
        let last = requests.last().expect("a request").to_ascii_lowercase();
        last.contains("authorization: bearer t0ken")
    };
    let reader = |host: &str| {
        SourceReader::new().with_credentials(Some(SourceCredentials::new(host, "t0ken")))
    };
    let one = format!("{url}/one.yaml");
    read_with(&reader("127.0.0.1"), &one).await.expect("a file");
    assert!(authorized(&requests));
    read_with(&reader("other"), &one).await.expect("a file");
    assert!(!authorized(&requests));
    // Another port is another server.
    let moved = format!("{url}/moved.yaml");
    read_with(&reader("127.0.0.1"), &moved)
        .await
        .expect("a file");
    assert!(authorized(&requests));
    assert!(!authorized(&requests_elsewhere));
}

#[tokio::test]
async fn a_token_is_not_sent_without_tls() {
    let credentials = SourceCredentials::new("example.invalid", "t0ken");
    let reader = SourceReader::new().with_credentials(Some(credentials));
    let read = read_with(&reader, "http://example.invalid/one.yaml").await;
    refused(read, &["example.invalid", "https://"]);
}
