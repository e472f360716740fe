//! Many sites with many deployments, whose schedulers are stopped at any point.

use crate::world::{World, custom, definition, deployment, map, site, workload};
use futures_util::future::join_all;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tko_core::Record;

const DEPLOYMENTS: usize = 10;

/// The number of sites: 50, or as `TKO_TEST_SITES` says.
fn sites() -> usize {
    let text = std::env::var("TKO_TEST_SITES").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(50)
}

/// A generator of numbers, as good as dice need.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % most
    }
}

/// What a site is to have: deployments with settings, a workload and a custom resource. In odd
/// rounds some of them are without the last two.
fn round(number: usize) -> Vec<Record> {
    let all = (0..DEPLOYMENTS).map(|at| {
        let mut settings = map(None, &format!("settings-{at}"), &number.to_string());
        settings["data"]["at"] = json!(at.to_string());
        let mut resources = vec![settings];
        if number.is_multiple_of(2) || at % 3 != 0 {
            resources.push(workload(&format!("w{at}")));
            resources.push(custom("Slice", &format!("s{at}")));
        }
        deployment(&format!("d{at}"), resources)
    });
    all.collect()
}

/// The names of what a round has in one namespace, and of the values of settings.
fn expected(number: usize, namespaces: &[String]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for namespace in namespaces {
        for record in round(number) {
            for resource in record.package.as_ref().expect("a package").iter() {
                let (kind, name) = (&resource.gvk().kind, &resource.identifier().name);
                all.insert(format!("{kind} {namespace}/{name}"));
            }
        }
    }
    all
}

async fn present(world: &World) -> BTreeSet<String> {
    let text = world
        .kubectl("get configmap,deployment,slices.x.example -A -o json", "")
        .await;
    let list: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let items = list["items"].as_array().expect("a list").iter();
    items
        .map(|item| {
            let part = |name: &str| item["metadata"][name].as_str().unwrap_or_default();
            let kind = item["kind"].as_str().unwrap_or_default();
            format!("{kind} {}/{}", part("namespace"), part("name"))
        })
        .filter(|name| {
            !["kube-", "/tko-site-", " kube"]
                .iter()
                .any(|other| name.contains(other))
        })
        .collect()
}

/// One namespace with credentials of its own for each site, and the definition of the custom
/// resources in a site of the platform.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn fifty_sites_whose_schedulers_die_at_random_end_exact() {
    let seed = std::env::var("TKO_TEST_SEED").ok();
    let seed = seed.and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let world = World::start().await;
    let platform = site("platform", "admin.yaml");
    let definitions = [deployment("definitions", vec![definition("Slice")])];
    world
        .schedule(&world.scheduler(), &platform, &definitions, &[])
        .await
        .expect("applied");
    let names: Vec<String> = (0..sites())
        .map(|number| format!("edge-{number}"))
        .collect();
    for name in &names {
        world.tenant(name).await;
    }
    let everyone: Vec<Record> = names
        .iter()
        .map(|name| site(name, &format!("{name}.yaml")))
        .collect();
    let foreign = present(&world).await;
    let start = Instant::now();
    let mut killed = 0;
    for number in 0..4 {
        let wanted = round(number);
        // Processes that die, each at another point of each site.
        for _ in 0..2 {
            let dying = world.scheduler();
            let runs = everyone.iter().map(|site| {
                let time = Duration::from_millis(dice.below(4_000));
                tokio::time::timeout(time, world.schedule(&dying, site, &wanted, &[]))
            });
            let ended = join_all(runs).await;
            killed += ended.iter().filter(|ended| ended.is_err()).count();
        }
        let fresh = world.scheduler();
        let runs = everyone
            .iter()
            .map(|site| world.schedule(&fresh, site, &wanted, &[]));
        for ended in join_all(runs).await {
            ended.expect("the next process finishes");
        }
        let mut all = expected(number, &names);
        all.extend(foreign.iter().cloned());
        assert_eq!(present(&world).await, all, "round {number}");

        // Unchanged sites.
        let before = fresh.counters().totals();
        let runs = everyone
            .iter()
            .map(|site| world.schedule(&fresh, site, &wanted, &[]));
        for ended in join_all(runs).await {
            ended.expect("unchanged");
        }
        let after = fresh.counters().totals();
        assert_eq!(
            after.writes, before.writes,
            "an unchanged site costs no write"
        );
        // ConfigMap, Deployment, Slice.
        assert_eq!(after.reads - before.reads, 3 * names.len() as u64);
    }
    println!(
        "{} sites, {} deployments, 4 rounds, {killed} calls killed: {:?}",
        names.len(),
        names.len() * DEPLOYMENTS,
        start.elapsed()
    );
    let last = world.scheduler();
    let removed = round(3);
    let runs = everyone
        .iter()
        .map(|site| world.schedule(&last, site, &[], &removed));
    for ended in join_all(runs).await {
        ended.expect("removed");
    }
    assert_eq!(present(&world).await, foreign);
}
