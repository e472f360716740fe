//! Worker plugins under `tko up`: faults are conditions that hold nothing else back, and metrics.

use crate::harness::{Server, plugin};
use crate::metrics::{address, scraped};
use tko_core::entity::PREPARED;
use tko_core::{DeploymentId, Entity, Key};

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
