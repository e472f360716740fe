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
