//! `tko tosca check` shows topologies, problems and pictures.

use crate::harness::{example, tko};
use serde_json::Value;
use std::fs;

#[tokio::test]
async fn a_valid_service_template_is_shown_in_every_format() {
    let service = example("tosca/service.yaml");
    let text = tko("tosca check -i region=pune").arg(&service).good().await;
    let nodes = text.text();
    assert!(nodes.contains("upf: network::Upf\n"), "{text}");
    assert!(nodes.contains("dnn = \"pune.internet\""), "{text}");
    let json = tko("tosca check --output json").arg(&service).good().await;
    let document: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(document["valid"], true);
    assert_eq!(
        document["nodes"]["smf"]["relationships"][1]["target"],
        "upf"
    );
    let dot = tko("tosca check --output dot").arg(&service).good().await;
    assert!(
        dot.text()
            .contains("\"upf\" -> \"edges\" [label=\"host\"];"),
        "{dot}"
    );
    let svg = tko("tosca check --output svg").arg(&service).good().await;
    assert!(svg.text().starts_with("<svg "), "{svg}");
    let count = svg.text().matches("marker-end").count();
    assert_eq!(count, 3, "three relationships are drawn: {svg}");
}

#[tokio::test]
async fn every_problem_of_a_service_template_is_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bad.yaml");
    let text = "tosca_definitions_version: tosca_simple_yaml_1_3\nnode_types:\n  A: {}\n\
                topology_template:\n  node_templates:\n    a: {type: B}\n    b: {type: A, x: 1}\n";
    fs::write(&path, text).expect("it is written");
    let error = tko("tosca check").arg(&path).bad(2).await;
    assert!(
        error.contains("bad.yaml:6:15: node_templates.a: unknown node type \"B\""),
        "{error}"
    );
    assert!(
        error.contains("bad.yaml:7:18: node_templates.b: unknown key \"x\""),
        "{error}"
    );
    assert!(error.contains("not valid: 2 problems"), "{error}");
}

#[tokio::test]
async fn a_service_template_that_is_no_text_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rand.yaml");
    fs::write(&path, b"a: \xff\xfe").expect("it is written");
    let error = tko("tosca check").arg(&path).bad(2).await;
    let wanted = "rand.yaml: cannot read rand.yaml: not UTF-8 text";
    assert!(error.lines().any(|line| line == wanted), "{error}");
}

#[tokio::test]
async fn s14_names_of_a_service_template_do_not_reach_the_terminal_raw() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("foreign.yaml");
    let text = |node: &str| {
        format!(
            "tosca_definitions_version: tosca_simple_yaml_1_3\nnode_types:\n  A: {{}}\n\
             topology_template:\n  node_templates:\n    {node}\n"
        )
    };
    fs::write(&path, text(r#"a: {type: A, "\e[2J\nforged": 1}"#)).expect("it is written");
    let error = tko("tosca check").arg(&path).bad(2).await;
    let wanted = r#"unknown key "\u{1b}[2J\nforged""#;
    assert!(error.contains(wanted), "{error}");
    assert!(!error.contains('\u{1b}'), "{error}");

    fs::write(&path, text(r#""\e[2J\nforged": {type: A}"#)).expect("it is written");
    for format in ["text", "dot", "svg"] {
        let check = tko("tosca check --output").arg(format).arg(&path);
        let shown = check.good().await;
        assert!(!shown.text().contains('\u{1b}'), "{shown}");
    }
    let shown = tko("tosca check").arg(&path).good().await;
    assert_eq!(shown.text(), "\\u{1b}[2J\\nforged: A\n", "{shown}");
}
