//! Worker plugins under `tko up`: faults are conditions that hold nothing else back, and metrics.

use crate::harness::{Server, plugin};
use crate::metrics::{address, scraped};
use tko_core::entity::PREPARED;
use tko_core::{DataApi, DeploymentId, Entity, Key, Kind, List, NewDeployment, Package, Select};

/// Ways to misbehave: the mode of the worker, and a part of the condition's message.
const HOSTILE: [(&str, &str); 7] = [
    ("hang", "did not finish within 2 s"),
    ("crash", "the address pool is exhausted"),
    ("crash_at_start", "cannot read pools.yaml"),
    ("garbage", "I am only debugging"),
    ("large", "a frame of 1000000000 bytes"),
    ("invalid_package", "its package"),
    ("process", "the plugin reported: process"),
];

fn of_kind(kind: &str) -> String {
    format!("apiVersion: example.org/v1\nkind: {kind}\nmetadata: {{name: it}}\n")
}

async fn register(server: &Server, name: &str, kind: &str, mode: &str) {
    let what = format!("plugin register prepare {name} -e worker -g example.org,v1,{kind}");
    let register = server.tko(&what).arg(plugin("worker.py")).arg(mode);
    register.good().await;
}

async fn create(server: &Server, kind: &str) -> Key {
    let create = server.tko("deployment create --stdin");
    let created = create.stdin(of_kind(kind)).good().await;
    created
        .line()
        .parse::<DeploymentId>()
        .expect("an id")
        .into()
}

#[tokio::test]
async fn faults_are_conditions_that_hold_nothing_else_back() {
    let server = Server::start("up --preparer-timeout 2s --metrics 127.0.0.1:0").await;
    let address = address(&server.service).await;
    let mut deployments = Vec::new();
    for (mode, said) in HOSTILE {
        let name = mode.replace('_', "-");
        let kind = format!("Bad{}", mode.replace('_', ""));
        register(&server, &name, &kind, mode).await;
        deployments.push((create(&server, &kind).await, name, said));
    }
    register(&server, "good", "Good", "prepare").await;
    let good = create(&server, "Good").await;
    let is_prepared = |entity: &Entity| entity.deployment().is_some_and(|d| d.prepared);
    server.until(&good, "prepared", is_prepared).await;
    for (key, name, said) in deployments {
        let refused = |entity: &Entity| {
            let condition = entity.condition(PREPARED);
            let message = condition
                .filter(|c| c.status == Some(false))
                .map(|c| &c.message);
            message.is_some_and(|message| {
                message.contains(said) && message.contains(&format!("prepare|{name}"))
            })
        };
        server
            .until(&key, &format!("{name}: {said}"), refused)
            .await;
    }
    let text = scraped(&address).await;
    for line in [
        "tko_plugin_call_seconds_count{plugin=\"prepare|good\"} 1",
        "tko_plugin_failed_calls_total{plugin=\"prepare|good\"} 0",
        "tko_plugin_processes{plugin=\"prepare|good\"} 1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
    for series in [
        "tko_plugin_timed_out_calls_total{plugin=\"prepare|hang\"}",
        "tko_plugin_restarts_total{plugin=\"prepare|crash\"}",
        "tko_plugin_retried_calls_total{plugin=\"prepare|garbage\"}",
    ] {
        let line = text.lines().find(|line| line.starts_with(series));
        let count = line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        assert!(count.is_some_and(|count| count > 0), "{series}: {text}");
    }
    // The server stops its workers, also the one that hangs.
    server.service.stop().await;
}

#[tokio::test]
#[ignore = "takes minutes; the recipe `workers` of .ci/long runs it"]
async fn every_deployment_ends_prepared_once_whatever_a_worker_does() {
    let wanted = std::env::var("TKO_TEST_DEPLOYMENTS");
    let wanted: usize = wanted.map_or(10_000, |text| text.parse().expect("a number"));
    let up = "up --preparer-timeout 2s --metrics 127.0.0.1:0";
    let server = Server::start(up).await;
    let address = address(&server.service).await;
    register(&server, "random", "Random", "random").await;
    let client = server.client();
    let value = serde_json::json!({
        "apiVersion": "example.org/v1", "kind": "Random", "metadata": {"name": "it"},
    });
    let package = Package::from_values([value]).expect("a package");
    for _ in 0..wanted / 1_000 {
        let new = vec![NewDeployment::new().merge(package.clone()); 1_000];
        for created in client.create_deployments(new).await {
            created.expect("creates");
        }
    }
    let prepared = Select::all(Kind::Deployment).prepared(true);
    let mut polls = tokio::time::interval(std::time::Duration::from_millis(500));
    let all = wanted / 1_000 * 1_000;
    loop {
        polls.tick().await;
        let count = client.count(&prepared, u64::MAX, tko_core::Want::ROW).await;
        let found = usize::try_from(count.expect("counts").found).expect("it fits");
        if found == all {
            break;
        }
    }
    // Generation 1 is the creation, 2 the one preparation with the approval.
    let mut list = List::new(prepared);
    let mut seen = 0;
    loop {
        let page = client.list(&list).await.expect("lists");
        for record in &page.items {
            assert_eq!(record.entity.generation.0, 2, "{}", record.entity.key);
        }
        seen += page.items.len();
        list.after = page.next;
        if list.after.is_none() {
            break;
        }
    }
    assert_eq!(seen, all);
    let text = scraped(&address).await;
    for line in text.lines().filter(|line| line.starts_with("tko_plugin_")) {
        if !line.contains("_bucket") {
            println!("{line}");
        }
    }
    server.service.stop().await;
}
