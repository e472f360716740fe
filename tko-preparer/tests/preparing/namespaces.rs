//! Placements whose namespace changes after their children were created.

use crate::tracking::{begin, tracking};
use crate::world::{World, package, topo, world};
use serde_json::{Value, json};
use tko_core::{DataApi, DeploymentId, Key, Package, Resource, annotation};

fn is_topology(resource: &Resource) -> bool {
    &*resource.gvk().group == "topology.nephio.org"
}

/// The package with its topology in a namespace, like the function `set-namespace`.
fn in_namespace(before: &Package, namespace: &str) -> Package {
    let moved = before.iter().map(|resource| {
        let mut value = resource.value().clone();
        if is_topology(resource) {
            value["metadata"]["namespace"] = json!(namespace);
        }
        value
    });
    package(moved.collect())
}

async fn keys_of_children(w: &World, id: &DeploymentId) -> Vec<Key> {
    let children = w.children(id).await.into_iter();
    children.map(|child| child.entity.key.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn children_are_not_created_again_in_another_namespace() {
    let w = world();
    let _running = w.start();
    let id = begin(&w, Some("Delete")).await;
    let before = keys_of_children(&w, &id).await;
    for (namespace, site) in [("web", "b"), ("www", "c")] {
        w.edit(&id, |package| in_namespace(package, namespace))
            .await;
        w.site(site, &[("role", "edge")]).await;
        let has_it = || async { w.child_sites(&id).await.iter().any(|known| known == site) };
        w.until(has_it).await;
        w.until_idle().await;
    }
    assert_eq!(w.child_sites(&id).await, ["a", "b", "c", "hub"]);
    let after = keys_of_children(&w, &id).await;
    assert!(before.iter().all(|key| after.contains(key)), "{after:?}");
    let placement = w.resource(&id, "Placement", "p").await.expect("it stays");
    assert_eq!(placement["status"]["deployments"], 4);
    // Their sites leave.
    for site in ["a", "c"] {
        w.site(site, &[("role", "core")]).await;
    }
    w.until(|| async { w.child_sites(&id).await == ["b", "hub"] })
        .await;
}

#[tokio::test(start_paused = true)]
async fn preparing_again_in_another_namespace_creates_only_missing_children() {
    // In one step, and in several.
    for count in [3, 1_100] {
        let w = world();
        w.template("t", vec![]).await;
        w.site("hub", &[]).await;
        for n in 0..count {
            w.site(&format!("edge/{n:05}"), &[("role", "edge")]).await;
        }
        let _running = w.start();
        let id = w.deploy(tracking(None)).await;
        w.until(|| async { w.unprepared().await == 0 }).await;
        let before = keys_of_children(&w, &id).await;
        assert_eq!(before.len(), count + 1);
        let removed = before.last().expect("there are some");
        w.store.delete(removed).await.expect("it is there");
        w.until_idle().await;
        w.edit(&id, |before| {
            let moved = in_namespace(before, "web");
            let unmarked = moved.iter().map(|resource| {
                let mut value = resource.value().clone();
                if let Some(annotations) = value["metadata"]["annotations"].as_object_mut() {
                    annotations.remove(annotation::PREPARED);
                }
                value
            });
            package(unmarked.collect())
        })
        .await;
        w.until(|| async { w.unprepared().await == 0 && w.children(&id).await.len() == count + 1 })
            .await;
        w.until_idle().await;
        let after = keys_of_children(&w, &id).await;
        assert_eq!(after.len(), count + 1);
        let kept = after.iter().filter(|key| before.contains(key));
        assert_eq!(kept.count(), count);
        let placement = w.resource(&id, "Placement", "p").await.expect("it stays");
        assert_eq!(placement["status"]["deployments"], count + 1);
    }
}

/// The Placements of the package in another order.
fn reversed(before: &Package) -> Package {
    let values: Vec<Value> = before.iter().map(|r| r.value().clone()).collect();
    let (placements, mut others): (Vec<Value>, Vec<Value>) = values
        .into_iter()
        .partition(|value| value["kind"] == "Placement");
    others.extend(placements.into_iter().rev());
    package(others)
}

#[tokio::test(start_paused = true)]
async fn placements_of_one_name_keep_their_own_children() {
    let w = world();
    let _running = w.start();
    w.template("t", vec![]).await;
    w.site("a", &[("role", "edge")]).await;
    let edges = json!({"select": {"metadata": {"role": "edge"}}});
    let mut resources = vec![
        topo("Template", "t", &json!({"templateId": "t"})),
        topo("Sites", "edges", &edges),
    ];
    let entries = json!([{"template": "t", "sites": ["edges"]}]);
    for namespace in ["one", "two"] {
        let spec = json!({"templates": entries, "track": "Continuous", "onLeave": "Delete"});
        let mut placement = topo("Placement", "p", &spec);
        placement["metadata"]["namespace"] = json!(namespace);
        resources.push(placement);
    }
    let id = w.deploy(resources).await;
    w.until_prepared(&id).await;
    w.until_idle().await;
    assert_eq!(w.child_sites(&id).await, ["a", "a"]);
    let before = keys_of_children(&w, &id).await;
    // One gets another namespace, and then another place.
    w.edit(&id, |before| {
        let moved = before.iter().map(|resource| {
            let mut value = resource.value().clone();
            if value["metadata"]["namespace"] == "one" {
                value["metadata"]["namespace"] = json!("three");
            }
            value
        });
        package(moved.collect())
    })
    .await;
    w.site("b", &[("role", "edge")]).await;
    w.until(|| async { w.children(&id).await.len() == 4 }).await;
    w.until_idle().await;
    w.edit(&id, reversed).await;
    w.site("c", &[("role", "edge")]).await;
    w.until(|| async { w.children(&id).await.len() == 6 }).await;
    w.until_idle().await;
    let sites = w.child_sites(&id).await;
    assert_eq!(sites, ["a", "a", "b", "b", "c", "c"]);
    let after = keys_of_children(&w, &id).await;
    assert!(before.iter().all(|key| after.contains(key)), "{after:?}");
}
