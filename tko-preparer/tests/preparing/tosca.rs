//! `TOSCA`: a service template becomes a topology that goes to its sites.

use crate::world::{World, site_id, topo, world};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use tko_core::DeploymentId;
use tko_preparer::PREPARED;

/// The example of this repository.
fn example() -> String {
    let crates = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = crates.parent().unwrap().join("examples/tosca/service.yaml");
    path.to_str().unwrap().to_owned()
}

async fn spec(w: &World, id: &DeploymentId, kind: &str, name: &str) -> Value {
    let resource = w.resource(id, kind, name).await;
    resource.unwrap_or_else(|| panic!("{kind} {name} is there"))["spec"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_service_template_becomes_a_topology_and_goes_to_its_sites() {
    let w = world();
    let _running = w.start();
    w.template("upf:v1", Vec::new()).await;
    w.template("smf:v1", Vec::new()).await;
    for id in ["edge/1", "edge/2"] {
        w.site(id, &[("region", "pune"), ("kind", "edge")]).await;
    }
    w.site("edge/3", &[("region", "bangalore"), ("kind", "edge")])
        .await;
    w.site("centre/two", &[]).await;
    let inputs = json!({"region": "pune", "centre": "centre/two"});
    let tosca = topo(
        "TOSCA",
        "network",
        &json!({"url": example(), "inputs": inputs}),
    );
    let id = w.deploy(vec![tosca]).await;
    w.until_prepared(&id).await;

    assert_eq!(
        spec(&w, &id, "Template", "upf").await,
        json!({"templateId": "upf:v1"})
    );
    let metadata = json!({"select": {"metadata": {"kind": "edge", "region": "pune"}}});
    assert_eq!(spec(&w, &id, "Sites", "edges").await, metadata);
    let capacity = json!({"sessions": {"thousands": 5}, "dnn": "pune.internet"});
    assert_eq!(spec(&w, &id, "Capacity", "upf-capacity").await, capacity);
    let merge = json!([{
        "apiVersion": "workload.plugin.nephio.org/v1alpha1",
        "kind": "Capacity",
        "name": "upf-capacity"
    }]);
    let entries = json!({"templates": [
        {"template": "smf", "sites": ["centre"], "merge": []},
        {"template": "upf", "sites": ["edges"], "merge": merge},
    ]});
    assert_eq!(spec(&w, &id, "Placement", "placement").await, entries);
    let sites: BTreeSet<String> = w.child_sites(&id).await.into_iter().collect();
    let expected = ["centre/two", "edge/1", "edge/2"].map(|id| site_id(id).to_string());
    assert_eq!(sites, BTreeSet::from(expected));
}

#[tokio::test(start_paused = true)]
async fn problems_of_a_service_template_are_a_condition() {
    let w = world();
    let _running = w.start();
    let inputs = json!({"region": 5, "city": "pune"});
    let tosca = topo(
        "TOSCA",
        "network",
        &json!({"url": example(), "inputs": inputs}),
    );
    let id = w.deploy(vec![tosca]).await;
    let message = w.until_says(&id, PREPARED, "Failed").await;
    for part in [
        "there is no input \"city\"",
        "service.yaml:11:13: inputs.region: expected string, found an integer (5)",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert!(!w.is_prepared(&id).await);
}

#[tokio::test(start_paused = true)]
async fn a_service_template_that_is_not_there_is_a_condition() {
    let w = world();
    let _running = w.start();
    let tosca = topo("TOSCA", "network", &json!({"url": "/nowhere/service.yaml"}));
    let id = w.deploy(vec![tosca]).await;
    let message = w.until_says(&id, PREPARED, "Failed").await;
    assert!(
        message.contains("cannot read /nowhere/service.yaml"),
        "{message}"
    );
}
