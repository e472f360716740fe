//! Figures at many deployments: time and size of pages, memory of watching browsers.
//!
//! `TKO_SCALE=1000000 cargo test --release -p tko-http --test scale -- --ignored --nocapture`

#[path = "../http/harness/mod.rs"]
mod harness;

use futures_util::{StreamExt, stream};
use harness::{CONFIG, TestServer, answer, sent};
use reqwest::StatusCode;
use std::time::{Duration, Instant};
use tko_core::{DataApi, NewDeployment};

/// Requests of each page.
const REQUESTS: usize = 40;

/// Browsers that watch.
const BROWSERS: usize = 200;

/// Deployments that one call creates.
const CALL: usize = 1_000;

/// Resident memory of this process in MiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1_024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; `.ci/long http` runs it"]
async fn pages_are_fast_and_watching_is_cheap() {
    let count: usize = std::env::var("TKO_SCALE")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100_000);
    let server = TestServer::start().await;
    server.register("/api/v1/templates/nf%2Fupf", CONFIG).await;
    server.register("/api/v1/sites/lab", CONFIG).await;
    let began = Instant::now();
    for _ in 0..count / CALL {
        let new = |number: usize| {
            let new = NewDeployment::new()
                .template("nf/upf".parse().ok())
                .site("lab".parse().ok());
            new.prepared(!number.is_multiple_of(10))
                .approved(number % 10 > 1)
        };
        for created in server
            .store
            .create_deployments((0..CALL).map(new).collect())
            .await
        {
            created.expect("valid");
        }
    }
    println!("{count} deployments created in {:?}", began.elapsed());
    let first = answer(server.get("/api/v1/deployments?limit=1"), StatusCode::OK).await;
    let id = first["items"][0]["deploymentId"]
        .as_str()
        .expect("an id")
        .to_owned();
    for path in [
        "/".to_owned(),
        "/deployments".to_owned(),
        "/deployments?q=--state%20waiting".to_owned(),
        "/sites".to_owned(),
        "/templates".to_owned(),
        format!("/deployments/{id}"),
        "/sites/lab".to_owned(),
        "/templates/nf%2Fupf".to_owned(),
        "/api/v1/deployments?limit=100".to_owned(),
        "/api/v1/summary".to_owned(),
    ] {
        let mut times = Vec::new();
        let mut size = 0;
        for _ in 0..REQUESTS {
            let began = Instant::now();
            let response = sent(server.get(&path).header("accept", "*/*"), StatusCode::OK).await;
            size = response.bytes().await.expect("a body").len();
            times.push(began.elapsed());
        }
        times.sort();
        let p95 = times[REQUESTS * 95 / 100];
        println!("{path:42} p95 {p95:>10.1?}  {:>5} KB", size / 1_000);
        assert!(p95 < Duration::from_millis(200), "{path}: {p95:?}");
        assert!(size < 300_000, "{path}: {size} bytes");
    }
    let before = memory();
    let open = |_| {
        let stream = server.get("/events?scope=all");
        async move { sent(stream, StatusCode::OK).await }
    };
    let browsers: Vec<_> = stream::iter(0..BROWSERS)
        .map(open)
        .buffered(20)
        .collect()
        .await;
    for _ in 0..10 {
        let new = (0..CALL).map(|_| NewDeployment::new().template("nf/upf".parse().ok()));
        server.store.create_deployments(new.collect()).await;
    }
    let more = memory().saturating_sub(before);
    println!("{BROWSERS} browsers and 10,000 changes: {more} MiB more (clients included)");
    assert!(more < 100, "{more} MiB");
    drop(browsers);
}
