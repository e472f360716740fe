//! Authentication: bearer tokens, the cookie of browsers, CORS.

use crate::harness::{TIME, TestServer, answer, sent, store};
use reqwest::StatusCode;
use std::sync::{Arc, mpsc};
use tko_http::HttpServerSettings;
use tko_serve::{Access, BearerTokens};

const TOKEN: &str = "a-token-of-enough-characters";

async fn with_tokens(settings: HttpServerSettings) -> TestServer {
    let tokens = BearerTokens::parse(TOKEN).expect("a token");
    let access = Access::new().authentication(Arc::new(tokens));
    TestServer::with(store(), settings, access, 0).await
}

#[tokio::test]
async fn a_token_is_required_everywhere() {
    let server = with_tokens(HttpServerSettings::default()).await;
    for path in [
        "/api/about",
        "/api/site/list",
        "/api/v1/sites",
        "/api/v1/watch?kind=site",
    ] {
        let refused = sent(server.get(path), StatusCode::UNAUTHORIZED).await;
        assert_eq!(refused.headers()["www-authenticate"], "Bearer", "{path}");
    }
    let wrong = server
        .get("/api/v1/sites")
        .bearer_auth("another-token-of-enough");
    answer(wrong, StatusCode::UNAUTHORIZED).await;
    let right = server.get("/api/v1/about").bearer_auth(TOKEN);
    let about = answer(right, StatusCode::OK).await;
    assert_eq!(about["caller"]["name"], "token-1");
    let cookie = server
        .get("/api/v1/about")
        .header("cookie", format!("tko-token={TOKEN}"));
    answer(cookie, StatusCode::OK).await;
}

#[tokio::test]
async fn the_cookie_of_a_sign_in_is_kept_from_scripts_and_other_sites() {
    let server = with_tokens(HttpServerSettings::default()).await;
    let sign_in = server.post("/sign-in").body(format!("token={TOKEN}"));
    let signed_in = sent(sign_in, StatusCode::SEE_OTHER).await;
    let cookie = format!("tko-token={TOKEN}; Path=/; HttpOnly; SameSite=Strict");
    assert_eq!(signed_in.headers()["set-cookie"], cookie);
    let sign_out = server.post("/sign-out").bearer_auth(TOKEN);
    let signed_out = sent(sign_out, StatusCode::SEE_OTHER).await;
    let cookie = "tko-token=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0";
    assert_eq!(signed_out.headers()["set-cookie"], cookie);
}

#[tokio::test]
async fn answers_are_compressed_for_clients_that_ask() {
    let server = TestServer::start().await;
    let document = || server.get("/api/v1/openapi.json");
    let zipped = sent(document().header("accept-encoding", "gzip"), StatusCode::OK).await;
    assert_eq!(zipped.headers()["content-encoding"], "gzip");
    let zipped = zipped.bytes().await.expect("a body");
    let plain = sent(document(), StatusCode::OK).await;
    assert!(plain.headers().get("content-encoding").is_none());
    let plain = plain.bytes().await.expect("a body");
    assert!(
        zipped.starts_with(&[0x1f, 0x8b]),
        "not in the format of gzip"
    );
    assert!(zipped.len() * 2 < plain.len(), "{} bytes", zipped.len());
    // Events must not wait in a compressor until there are enough of them.
    let watch = server.get("/api/v1/watch?kind=site");
    let events = sent(watch.header("accept-encoding", "gzip"), StatusCode::OK).await;
    assert!(events.headers().get("content-encoding").is_none());
}

#[tokio::test]
async fn a_server_on_loopback_reports_another_interface_that_is_open() {
    let mut settings = HttpServerSettings::default();
    settings.reports_insecure = true;
    let server = TestServer::with(store(), settings, Access::new(), 0).await;
    let about = answer(server.get("/api/v1/about"), StatusCode::OK).await;
    assert_eq!(about["insecure"], true);
    let page = sent(server.get("/about"), StatusCode::OK)
        .await
        .text()
        .await;
    assert!(page.expect("text").contains("open to the network"));
    // It still answers only to names of its own machine.
    let rebound = server.get("/api/v1/about").header("host", "evil.example");
    answer(rebound, StatusCode::MISDIRECTED_REQUEST).await;
}

/// Stops the time until the returned value is dropped, so that refused requests wait for their
/// answer. It goes on after [`TIME`], so that a test fails in place of waiting forever.
fn stop_time() -> mpsc::Sender<()> {
    let (end, ended) = mpsc::channel();
    tokio::time::pause();
    // Time does not advance while this task runs.
    tokio::task::spawn_blocking(move || ended.recv_timeout(TIME));
    end
}

/// The status of the first answer to 17 requests that are sent at once on one connection.
async fn first_of_17(
    server: &TestServer,
    request: impl Fn(&reqwest::Client) -> reqwest::RequestBuilder,
) -> StatusCode {
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .expect("a client");
    // Opens the connection, without credentials.
    sent(client.get(server.url("/sign-in")), StatusCode::OK).await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..17 {
        let request = request(&client);
        requests.spawn(async move { request.send().await.expect("an answer").status() });
    }
    let first = requests.join_next().await.expect("an answer");
    first.expect("no panic")
}

#[tokio::test]
async fn refused_requests_that_wait_on_one_connection_are_limited() {
    let server = with_tokens(HttpServerSettings::default()).await;
    let _time = stop_time();
    let first = first_of_17(&server, |client| {
        let request = client.get(server.url("/api/v1/sites"));
        request.bearer_auth("another-token-of-enough")
    });
    assert_eq!(first.await, StatusCode::SERVICE_UNAVAILABLE);
    // Another connection is served. This also ends the delay of further refusals.
    let other = server.get("/api/v1/about").bearer_auth(TOKEN);
    answer(other, StatusCode::OK).await;
}

#[tokio::test]
async fn refused_attempts_to_sign_in_that_wait_on_one_connection_are_limited() {
    let server = with_tokens(HttpServerSettings::default()).await;
    let _time = stop_time();
    let first = first_of_17(&server, |client| {
        let request = client.post(server.url("/sign-in"));
        request.body("token=another-token-of-enough")
    });
    assert_eq!(first.await, StatusCode::SERVICE_UNAVAILABLE);
    // Another connection can sign in.
    let other = server.post("/sign-in").body(format!("token={TOKEN}"));
    sent(other, StatusCode::SEE_OTHER).await;
}

#[tokio::test]
async fn only_named_origins_get_cors() {
    let mut settings = HttpServerSettings::default();
    settings.origins = vec!["https://portal.example".to_owned()];
    let server = with_tokens(settings).await;
    let preflight = |origin: &str| {
        server
            .client
            .request(reqwest::Method::OPTIONS, server.url("/api/v1/sites"))
            .header("origin", origin)
            .header("access-control-request-method", "PUT")
    };
    let allowed = sent(preflight("https://portal.example"), StatusCode::NO_CONTENT).await;
    let origin = &allowed.headers()["access-control-allow-origin"];
    assert_eq!(origin, "https://portal.example");
    assert!(
        allowed
            .headers()
            .get("access-control-allow-credentials")
            .is_none()
    );
    let other = preflight("https://evil.example")
        .send()
        .await
        .expect("an answer");
    assert!(other.headers().get("access-control-allow-origin").is_none());
}
