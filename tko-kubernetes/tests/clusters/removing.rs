//! What is removed, and what is not.

use crate::world::{
    World, custom, definition, definition_in, deleting, deployment, map, site, site_with, workload,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn what_is_gone_from_the_packages_is_gone_from_the_cluster() {
    let world = World::start().await;
    let scheduler = world.scheduler();
    let site = site("a", "admin.yaml");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "core"}});
    let first = [
        deployment(
            "smf",
            vec![
                namespace,
                map(Some("core"), "one", "1"),
                map(Some("core"), "two", "1"),
                workload("smf"),
            ],
        ),
        deployment(
            "upf",
            vec![
                definition("Slice"),
                custom("Slice", "a"),
                map(None, "upf", "1"),
            ],
        ),
    ];
    world
        .schedule(&scheduler, &site, &first, &[])
        .await
        .expect("applied");
    // A resource leaves a package.
    let smaller = [
        deployment(
            "smf",
            vec![
                map(Some("core"), "one", "1"),
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "core"}}),
            ],
        ),
        first[1].clone(),
    ];
    world
        .schedule(&scheduler, &site, &smaller, &[])
        .await
        .expect("pruned");
    assert!(world.object("configmap two -n core").await.is_none());
    assert!(world.object("deployment smf").await.is_none());
    assert!(world.object("configmap one -n core").await.is_some());
    // A deployment leaves, by a process that remembers nothing: with kinds and namespaces of its own.
    let other = world.scheduler();
    world
        .schedule(&other, &site, &first[1..], &first[..1])
        .await
        .expect("pruned");
    assert!(
        world.object("namespace core").await.is_none(),
        "gone, not only going"
    );
    assert!(world.object("slices.x.example a").await.is_some());
    // The site leaves. Nothing stays, the inventory included.
    world
        .schedule(&other, &deleting(&site), &[], &first[1..])
        .await
        .expect("removed");
    assert!(world.object("crd slices.x.example").await.is_none());
    let left = world.kubectl("get configmap -A -o name", "").await;
    let left: Vec<_> = left
        .lines()
        .filter(|name| !name.contains("kube-root-ca") && !name.contains("extension-apiserver"))
        .collect();
    assert!(
        left.iter()
            .all(|name| !name.contains("tko") && !name.contains("upf")),
        "{left:?}"
    );
    // Once more, which costs nothing.
    world
        .schedule(&other, &deleting(&site), &[], &first[1..])
        .await
        .expect("idempotent");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn a_kind_outside_the_preferred_version_of_its_group_is_pruned() {
    let world = World::start().await;
    let site = site("a", "admin.yaml");
    let mut route = custom("Route", "a");
    route["apiVersion"] = json!("x.example/v1alpha1");
    // The cluster prefers v1, which has no routes.
    let definitions = vec![
        definition("Slice"),
        definition_in("v1alpha1", "Route"),
        custom("Slice", "a"),
    ];
    let wanted = [
        deployment("definitions", definitions),
        deployment("smf", vec![route]),
    ];
    world
        .schedule(&world.scheduler(), &site, &wanted, &[])
        .await
        .expect("applied");
    assert!(world.object("routes.x.example a").await.is_some());
    world
        .schedule(&world.scheduler(), &site, &wanted[..1], &wanted[1..])
        .await
        .expect("pruned");
    assert!(world.object("routes.x.example a").await.is_none());
    assert!(world.object("slices.x.example a").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn an_object_that_moves_between_deployments_is_not_made_anew() {
    let world = World::start().await;
    let scheduler = world.scheduler();
    let site = site("a", "admin.yaml");
    let before = [deployment(
        "smf",
        vec![map(None, "settings", "1"), map(None, "smf", "1")],
    )];
    world
        .schedule(&scheduler, &site, &before, &[])
        .await
        .expect("applied");
    let uid = world
        .object("configmap settings")
        .await
        .expect("it is there")["metadata"]["uid"]
        .clone();
    let after = [deployment("upf", vec![map(None, "settings", "1")])];
    world
        .schedule(&scheduler, &site, &after, &before)
        .await
        .expect("moved");
    let found = world
        .object("configmap settings")
        .await
        .expect("it is there");
    assert_eq!(found["metadata"]["uid"], uid);
    assert!(world.object("configmap smf").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn what_another_tool_made_is_released_and_not_deleted() {
    let world = World::start().await;
    let scheduler = world.scheduler();
    let force = json!({"nephio.org/force-conflicts": "true"});
    let site = site_with("a", &json!({"kubeconfig": {"file": "admin.yaml"}}), &force);
    world
        .kubectl("create configmap settings --from-literal=own=1", "")
        .await;
    world
        .kubectl("create configmap kept --from-literal=own=1", "")
        .await;
    let mut kept = map(None, "detached", "1");
    kept["metadata"]["annotations"] = json!({"cli-utils.sigs.k8s.io/on-remove": "keep"});
    let wanted = [deployment("smf", vec![map(None, "settings", "1"), kept])];
    world
        .schedule(&scheduler, &site, &wanted, &[])
        .await
        .expect("applied");
    let found = world
        .object("configmap settings")
        .await
        .expect("it is there");
    assert_eq!(found["data"], json!({"own": "1", "value": "1"}));
    // Again, by another process: the mark stays.
    world
        .schedule(&world.scheduler(), &site, &wanted, &[])
        .await
        .expect("unchanged");
    world
        .schedule(&scheduler, &site, &[], &wanted)
        .await
        .expect("removed");
    let found = world
        .object("configmap settings")
        .await
        .expect("another tool made it");
    assert_eq!(found["data"], json!({"own": "1"}));
    assert!(!found["metadata"].to_string().contains("nephio"), "{found}");
    let detached = world
        .object("configmap detached")
        .await
        .expect("it is kept");
    assert_eq!(detached["data"], json!({"value": "1"}));
    assert!(detached["metadata"].get("labels").is_none(), "{detached}");

    // Another site of the same cluster does not take it.
    let second = crate::world::site("b", "admin.yaml");
    world
        .schedule(&scheduler, &site, &wanted, &[])
        .await
        .expect("applied");
    let stolen = [deployment("amf", vec![map(None, "settings", "2")])];
    world
        .refused(&scheduler, &second, &stolen, "belongs to another ApplySet")
        .await;
}
