//! Requests whose credentials are refused.

use crate::requests::ApiClient;
use crate::serving::Serving;
use reqwest::Client;
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
    let stranger = Client::builder().http2_prior_knowledge().build();
    let stranger = stranger.expect("a client");
    let url = |path: &str| format!("http://{}{path}", serving.address);
    // Opens the connection, without credentials.
    let live = stranger.get(url("/livez")).send().await;
    assert_eq!(live.expect("it answers").status(), 200);
    let mut requests = JoinSet::new();
    for _ in 0..17 {
        let request = stranger.get(url("/apis/tko.nephio.org/v1alpha1/sites"));
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
