//! Worker plugins under `tko up`: faults are conditions that hold nothing else back, and metrics.

use crate::harness::{Server, plugin};
use crate::metrics::{address, scraped};
use futures_util::StreamExt;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use tko_core::entity::PREPARED;
use tko_core::{
    DataApi, DeploymentId, Entity, Event, Key, Kind, List, NewDeployment, Package, Revision,
    Select, Watch,
};
use tko_grpc::client::Client;

/// Ways to misbehave: a program, the mode of the worker, and a part of the condition's message.
const HOSTILE: [(&str, &str, &str); 10] = [
    ("worker.py", "hang", "did not finish within 2 s"),
    ("worker.py", "crash", "the address pool is exhausted"),
    ("worker.py", "crash_at_start", "cannot read pools.yaml"),
    ("worker.py", "garbage", "I am only debugging"),
    ("worker.py", "large", "a frame of 1000000000 bytes"),
    ("worker.py", "invalid_package", "its package"),
    ("worker.py", "process", "the plugin reported: process"),
    (
        "no_interpreter.py",
        "",
        "the interpreter that its first line (#!) names does not exist",
    ),
    ("no_sdk.py", "", "has no package tko; install TKO's SDK"),
    ("raises.py", "", "in find_vlan"),
];

fn of_kind(kind: &str) -> String {
    format!("apiVersion: example.org/v1\nkind: {kind}\nmetadata: {{name: it}}\n")
}

async fn register(server: &Server, name: &str, kind: &str, program: &str, mode: &str) {
    let what = format!("plugin register prepare {name} -e worker -g example.org,v1,{kind}");
    let mut register = server.tko(&what).arg(plugin(program));
    if !mode.is_empty() {
        register = register.arg(mode);
    }
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
    for (number, (program, mode, said)) in HOSTILE.into_iter().enumerate() {
        let name = match mode {
            "" => program.trim_end_matches(".py").replace('_', "-"),
            mode => mode.replace('_', "-"),
        };
        let kind = format!("Bad{number}");
        register(&server, &name, &kind, program, mode).await;
        deployments.push((create(&server, &kind).await, name, said));
    }
    register(&server, "good", "Good", "worker.py", "prepare").await;
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
        // Nothing of its answer was stored.
        let show = format!("deployment show {} -ojson", key.id());
        let shown = server.tko(&show).good().await.json();
        assert_eq!(shown["prepared"], false, "{name}");
        let get = format!("deployment get {} -ojson", key.id());
        let package = server.tko(&get).good().await.json();
        let resources = package.as_array().expect("a list");
        let is_own = |r: &serde_json::Value| r["apiVersion"] == "example.org/v1";
        let [own] = resources.iter().filter(|r| is_own(r)).collect::<Vec<_>>()[..] else {
            panic!("{name}: {package}");
        };
        assert_eq!(own["metadata"], serde_json::json!({"name": "it"}), "{name}");
    }
    let text = scraped(&address).await;
    for line in [
        "tko_plugin_call_seconds_count{plugin=\"prepare|good\"} 1",
        "tko_plugin_failed_calls_total{plugin=\"prepare|good\"} 0",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
    // On a busy machine the pool may have started a second process.
    for series in [
        "tko_plugin_processes{plugin=\"prepare|good\"}",
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
async fn calls_are_traced_in_the_log() {
    let server = Server::start("up --verbose").await;
    register(&server, "good", "Good", "worker.py", "prepare").await;
    let good = create(&server, "Good").await;
    let span = server.service.span("plugin call ended").await;
    for (field, value) in [
        ("name", "plugin_call"),
        ("plugin", "prepare|good"),
        ("executor", "worker"),
        ("deployment", good.id()),
        ("resource", "Good it"),
        ("outcome", "prepared"),
    ] {
        assert_eq!(span[field], value, "{span}");
    }
    assert!(span["milliseconds"].as_f64().is_some(), "{span}");
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
    register(&server, "random", "Random", "worker.py", "random").await;
    let client = server.client();
    let late = Arc::new(Mutex::new(HashSet::new()));
    let watching = tokio::spawn(collect_late(server.client(), late.clone()));
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
    watching.abort();
    let text = scraped(&address).await;
    for line in text.lines().filter(|line| line.starts_with("tko_plugin_")) {
        if !line.contains("_bucket") {
            println!("{line}");
        }
    }
    let total = |name: &str| {
        let series = format!("tko_plugin_{name}{{plugin=\"prepare|random\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&series));
        let value = value.unwrap_or_else(|| panic!("no {series}: {text}"));
        value.parse::<usize>().expect("a number")
    };
    // Each call beyond one for each deployment ended at its time limit, or was the second to crash.
    let (failed, timed_out) = (total("failed_calls_total"), total("timed_out_calls_total"));
    assert_eq!(total("call_seconds_count"), all + failed + timed_out);
    assert!(total("retried_calls_total") > 0, "no crash in {all} calls");
    assert!(total("restarts_total") > timed_out, "{text}");
    assert_eq!(total("calls_in_flight"), 0);
    // A hang is a condition of its deployment, until the next call prepares it.
    let late = late.lock().expect("no panics").len();
    println!("{late} deployments had a condition that names the time limit");
    assert_eq!(late > 0, timed_out > 0, "{late} of {timed_out}");
    assert!(late <= timed_out, "{late} of {timed_out}");
    server.service.stop().await;
}

/// Collects the deployments with a condition that says that a call hung.
async fn collect_late(client: Client, late: Arc<Mutex<HashSet<Key>>>) {
    let watch = Watch::new(Select::all(Kind::Deployment), Revision::default());
    let mut events = client.watch(watch);
    while let Some(Ok(event)) = events.next().await {
        if let Event::Put { record, .. } = event
            && let Some(condition) = record.entity.condition(PREPARED)
            && condition.status == Some(false)
            && condition.message.contains("did not finish within 2 s")
        {
            let mut late = late.lock().expect("no panics");
            late.insert(record.entity.key.clone());
        }
    }
}
