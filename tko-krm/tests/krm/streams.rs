//! Answers that take as long as their clients read them.

use crate::requests::ApiClient;
use crate::serving::{Serving, config_map};
use reqwest::{Client, Response};
use serde_json::Value;
use std::time::Duration;
use tko_core::{DataApi, NewSite, NewTemplate, Package, SiteId, TemplateId};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_list_with_a_limit_has_at_most_500_whole_objects_and_a_token_for_the_rest() {
    let serving = Serving::start().await;
    for number in 0..501 {
        let id = SiteId::new(&format!("s{number:03}")).expect("an id");
        let new = NewSite::new(id, Package::default());
        serving.data.register_site(new).await.expect("valid");
    }
    let client = ApiClient::new(&serving);
    let count = |list: &Value, field: &str| list[field].as_array().map(Vec::len);
    let first = client.get("sites?limit=5000").await.body;
    assert_eq!(count(&first, "items"), Some(500));
    let token = first["metadata"]["continue"].as_str().expect("a token");
    let rest = format!("sites?limit=5000&continue={token}");
    let rest = client.get(&rest).await.body;
    assert_eq!(count(&rest, "items"), Some(1));
    assert_eq!(rest["items"][0]["metadata"]["name"], "s500");
    assert_eq!(rest["metadata"]["continue"], Value::Null);

    // Rows are small.
    let url = format!(
        "http://{}/apis/tko.nephio.org/v1alpha1/sites?limit=5000",
        serving.address
    );
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = Client::new().get(url).header("accept", table).send().await;
    let table: Value = table.expect("it answers").json().await.expect("JSON");
    assert_eq!(count(&table, "rows"), Some(501));
    serving.stop().await;
}
