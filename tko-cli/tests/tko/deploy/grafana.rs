//! The dashboard for Grafana shows metrics that a server has.

use super::root;
use crate::harness::{Server, TIME, plugin};
use crate::metrics::{address, scraped};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;
use tko_core::{DeploymentId, Entity, Key};
use tko_postgres_server::shared;
use tokio::time::{Instant, sleep};

/// The names of metrics in an expression.
fn names(expression: &str) -> impl Iterator<Item = String> {
    let words = expression.split(|one: char| !(one.is_ascii_alphanumeric() || one == '_'));
    words
        .filter(|word| word.starts_with("tko_"))
        .map(str::to_owned)
}

/// The names of metrics in all panels of the dashboard.
fn shown() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("deploy/grafana/tko.json")).expect("text");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut all = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("an expression");
            let found: Vec<String> = names(expression).collect();
            assert!(!found.is_empty(), "{}: {expression}", panel["title"]);
            all.extend(found);
        }
    }
    all
}

/// The metrics that have no series in a scrape.
fn missing<'a>(shown: &'a BTreeSet<String>, scrape: &str) -> Vec<&'a str> {
    let has = |name: &str| {
        scrape.lines().any(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        })
    };
    let names = shown.iter().map(String::as_str);
    names.filter(|&name| !has(name)).collect()
}

#[tokio::test]
async fn the_dashboard_shows_metrics_that_exist() {
    let shown = shown();
    let database = shared().create_database().expect("a database");
    let url = shared().url(&database);
    let up = "up --backend postgresql --metrics 127.0.0.1:0 --backend-connection";
    let server = Server::start(&format!("{up} {url}")).await;
    let address = address(&server.service).await;
    // A plugin has metrics after its first call, a catalog after its first sync.
    let register = "plugin register prepare good -e worker -g example.org,v1,Good";
    let register = server.tko(register).arg(plugin("worker.py"));
    register.arg("prepare").good().await;
    let create = server.tko("deployment create --stdin");
    let package = "apiVersion: example.org/v1\nkind: Good\nmetadata: {name: it}\n";
    let created = create.stdin(package).good().await;
    let key: Key = created
        .line()
        .parse::<DeploymentId>()
        .expect("an id")
        .into();
    let is_prepared = |entity: &Entity| entity.deployment().is_some_and(|d| d.prepared);
    server.until(&key, "prepared", is_prepared).await;
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("upf/v1")).expect("a folder");
    fs::write(folder.path().join("upf/v1/a.yaml"), package).expect("a file");
    let add = "catalog add core --interval 1h --path */* --id nf/{path}:{version} --url";
    server.tko(add).arg(folder.path()).good().await;
    server.tko("catalog sync core").good().await;
    // Metrics of the database are read every few seconds.
    let until = Instant::now() + TIME;
    loop {
        let absent = missing(&shown, &scraped(&address).await);
        if absent.is_empty() {
            break;
        }
        assert!(Instant::now() < until, "{absent:?}");
        sleep(Duration::from_millis(100)).await;
    }
    server.service.stop().await;
}
