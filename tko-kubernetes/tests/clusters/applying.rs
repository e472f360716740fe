//! What is applied, and what is left alone.

use crate::world::{World, custom, definition, deployment, map, site, workload};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn a_site_gets_its_objects_and_an_unchanged_site_costs_a_read_for_each_kind() {
    let world = World::start().await;
    let scheduler = world.scheduler();
    let site = site("nation/south-1", "admin.yaml");
    let wanted = [
        deployment(
            "smf",
            vec![
                custom("Slice", "a"),
                workload("smf"),
                map(Some("core"), "settings", "1"),
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "core"}}),
                definition("Slice"),
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"k": "v"}}),
                json!({"apiVersion": "nephio.org/v1", "kind": "Never", "metadata": {"name": "x"}}),
            ],
        ),
        deployment("upf", vec![map(None, "upf", "1")]),
    ];
    let conditions = world
        .schedule(&scheduler, &site, &wanted, &[])
        .await
        .expect("applied");
    assert_eq!(conditions[0].kind, "Ready");
    assert_eq!(
        conditions[0].reason, "Progressing",
        "no controller runs the pods"
    );
    assert!(
        conditions[0]
            .message
            .contains("Deployment.apps default/smf of smf")
    );
    for words in [
        "slices.x.example a",
        "deployment smf",
        "configmap settings -n core",
        "secret key",
        "configmap upf",
    ] {
        assert!(world.object(words).await.is_some(), "{words}");
    }
    let parents = world
        .kubectl("get configmap -l applyset.kubernetes.io/id -o name", "")
        .await;
    assert_eq!(parents.lines().count(), 1, "{parents}");

    let first = scheduler.counters().totals();
    let before = world
        .kubectl(
            "get cm,secret,deploy,slices.x.example,crd,ns -A -o yaml",
            "",
        )
        .await;
    world
        .schedule(&scheduler, &site, &wanted, &[])
        .await
        .expect("unchanged");
    let second = scheduler.counters().totals();
    assert_eq!(
        second.writes, first.writes,
        "an unchanged site costs no write"
    );
    // ConfigMap, CustomResourceDefinition, Deployment, Namespace, Secret, Slice.
    assert_eq!(second.reads - first.reads, 6, "one read for each kind");
    let after = world
        .kubectl(
            "get cm,secret,deploy,slices.x.example,crd,ns -A -o yaml",
            "",
        )
        .await;
    assert_eq!(before, after);

    // Another process remembers nothing: it reads kinds and inventory, and writes nothing either.
    let other = world.scheduler();
    world
        .schedule(&other, &site, &wanted, &[])
        .await
        .expect("unchanged");
    assert_eq!(other.counters().totals().writes, 0);
}

/// The tenants of one cluster, each with credentials for its own namespace.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn many_sites_get_their_own_objects_and_nothing_else_is_touched() {
    const SITES: usize = 24;
    const DEPLOYMENTS: usize = 10;
    let world = World::start().await;
    world.kubectl("create namespace foreign", "").await;
    world
        .kubectl("create configmap other -n foreign --from-literal=a=1", "")
        .await;
    let everything = "get configmap,secret -A -o json";
    let names: Vec<String> = (0..SITES).map(|number| format!("edge-{number}")).collect();
    for name in &names {
        world.tenant(name).await;
        world
            .kubectl(
                &format!("create configmap own -n {name} --from-literal=a=1"),
                "",
            )
            .await;
    }
    let foreign = foreign(&world.kubectl(everything, "").await);

    let scheduler = world.scheduler();
    let deployments: Vec<_> = (0..DEPLOYMENTS)
        .map(|number| {
            let settings = map(None, &format!("settings-{number}"), "1");
            deployment(
                &format!("d{number}"),
                vec![settings, workload(&format!("w{number}"))],
            )
        })
        .collect();
    let sites: Vec<_> = names
        .iter()
        .map(|name| site(name, &format!("{name}.yaml")))
        .collect();
    let runs = sites
        .iter()
        .map(|site| world.schedule(&scheduler, site, &deployments, &[]));
    for result in futures_util::future::join_all(runs).await {
        result.expect("applied");
    }
    for name in &names {
        let listed = world
            .kubectl(&format!("get configmap,deployment -n {name} -o name"), "")
            .await;
        let settings = listed
            .lines()
            .filter(|line| line.contains("settings-"))
            .count();
        let workloads = listed
            .lines()
            .filter(|line| line.starts_with("deployment"))
            .count();
        assert_eq!(
            (settings, workloads),
            (DEPLOYMENTS, DEPLOYMENTS),
            "{name}: {listed}"
        );
    }
    let first = scheduler.counters().totals();
    let runs = sites
        .iter()
        .map(|site| world.schedule(&scheduler, site, &deployments, &[]));
    for result in futures_util::future::join_all(runs).await {
        result.expect("unchanged");
    }
    let second = scheduler.counters().totals();
    assert_eq!(second.writes, first.writes);
    // Each site: one read of ConfigMaps and one of Deployments.
    assert_eq!(second.reads - first.reads, 2 * SITES as u64);

    let removed = deployments.clone();
    let runs = sites
        .iter()
        .map(|site| world.schedule(&scheduler, site, &[], &removed));
    for result in futures_util::future::join_all(runs).await {
        result.expect("removed");
    }
    assert_eq!(foreign, self::foreign(&world.kubectl(everything, "").await));
    let left = world.kubectl("get deployment -A -o name", "").await;
    assert_eq!(left, "");
}

