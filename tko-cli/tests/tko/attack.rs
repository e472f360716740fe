//! Attacks on a running server: what another client notices of them, and what is left afterwards.

mod measure;
mod packages;
mod senders;

use crate::harness::Server;
use measure::{Idle, memory, p99, some_requests};
use senders::{Sender, Target};
use std::fmt::Write;
use std::time::{Duration, Instant};
use tko_core::{DataApi, Deployment, Key, NewDeployment, NewTemplate, Package, TemplateId};
use tko_grpc::client::Client;
use tokio::runtime::Runtime;

/// The time of the measurement without an attack, and under it.
const ALONE: Duration = Duration::from_secs(4);
const ATTACKED: Duration = Duration::from_secs(8);

/// The time that a server has to finish what an attack left, and to give its memory back.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time of everything.
const TOTAL: Duration = Duration::from_mins(6);

/// How much memory may stay in use after an attack.
const MOST_LEFT: u64 = 100 << 20;

/// How much longer the p99 of another client may be.
const MOST_RATIO: f64 = 5.0;

const MIB: usize = 1 << 20;

/// All attacks, by the number of the finding.
fn attacks() -> Vec<(&'static str, Sender)> {
    let grpc = Sender::packages;
    vec![
        ("S1  34 MiB of metadata", Sender::metadata(34 * MIB)),
        (
            "S2  15 MiB of metadata in a package",
            grpc(packages::metadata(15 * MIB)),
        ),
        (
            "S3  800 connections without a request",
            Sender::silence(800),
        ),
        (
            "S5  60 unfinished messages of 63 MiB",
            Sender::messages(1, 60, 63 * MIB),
        ),
        (
            "S5  web: 60 unfinished bodies of 63 MiB",
            Sender::bodies(Target::Web, 1, 60, 63 * MIB),
        ),
        (
            "S5  Kubernetes: 300 bodies of 15 MiB",
            Sender::bodies(Target::Kubernetes, 3, 100, 15 * MIB),
        ),
        (
            "S6  900 heads that claim 64 MiB",
            Sender::messages(9, 100, 0),
        ),
        ("S7  merge keys, 23 KB", grpc(packages::merge_keys())),
        ("S7  a million empty lists", grpc(packages::empty_lists())),
        (
            "S7  web: a million empty lists",
            Sender::put(Target::Web, packages::empty_lists()),
        ),
        (
            "S7  Kubernetes: a million empty lists",
            Sender::put(Target::Kubernetes, packages::empty_lists()),
        ),
        (
            "S7  60,000 tiny resources",
            grpc(packages::tiny_resources()),
        ),
        (
            "S8  deadlines of 50 ms",
            Sender::late(packages::empty_lists()),
        ),
        ("S15 200,000 metadata keys", Sender::keys(200_000)),
        (
            "S15 9,000 streams that never end",
            Sender::streams(9, 1_000),
        ),
    ]
}

