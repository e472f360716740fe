//! Answers that take as long as their clients read them.

use crate::serving::{Serving, config_map};
use reqwest::{Client, Response};
use serde_json::Value;
use std::time::Duration;
use tko_core::{DataApi, NewTemplate, Package, TemplateId};
use tko_krm::KrmSettings;
use tko_serve::Access;

/// A server with this maximum number of watches and lists.
async fn serving(max_watches: usize) -> Serving {
    let mut settings = KrmSettings::default();
    settings.max_watches = max_watches;
    Serving::with(settings, Access::new()).await
}

/// The beginning of an answer, on a connection of its own.
async fn open(serving: &Serving, rest: &str) -> Response {
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let group = format!("http://{}/apis/tko.nephio.org/v1alpha1", serving.address);
    let request = Client::new().get(format!("{group}/{rest}"));
    request.send().await.expect("it answers")
}

/// Requests this until it succeeds.
async fn until_open(serving: &Serving, rest: &str) {
    let attempts = async {
        while open(serving, rest).await.status() != 200 {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), attempts).await;
    waited.expect("a permit comes back");
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_beyond_the_limit_are_asked_to_retry() {
    let serving = serving(2).await;
    let first = open(&serving, "sites?watch=1").await;
    let second = open(&serving, "templates?watch=1").await;
    assert_eq!(
        (first.status().as_u16(), second.status().as_u16()),
        (200, 200)
    );
    let third = open(&serving, "sites?watch=1").await;
    assert_eq!(third.status(), 429);
    assert_eq!(third.headers()["retry-after"], "1");
    let status: Value = third.json().await.expect("JSON");
    assert_eq!(status["reason"], "TooManyRequests");
    // Lists without a limit are sent page by page, too.
    for (rest, expected) in [
        ("sites", 429_u16),
        ("sites?limit=10", 200),
        ("sites/a", 404),
    ] {
        assert_eq!(open(&serving, rest).await.status(), expected, "{rest}");
    }
    drop(first);
    until_open(&serving, "sites?watch=1").await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_counts_until_its_client_has_read_it() {
    let serving = serving(1).await;
    // More than the buffers of a connection take.
    let names: Vec<String> = (0..48).map(|at| format!("t{at:02}")).collect();
    for name in &names {
        let mut resource = config_map("a");
        resource["data"]["greeting"] = "x".repeat(1 << 20).into();
        let package = Package::from_values([resource]).expect("a resource");
        let id = TemplateId::new(name).expect("an id");
        let new = NewTemplate::new(id, package);
        serving.data.register_template(new).await.expect("valid");
    }
    let slow = open(&serving, "templates").await;
    assert_eq!(slow.status(), 200);
    assert_eq!(open(&serving, "templates").await.status(), 429);
    let list: Value = slow.json().await.expect("JSON");
    let items = list["items"].as_array().into_iter().flatten();
    let listed = items.map(|item| &item["metadata"]["name"]);
    assert_eq!(listed.collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
    until_open(&serving, "templates").await;
    serving.stop().await;
}
