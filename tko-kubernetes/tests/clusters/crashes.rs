//! A scheduler that is stopped at any point.

use crate::world::{World, custom, definition, deployment, map, site, workload};
use std::time::Duration;
use tko_core::Record;

/// What a round asks for, so that kinds, namespaces and objects come and go.
fn round(number: usize) -> Vec<Record> {
    let space = format!("space-{}", number % 3);
    let mut all = vec![deployment(
        "base",
        vec![
            serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}),
            map(Some(&space), "in", &number.to_string()),
            map(None, "settings", &number.to_string()),
        ],
    )];
    if number.is_multiple_of(2) {
        all.push(deployment(
            "slices",
            vec![definition("Slice"), custom("Slice", "a")],
        ));
    }
    if number % 3 != 1 {
        all.push(deployment(
            "work",
            vec![workload("w"), workload(&format!("w{number}"))],
        ));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn a_scheduler_that_dies_at_any_point_ends_exact() {
    let world = World::start().await;
    let site = site("a", "admin.yaml");
    let kinds = "get configmap,deployment,crd,slices.x.example,namespace -A -o name";
    let listed = async || {
        let (success, text) = world.try_kubectl(kinds, "").await;
        let text = if success {
            text
        } else {
            world
                .kubectl("get configmap,deployment,crd,namespace -A -o name", "")
                .await
        };
        let mut lines: Vec<String> = text
            .lines()
            .filter(|line| !line.contains("kube-root-ca") && !line.contains("tko-site"))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    let before = listed().await;
    let mut before_removed: Vec<Record> = Vec::new();
    for number in 0..12 {
        let wanted = round(number);
        // Dropping the future is what a crash is for the cluster: what was sent was sent.
        let time = Duration::from_millis(3 + 17 * (number as u64 * 7 % 12));
        let dying = world.scheduler();
        let cut = world.schedule(&dying, &site, &wanted, &before_removed);
        let _ = tokio::time::timeout(time, cut).await;
        if number % 4 == 3 {
            // Another change comes before this one is finished.
            continue;
        }
        let fresh = world.scheduler();
        let done = world
            .schedule(&fresh, &site, &wanted, &before_removed)
            .await;
        done.expect("the next process finishes");
        let mut expected = before.clone();
        for record in &wanted {
            let package = record.package.as_ref().expect("a package");
            expected.extend(package.iter().map(|resource| {
                let (kind, name) = (&*resource.gvk().kind, &resource.identifier().name);
                match kind {
                    "ConfigMap" => format!("configmap/{name}"),
                    "Deployment" => format!("deployment.apps/{name}"),
                    "Namespace" => format!("namespace/{name}"),
                    "Slice" => format!("slice.x.example/{name}"),
                    _ => format!("customresourcedefinition.apiextensions.k8s.io/{name}"),
                }
            }));
        }
        expected.sort();
        assert_eq!(listed().await, expected, "round {number}");
        before_removed = wanted;
    }
    let fresh = world.scheduler();
    world
        .schedule(&fresh, &site, &[], &before_removed)
        .await
        .expect("removed");
    assert_eq!(listed().await, before);
}