/// A server under attack, and its clients.
struct Victim {
    server: Server,
    client: Client,
    template: TemplateId,
    target: [u16; 3],
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; the recipe `attack` of .ci/long runs it"]
async fn other_clients_are_served_under_every_attack() {
    let begun = Instant::now();
    let result = tokio::time::timeout(TOTAL, all(begun)).await;
    let faults = result.unwrap_or_else(|_| panic!("not done after {TOTAL:?}"));
    assert!(faults.is_empty(), "{faults}");
}

/// Makes all attacks. Returns what was wrong.
async fn all(begun: Instant) -> String {
    let mut victim = Victim::start().await;
    // What a served client needs stays, attack or not.
    p99(&victim.server, &victim.template, ALONE).await;
    let first = memory(victim.server.service.id());
    let mut faults = String::new();
    println!(
        "{:>5}  {:40} {:>9} {:>9} {:>6} {:>7} {:>8}",
        "at", "attack", "p99", "under it", "ratio", "busy s", "MB left"
    );
    let only = std::env::var("TKO_ATTACK").unwrap_or_default();
    for (name, sender) in attacks() {
        if !name.contains(&only) {
            continue;
        }
        let mut figures = victim.attack(&sender).await;
        figures.print(begun, name);
        if figures.ratio() > MOST_RATIO {
            // Other programs of this machine may have caused it.
            figures = victim.attack(&sender).await;
            figures.print(begun, "  once more");
        }
        figures.judge(name, &mut faults);
        victim.prepares_deployments().await;
    }
    let left = victim.left(first).await;
    println!("after all attacks: {} MB more than before", left >> 20);
    if left > MOST_LEFT {
        let _ = writeln!(faults, "{} MB are left after all attacks", left >> 20);
    }
    let service = &mut victim.server.service;
    service.signal(rustix::process::Signal::TERM);
    let ended = service.ended().await;
    assert!(ended.success(), "{ended}");
    faults
}

impl Victim {
    async fn start() -> Self {
        let server = Server::start(
            "up --web-ip-stack ipv4 --kubernetes --kubernetes-ip-stack ipv4 --kubernetes-port 0",
        )
        .await;
        let mut target = [server.port, 0, 0];
        for (port, message) in [(1, "serving HTTP"), (2, "serving the Kubernetes API")] {
            let serving = server.service.event(message).await;
            let addresses = serving["addresses"].as_str().expect("a text");
            let number = addresses.trim_end_matches(']').rsplit(':').next();
            target[port] = number.and_then(|n| n.parse().ok()).expect("a port");
        }
        let client = server.client();
        let package = Package::from_values([serde_json::json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
        })]);
        let template = TemplateId::new("served").expect("an id");
        let new = NewTemplate::new(template.clone(), package.expect("a package"));
        client.register_template(new).await.expect("valid");
        Self {
            server,
            client,
            template,
            target,
        }
    }

    /// How much more memory is in use than before, once the server had time to give it back.
    async fn left(&self, before: u64) -> u64 {
        let begun = Instant::now();
        loop {
            let left = memory(self.server.service.id()).saturating_sub(before);
            if left <= MOST_LEFT || begun.elapsed() > PATIENCE {
                return left;
            }
            some_requests(&self.client, &self.template).await;
        }
    }

    /// Measures another client without the attack and under it, and what the attack leaves.
    async fn attack(&self, sender: &Sender) -> AttackFigures {
        let process = self.server.service.id();
        // Without it, before each one: the machine is not equally fast all the time.
        let alone = p99(&self.server, &self.template, ALONE).await;
        let before = memory(process);
        let attackers = attackers();
        sender.start(&attackers, self.target);
        let attacked = p99(&self.server, &self.template, ATTACKED).await;
        // Breaks all connections of the attackers.
        attackers.shutdown_background();
        let ended = Instant::now();
        let mut idle = Idle::of(process);
        let (mut busy, mut left) = (None, u64::MAX);
        while ended.elapsed() < PATIENCE && (busy.is_none() || left > MOST_LEFT) {
            let is_idle = idle.next().await;
            if is_idle && busy.is_none() {
                busy = Some(ended.elapsed());
            }
            // The allocator returns memory of a thread when the thread has something to do.
            if busy.is_some() {
                some_requests(&self.client, &self.template).await;
            }
            left = memory(process).saturating_sub(before);
        }
        AttackFigures {
            alone,
            attacked,
            busy,
            left,
        }
    }

    /// Checks that the controllers continue.
    async fn prepares_deployments(&self) {
        let new = NewDeployment::new().template(self.template.clone());
        let id = self.client.create_deployment(new).await;
        let key = Key::from(id.expect("valid"));
        let is_prepared = |deployment: &Deployment| deployment.prepared;
        let prepared = self.server.until(&key, "prepared", |entity| {
            entity.deployment().is_some_and(is_prepared)
        });
        prepared.await;
    }
}

/// Threads that give way to the server and to the other client: attackers have separate machines.
fn attackers() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(|| _ = rustix::process::nice(19))
        .build()
        .expect("threads")
}

struct AttackFigures {
    alone: Duration,
    attacked: Duration,
    /// How long the server worked after the end of the attack.
    busy: Option<Duration>,
    /// Bytes that were in use after it, and not before.
    left: u64,
}

impl AttackFigures {
    fn ratio(&self) -> f64 {
        self.attacked.as_secs_f64() / self.alone.as_secs_f64()
    }

    fn print(&self, begun: Instant, name: &str) {
        println!(
            "{:>4}s  {name:40} {:>6.1} ms {:>6.1} ms {:>6.1} {:>7.1} {:>8}",
            begun.elapsed().as_secs(),
            self.alone.as_secs_f64() * 1e3,
            self.attacked.as_secs_f64() * 1e3,
            self.ratio(),
            self.busy.unwrap_or(PATIENCE).as_secs_f64(),
            self.left >> 20
        );
    }

    fn judge(&self, name: &str, faults: &mut String) {
        if self.ratio() > MOST_RATIO {
            let ratio = self.ratio();
            let _ = writeln!(faults, "{name}: p99 is {ratio:.1} times as long");
        }
        if self.left > MOST_LEFT {
            let _ = writeln!(faults, "{name}: {} MB are left", self.left >> 20);
        }
        if self.busy.is_none() {
            let _ = writeln!(faults, "{name}: the server works on after {PATIENCE:?}");
        }
    }
}
