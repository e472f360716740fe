//! Input of an attacker.

use crate::harness::{TIME, TestServer, answer, sent, store};
use async_trait::async_trait;
use reqwest::{RequestBuilder, StatusCode};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_core::caller::ADMIN;
use tko_core::{Caller, DataApi, Metadata, NewSite, Package, Result, SiteId};
use tko_http::HttpServerSettings;
use tko_serve::{Access, Authenticate, Credentials};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let mut settings = HttpServerSettings::default();
    settings.max_body = 10_000;
    settings.max_batch = 3;
    let server = TestServer::with(store(), settings, Access::new(), 0).await;
    let put = server
        .put("/api/v1/templates/t")
        .header("content-type", "application/yaml");
    answer(put.body("x".repeat(10_001)), StatusCode::PAYLOAD_TOO_LARGE).await;
    let post = server
        .post("/api/v1/deployments")
        .header("content-type", "application/x-ndjson");
    answer(post.body("{}\n".repeat(4)), StatusCode::PAYLOAD_TOO_LARGE).await;
}

#[tokio::test]
async fn packages_that_cost_too_much_are_refused() {
    let server = TestServer::start().await;
    let deep = "[".repeat(100_000);
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
                c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
                e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
                g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
    for (kind, body) in [
        ("application/json", deep.as_str()),
        ("application/yaml", deep.as_str()),
        ("application/yaml", bomb),
        ("application/cbor", "\u{7f}\u{7f}"),
        ("application/json", "[{\"a\": 1, \"a\": 2}]"),
    ] {
        let put = server
            .put("/api/v1/templates/t")
            .header("content-type", kind);
        answer(put.body(body.to_owned()), StatusCode::BAD_REQUEST).await;
    }
    let put = server
        .put("/api/v1/templates/t")
        .header("content-type", "text/html");
    answer(put.body("x"), StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
}

#[tokio::test]
async fn hostile_paths_and_queries_are_harmless() {
    let server = TestServer::start().await;
    for path in [
        "/api/v1/sites/%00",
        "/api/v1/sites/%ff",
        "/api/v1/sites/a%0Ab",
        "/api/v1/sites/%3Cscript%3E",
        "/api/v1/sites?cursor=%00",
        "/api/v1/sites?metadata=%00%3Dx",
        "/api/v1/sites/..%2F..%2Fetc%2Fpasswd%00",
        "/api/v1/deployments/a%2Fb",
        "/api/v1/modifications/x",
    ] {
        let response = server.get(path).send().await.expect("an answer");
        let status = response.status();
        assert!(status.is_client_error(), "{path}: {status}");
    }
    let many = "id=a&".repeat(300);
    answer(
        server.get(&format!("/api/v1/sites?{many}")),
        StatusCode::BAD_REQUEST,
    )
    .await;
    let huge = "a".repeat(20_000);
    let response = server
        .get(&format!("/api/v1/sites/{huge}"))
        .send()
        .await
        .expect("an answer");
    assert!(response.status().is_client_error());
}

/// Sends bytes and returns the beginning of the answer.
async fn raw(server: &TestServer, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    stream.write_all(bytes).await.expect("it is open");
    let mut answer = vec![0; 4_096];
    let read = tokio::time::timeout(TIME, stream.read(&mut answer)).await;
    let length = read.expect("in time").unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn a_rebound_host_name_reaches_nothing() {
    let server = TestServer::start().await;
    for (host, status) in [
        ("localhost:1", "200"),
        ("127.0.0.1", "200"),
        ("[::1]:50051", "200"),
        ("evil.example", "421"),
        ("localhost.evil.example", "421"),
        ("127.0.0.1.evil.example:80", "421"),
    ] {
        let request = format!("GET /api/about HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let answer = raw(&server, request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{host}: {answer}"
        );
    }
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused() {
    let server = TestServer::start().await;
    let many = "x: y\r\n".repeat(200);
    let request = format!("GET /api/about HTTP/1.1\r\nhost: localhost\r\n{many}\r\n");
    let answer = raw(&server, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "without a body: {answer}");
    let huge = "y".repeat(100_000);
    let request = format!("GET /api/about HTTP/1.1\r\nhost: localhost\r\nx: {huge}\r\n\r\n");
    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    // The server may close the connection before it has read everything.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
}

#[tokio::test]
async fn pages_of_other_sites_cannot_change_anything() {
    let server = TestServer::start().await;
    let put = |name: &'static str, value: &'static str| {
        server.put("/api/v1/sites/lab").header(name, value)
    };
    answer(put("origin", "http://evil.example"), StatusCode::FORBIDDEN).await;
    answer(put("sec-fetch-site", "cross-site"), StatusCode::FORBIDDEN).await;
    answer(put("sec-fetch-site", "same-origin"), StatusCode::OK).await;
}

#[tokio::test]
async fn every_answer_has_the_headers_that_protect_browsers() {
    let server = TestServer::start().await;
    for (path, status) in [
        ("/api/about", StatusCode::OK),
        ("/none", StatusCode::NOT_FOUND),
    ] {
        let response = sent(server.get(path), status).await;
        let headers = response.headers();
        let policy = headers["content-security-policy"].to_str().expect("text");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["x-frame-options"], "DENY");
    }
}

/// Sends the head of a request for a template, and a part of its body.
async fn unfinished(server: &TestServer, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    let head =
        "PUT /api/v1/templates/t HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("it is open");
    stream
        .write_all(&vec![b' '; bytes])
        .await
        .expect("it is open");
    stream
}

/// Sends a request until the answer has this status. The server may close the connection before it
/// has read the whole body, so that no answer arrives.
async fn until(request: RequestBuilder, status: StatusCode) -> String {
    let attempts = async {
        loop {
            let request = request.try_clone().expect("a body in memory");
            match request.send().await {
                Ok(response) if response.status() == status => {
                    return response.text().await.expect("a text");
                }
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(TIME, attempts).await.expect("in time")
}

#[tokio::test]
async fn s5_unfinished_bodies_share_a_budget_that_comes_back() {
    let mut settings = HttpServerSettings::default();
    settings.max_bytes = 64 << 10;
    let server = TestServer::with(store(), settings, Access::new(), 0).await;
    let put = || server.put("/api/v1/templates/t").body(" ".repeat(16_000));
    until(put(), StatusCode::OK).await;
    let first = unfinished(&server, 60_000).await;
    let problem = until(put(), StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(problem.contains("too many bytes"), "{problem}");
    answer(server.get("/api/v1/templates/t"), StatusCode::OK).await;
    drop(first);
    until(put(), StatusCode::OK).await;
}

/// Admits the token `right`. Other credentials wait, as they do after many refusals.
struct SlowRefusals {
    /// A permit for each request that waits.
    waiting: Arc<Semaphore>,
}

#[async_trait]
impl Authenticate for SlowRefusals {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Caller> {
        if credentials.bearer() == Some("right") {
            return Caller::new("known")?.role(ADMIN);
        }
        self.waiting.add_permits(1);
        std::future::pending().await
    }
}

#[tokio::test]
async fn s5_unauthenticated_requests_that_wait_do_not_keep_callers_out() {
    let waiting = Arc::new(Semaphore::new(0));
    let authentication = SlowRefusals {
        waiting: waiting.clone(),
    };
    let access = Access::new().authentication(Arc::new(authentication));
    let mut settings = HttpServerSettings::default();
    settings.max_requests = 1;
    let server = TestServer::with(store(), settings, access, 0).await;
    let mut unauthenticated = JoinSet::new();
    for _ in 0..3 {
        let call = server.get("/api/v1/about").bearer_auth("wrong");
        let sign_in = server.post("/sign-in").body("token=wrong");
        for request in [call, sign_in] {
            unauthenticated.spawn(async move { request.send().await });
        }
    }
    let all = tokio::time::timeout(TIME, waiting.acquire_many(6)).await;
    let _all = all.expect("in time").expect("it is open");
    let right = server.get("/api/v1/about").bearer_auth("right");
    answer(right, StatusCode::OK).await;
}

#[tokio::test]
async fn s5_requests_beyond_the_limit_are_refused() {
    let mut settings = HttpServerSettings::default();
    settings.max_requests = 1;
    let server = TestServer::with(store(), settings, Access::new(), 0).await;
    let mut first = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    let head = "PUT /api/v1/templates/t HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\
                expect: 100-continue\r\n\r\n";
    first.write_all(head.as_bytes()).await.expect("it is open");
    // The server says so when it waits for the body.
    let mut go_on = *b"HTTP/1.1 100";
    first.read_exact(&mut go_on).await.expect("a status");
    assert_eq!(&go_on, b"HTTP/1.1 100");
    let about = || server.get("/api/v1/about");
    let problem = answer(about(), StatusCode::SERVICE_UNAVAILABLE).await;
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("too many requests"), "{problem}");
    drop(first);
    until(about(), StatusCode::OK).await;
}

#[tokio::test]
async fn s5_streamed_lists_are_limited_until_they_are_read() {
    let mut settings = HttpServerSettings::default();
    settings.max_streamed_lists = 1;
    let server = TestServer::with(store(), settings, Access::new(), 0).await;
    // 24 MB, more than the buffers of a connection hold.
    let value = "x".repeat(15_000);
    let pairs = (0..16).map(|key| (format!("key-{key}"), value.clone()));
    let metadata: Metadata = pairs.collect();
    for number in 0..100 {
        let id = SiteId::new(&format!("site-{number}")).expect("an id");
        let new = NewSite::new(id, Package::default()).metadata(metadata.clone());
        server.store.register_site(new).await.expect("registered");
    }
    let lines = || {
        let list = server.get("/api/v1/sites");
        list.header("accept", "application/x-ndjson")
    };
    let first = sent(lines(), StatusCode::OK).await;
    for list in [lines(), server.get("/api/site/list")] {
        let problem = answer(list, StatusCode::SERVICE_UNAVAILABLE).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("too many lists"), "{problem}");
    }
    answer(server.get("/api/v1/sites?limit=1"), StatusCode::OK).await;
    drop(first);
    until(lines(), StatusCode::OK).await;
}

#[tokio::test]
async fn s5_the_body_of_a_plugin_is_small() {
    let server = TestServer::start().await;
    let head = "PUT /api/v1/plugins/prepare%7Cgateway HTTP/1.1\r\nhost: localhost\r\n\
                content-type: application/json\r\ncontent-length: 2000000\r\n\r\n";
    // One byte beyond the limit; the rest never comes.
    let body = " ".repeat((1 << 20) + 1);
    let answer = raw(&server, format!("{head}{body}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn s5_a_form_of_too_many_fields_is_refused() {
    let server = TestServer::start().await;
    let check = server.post("/deployments/d1/check");
    let form = format!("{}%zz", "=&".repeat(5_000));
    let refused = sent(check.body(form), StatusCode::BAD_REQUEST).await;
    let page = refused.text().await.expect("a page");
    assert!(page.contains("5001 parameters"), "{page}");
}

#[tokio::test]
async fn s5_unauthenticated_requests_have_short_bodies_only() {
    let server = TestServer::start().await;
    let post = server.post("/sign-in").body("x".repeat(17_000));
    until(post, StatusCode::PAYLOAD_TOO_LARGE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s7_a_large_package_does_not_hold_up_the_others() {
    let server = TestServer::start().await;
    // A list of a million empty lists takes long to decode.
    let mut text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nx:\n".to_owned();
    text.push_str(&"- []\n".repeat(1_000_000));
    let put = server.put("/api/v1/templates/large").body(text);
    let attack = tokio::spawn(async move {
        let start = Instant::now();
        put.send().await.expect("an answer");
        start.elapsed()
    });
    let (mut answers, mut longest) = (0, Duration::ZERO);
    while !attack.is_finished() {
        let start = Instant::now();
        answer(server.get("/api/about"), StatusCode::OK).await;
        longest = longest.max(start.elapsed());
        answers += 1;
    }
    let took = attack.await.expect("no panic");
    assert!(
        answers > 20 && longest < took / 2,
        "{answers} answers, the longest after {longest:?}, while the attack took {took:?}"
    );
}
