//! Many sites with many deployments, whose schedulers are stopped at any point.

use crate::applying::foreign;
use crate::world::{World, custom, definition, deployment, map, site, workload};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tko_core::Record;
use tko_kubernetes::KubernetesScheduler;

/// How often what is wanted changes.
const ROUNDS: usize = 4;

/// The start of the names of the sites' users.
const USERS: &str = "system:serviceaccount:edge-";

/// A number of the environment, or another.
fn setting(name: &str, otherwise: usize) -> usize {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
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
/// rounds some of them are without the last two. One object is of another deployment each time.
fn round(number: usize, deployments: usize) -> Vec<Record> {
    let all = (0..deployments).map(|at| {
        let mut resources = vec![map(None, &format!("settings-{at}"), &number.to_string())];
        if number.is_multiple_of(2) || at % 3 != 0 {
            resources.push(workload(&format!("w{at}")));
            let mut slice = custom("Slice", &format!("s{at}"));
            slice["spec"]["size"] = json!(number);
            resources.push(slice);
        }
        if at == number % deployments {
            resources.push(map(None, "moving", &number.to_string()));
        }
        deployment(&format!("d{at}"), resources)
    });
    all.collect()
}

/// An object, and what of it changes from round to round.
fn line(kind: &str, namespace: &str, object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let (data, size) = (&object["data"]["value"], &object["spec"]["size"]);
    format!("{kind} {namespace}/{name} {data} {size}")
}

/// What a round has in these namespaces.
fn expected(wanted: &[Record], namespaces: &[String]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for record in wanted {
        for resource in record.package.as_ref().expect("a package") {
            let object = resource.value();
            for namespace in namespaces {
                all.insert(line(&resource.gvk().kind, namespace, object));
            }
        }
    }
    all
}

/// What is in these namespaces, without what was there before; and the UIDs of the moving object.
async fn present(world: &World, namespaces: &[String]) -> (BTreeSet<String>, Vec<String>) {
    let words = "get configmap,deployment,slices.x.example -A -o json";
    let list: Value = serde_json::from_str(&world.kubectl(words, "").await).expect("JSON");
    let (mut lines, mut moving) = (BTreeSet::new(), Vec::new());
    for item in list["items"].as_array().expect("a list") {
        let metadata = &item["metadata"];
        let part = |name: &str| metadata[name].as_str().unwrap_or_default();
        let is_there = namespaces.iter().any(|one| one == part("namespace"));
        let is_parent = !metadata["labels"]["applyset.kubernetes.io/id"].is_null();
        if !is_there || is_parent || ["own", "kube-root-ca.crt"].contains(&part("name")) {
            continue;
        }
        if part("name") == "moving" {
            moving.push(format!("{} {}", part("namespace"), part("uid")));
        }
        let kind = item["kind"].as_str().unwrap_or_default();
        lines.insert(line(kind, part("namespace"), item));
    }
    moving.sort();
    (lines, moving)
}

/// The requests of the sites' users so far, each as user, verb and resource.
fn requests(world: &World) -> Vec<String> {
    tokio::task::block_in_place(|| world.server.audit(USERS)).expect("a log")
}

async fn schedule_all(
    world: &World,
    by: &KubernetesScheduler,
    sites: &[Record],
    wanted: &[Record],
) {
    let runs = sites
        .iter()
        .map(|site| world.schedule(by, site, wanted, &[]));
    for ended in join_all(runs).await {
        ended.expect("it is finished");
    }
}

/// One namespace with credentials of its own for each site, and the definition of the custom
/// resources in a site of the platform.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn fifty_sites_whose_schedulers_die_at_random_end_exact() {
    let seed = setting("TKO_TEST_SEED", 1);
    let sites = setting("TKO_TEST_SITES", 50);
    let deployments = setting("TKO_TEST_DEPLOYMENTS", 10);
    println!("seed {seed}");
    let mut dice = Dice(seed as u64);
    let world = World::start().await;
    let platform = [site("platform", "admin.yaml")];
    let definitions = [deployment("definitions", vec![definition("Slice")])];
    schedule_all(&world, &world.scheduler(), &platform, &definitions).await;
    let names: Vec<String> = (0..sites).map(|number| format!("edge-{number}")).collect();
    world.tenants(&names).await;
    let others: Vec<String> = names
        .iter()
        .map(|name| map(Some(name), "own", "1").to_string())
        .collect();
    world.kubectl("apply -f -", &others.join("\n")).await;
    let everything = "get configmap,secret,deployment,serviceaccount,crd -A -o json";
    let before = foreign(&world.kubectl(everything, "").await);
    let everyone: Vec<Record> = names
        .iter()
        .map(|name| site(name, &format!("{name}.yaml")))
        .collect();

    let start = Instant::now();
    let mut killed = 0;
    let mut moved: Option<Vec<String>> = None;
    for number in 0..ROUNDS {
        let wanted = round(number, deployments);
        // Processes that die, each at another point of each site.
        for _ in 0..2 {
            let dying = world.scheduler();
            let runs = everyone.iter().map(|site| {
                let time = Duration::from_millis(dice.below(5_000));
                tokio::time::timeout(time, world.schedule(&dying, site, &wanted, &[]))
            });
            let ended = join_all(runs).await;
            killed += ended.iter().filter(|ended| ended.is_err()).count();
        }
        let fresh = world.scheduler();
        schedule_all(&world, &fresh, &everyone, &wanted).await;
        let (found, moving) = present(&world, &names).await;
        assert_eq!(found, expected(&wanted, &names), "round {number}");
        assert_eq!(moving.len(), sites);
        let first = moved.get_or_insert_with(|| moving.clone());
        assert_eq!(*first, moving, "what moves is not made anew");

        // Unchanged sites: what the API server has been asked.
        let before = requests(&world).len();
        schedule_all(&world, &fresh, &everyone, &wanted).await;
        let mut asked = requests(&world).split_off(before);
        asked.sort();
        let reads = names.iter().flat_map(|name| {
            let number = name.strip_prefix("edge-").unwrap_or(name);
            ["configmaps", "deployments", "slices"]
                .map(|kind| format!("{USERS}{number}:tko list {kind}"))
        });
        let mut reads: Vec<String> = reads.collect();
        reads.sort();
        assert_eq!(asked, reads, "one read of each kind, and no write");
    }
    println!(
        "{sites} sites, {} deployments, {ROUNDS} rounds, {killed} calls killed: {:?}",
        sites * deployments,
        start.elapsed()
    );
    let last = world.scheduler();
    let removed = round(ROUNDS - 1, deployments);
    let runs = everyone
        .iter()
        .map(|site| world.schedule(&last, site, &[], &removed));
    for ended in join_all(runs).await {
        ended.expect("removed");
    }
    assert_eq!(present(&world, &names).await, Default::default());
    assert_eq!(before, foreign(&world.kubectl(everything, "").await));
}
