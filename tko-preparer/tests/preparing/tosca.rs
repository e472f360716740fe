//! `TOSCA`: a service template becomes a topology that goes to its sites.

use crate::world::{World, site_id, topo, world};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use tko_core::{DeploymentId, Package};
use tko_preparer::PREPARED;
use tko_preparer::topology::tosca::mapping;
use tko_tosca::{Csar, ToscaLimits};

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

/// A service template with a function `nf` of a type derived from `nephio::Template`.
const FUNCTION: &str = r#"
tosca_definitions_version: tosca_simple_yaml_1_3
imports:
  - {file: types/nephio.yaml, namespace_prefix: n}
node_types:
  Nf:
    derived_from: n:Template
    properties:
      plain: {type: string, default: x}
      o:
        type: string
        required: false
        metadata: {nephio.apiVersion: a/v1, nephio.kind: O, nephio.target: o}
    requirements:
      - near: {capability: n:Site, occurrences: [0, 1]}
  Other:
    properties:
      p:
        type: string
        default: x
        metadata: {nephio.apiVersion: a/v1, nephio.kind: Other, nephio.target: p}
topology_template:
  node_templates:
    s:
      type: n:Site
      properties: {siteId: edge/1}
    t:
      type: n:Site
      properties: {siteId: edge/2}
    other:
      type: Other
    nf:
      type: Nf
      properties: {templateId: "nf:v1"}
      requirements:
        - host: s
        - near: t
"#;

/// The package that a service template describes, with the types of the example.
fn described(service: &str) -> tko_core::Result<Package> {
    let types = PathBuf::from(example()).with_file_name("types/nephio.yaml");
    let types = std::fs::read_to_string(types).expect("the example is there");
    let files = BTreeMap::from([
        ("service.yaml".to_owned(), service.to_owned()),
        ("types/nephio.yaml".to_owned(), types),
    ]);
    let csar = Csar::from_files(files).expect("one service template");
    let topology = tko_tosca::read(&csar, &serde_json::Map::new(), &ToscaLimits::default());
    mapping::package(&topology.expect("a valid service template"))
}

/// Kinds and names of the resources, in order, and the entries of the Placement.
fn contents(package: &Package) -> (Vec<String>, Value) {
    let mut names: Vec<String> = package
        .iter()
        .map(|resource| format!("{} {}", resource.gvk().kind, resource.identifier().name))
        .collect();
    names.sort();
    let placement = package
        .iter()
        .find(|resource| &*resource.gvk().kind == "Placement")
        .expect("a Placement");
    (names, placement.value()["spec"]["templates"].clone())
}

#[test]
fn only_host_relationships_and_known_nodes_become_resources() {
    let package = described(FUNCTION).expect("a package");
    let (names, entries) = contents(&package);
    // Neither a resource O, because the property has no value, nor one of the node "other".
    let expected = ["Placement placement", "Site s", "Site t", "Template nf"];
    assert_eq!(names, expected);
    let expected = json!([{"template": "nf", "sites": ["s"], "merge": []}]);
    assert_eq!(entries, expected);
}

#[test]
fn an_optional_property_with_a_value_becomes_a_resource() {
    let service = FUNCTION.replace("{templateId: \"nf:v1\"}", "{templateId: \"nf:v1\", o: y}");
    let package = described(&service).expect("a package");
    let (names, entries) = contents(&package);
    let expected = [
        "O nf",
        "Placement placement",
        "Site s",
        "Site t",
        "Template nf",
    ];
    assert_eq!(names, expected);
    let merge = json!([{"apiVersion": "a/v1", "kind": "O", "name": "nf"}]);
    assert_eq!(entries[0]["merge"], merge);
}

#[test]
fn a_refined_property_does_not_inherit_metadata() {
    let refined = "properties:\n      templateId: {description: refined}\n      plain:";
    let service = FUNCTION.replace("properties:\n      plain:", refined);
    assert_ne!(service, FUNCTION);
    let error = described(&service).expect_err("no Template is described");
    let expected = "no property of it describes a Template of topology.nephio.org/v1alpha1";
    assert!(error.chain().contains(expected), "{}", error.chain());
}
