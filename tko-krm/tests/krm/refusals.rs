//! Requests whose credentials, or the users that they name, are refused.

use crate::requests::ApiClient;
use crate::serving::Serving;
use reqwest::Client;
use serde_json::Value;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tko_krm::KrmSettings;
use tko_serve::{Access, BearerTokens};
use tokio::task::JoinSet;

const TOKEN: &str = "0123456789abcdef";

#[tokio::test]
async fn refused_requests_that_wait_on_one_connection_are_limited() {
    let tokens = BearerTokens::parse(TOKEN).expect("a token");
    let access = Access::new().authentication(Arc::new(tokens));
    let serving = Serving::with(KrmSettings::default(), access).await;
    let known = ApiClient::new(&serving).with_token(TOKEN);
    // Time does not advance while this task runs, so refused requests wait until the end of the
    // test.
    let (end, ended) = mpsc::channel::<()>();
    tokio::time::pause();
    tokio::task::spawn_blocking(move || ended.recv_timeout(Duration::from_mins(1)));
    let unauthenticated = Client::builder().http2_prior_knowledge().build();
    let unauthenticated = unauthenticated.expect("a client");
    let url = |path: &str| format!("http://{}{path}", serving.address);
    // Opens the connection, without credentials.
    let live = unauthenticated.get(url("/livez")).send().await;
    assert_eq!(live.expect("it answers").status(), 200);
    let mut requests = JoinSet::new();
    for _ in 0..17 {
        let request = unauthenticated.get(url("/apis/tko.nephio.org/v1alpha1/sites"));
        requests.spawn(async move { request.send().await.expect("it answers") });
    }
    let first = requests.join_next().await.expect("an answer");
    let first = first.expect("no panic");
    assert_eq!(first.status(), 429);
    assert_eq!(first.headers()["retry-after"], "1");
    let other = known.get("sites/a").await;
    assert_eq!(other.status, 404, "another connection: {other:?}");
    drop(end);
}

#[tokio::test(flavor = "multi_thread")]
async fn impersonation_is_refused_rather_than_ignored() {
    let tokens = BearerTokens::parse(TOKEN).expect("a token");
    let access = Access::new().authentication(Arc::new(tokens));
    let serving = Serving::with(KrmSettings::default(), access).await;
    let known = ApiClient::new(&serving).with_token(TOKEN);
    let read = known.get("sites").await;
    assert_eq!(read.status, 200, "{read:?}");
    let url = format!(
        "http://{}/apis/tko.nephio.org/v1alpha1/sites",
        serving.address
    );
    for name in [
        "impersonate-user",
        "impersonate-group",
        "impersonate-uid",
        "impersonate-extra-scopes",
    ] {
        let request = Client::new().get(&url).bearer_auth(TOKEN);
        let response = request.header(name, "alice").send().await;
        let response = response.expect("it answers");
        assert_eq!(response.status(), 403, "{name}");
        let status: Value = response.json().await.expect("JSON");
        assert_eq!(status["kind"], "Status", "{name}: {status}");
        assert_eq!(status["reason"], "Forbidden", "{name}: {status}");
    }
    serving.stop().await;
}