/// The objects, with their versions, that are not of a test's site.
pub(crate) fn foreign(list: &str) -> Vec<String> {
    let list: serde_json::Value = serde_json::from_str(list).expect("JSON");
    let items = list["items"].as_array().expect("a list").iter();
    let named = items.filter(|item| !item["metadata"]["labels"].to_string().contains("applyset"));
    let mut all: Vec<String> = named
        .map(|item| {
            let metadata = &item["metadata"];
            let part = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
            [
                part("namespace"),
                part("name"),
                part("uid"),
                part("resourceVersion"),
            ]
            .join(" ")
        })
        // The controllers write these.
        .filter(|line| !line.contains("kube-root-ca.crt") && !line.starts_with("kube-system"))
        .collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn drift_is_corrected_and_never_for_ever() {
    let world = World::start().await;
    let scheduler = tko_kubernetes::KubernetesScheduler::new(world.settings().with_corrections(2));
    let site = site("a", "admin.yaml");
    let mut labelled = map(None, "settings", "1");
    labelled["metadata"]["labels"] = json!({"tier": "core"});
    let wanted = [deployment("smf", vec![labelled])];
    world
        .schedule(&scheduler, &site, &wanted, &[])
        .await
        .expect("applied");
    for round in 0..3 {
        world.kubectl("label configmap settings tier-", "").await;
        let conditions = world
            .schedule(&scheduler, &site, &wanted, &[])
            .await
            .expect("applied");
        let found = world
            .object("configmap settings")
            .await
            .expect("it is there");
        let label = found["metadata"]["labels"].get("tier").is_some();
        if round < 2 {
            assert!(label, "it is corrected");
        } else {
            assert!(!label, "the third time within an hour it is left");
            assert_eq!(
                conditions[0].reason, "Contested",
                "{}",
                conditions[0].message
            );
        }
    }
    assert_eq!(scheduler.counters().totals().corrections, 2);
    // An object that was deleted comes back.
    world.kubectl("delete configmap settings", "").await;
    world
        .schedule(&scheduler, &site, &wanted, &[])
        .await
        .expect("applied");
    assert!(world.object("configmap settings").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn a_deleted_object_is_created_again_and_never_for_ever() {
    let world = World::start().await;
    let scheduler = tko_kubernetes::KubernetesScheduler::new(world.settings().with_corrections(2));
    let site = site("a", "admin.yaml");
    let objects = vec![map(None, "settings", "1"), map(None, "other", "1")];
    let wanted = [deployment("smf", objects)];
    for _ in 0..3 {
        world
            .schedule(&scheduler, &site, &wanted, &[])
            .await
            .expect("applied");
        world.kubectl("delete configmap settings", "").await;
    }
    world
        .refused(
            &scheduler,
            &site,
            &wanted,
            "something else keeps deleting it",
        )
        .await;
    assert!(world.object("configmap settings").await.is_none());
    assert!(world.object("configmap other").await.is_some());
    // A deployment that was removed begins anew.
    world
        .schedule(&scheduler, &site, &[], &wanted)
        .await
        .expect("removed");
    world
        .schedule(&scheduler, &site, &wanted, &[])
        .await
        .expect("applied");
    assert!(world.object("configmap settings").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn a_replaced_object_is_applied_again_and_never_for_ever() {
    let world = World::start().await;
    let scheduler = tko_kubernetes::KubernetesScheduler::new(world.settings().with_corrections(2));
    let site = site("a", "admin.yaml");
    let original = map(None, "settings", "1");
    let wanted = [deployment("smf", vec![original.clone()])];
    world
        .schedule(&scheduler, &site, &wanted, &[])
        .await
        .expect("applied");
    for round in 0..3 {
        // This removes TKO's labels.
        world.kubectl("replace -f -", &original.to_string()).await;
        let conditions = world
            .schedule(&scheduler, &site, &wanted, &[])
            .await
            .expect("applied");
        let found = world
            .object("configmap settings")
            .await
            .expect("it is there");
        let label = found["metadata"]["labels"].get("applyset.kubernetes.io/part-of");
        assert_eq!(label.is_some(), round < 2, "round {round}");
        let is_contested = conditions[0].reason == "Contested";
        assert_eq!(is_contested, round == 2, "{}", conditions[0].message);
    }
    world
        .schedule(&scheduler, &site, &[], &wanted)
        .await
        .expect("removed");
    let found = world.object("configmap settings").await;
    assert!(found.is_some(), "without the labels it is not TKO's");
}
