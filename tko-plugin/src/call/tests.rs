//! Tests of the input that plugins read and of the answers that they may give.

use super::{Deployments, Input, PackageResources, PluginAnswer, PluginCall, Target};
use crate::settings::Grpc;
use serde_json::json;
use tko_core::{Gvk, Identifier, Limits, Package};

fn decode(text: &str) -> Result<PluginAnswer, String> {
    PluginAnswer::decode(text.as_bytes(), &Limits::default()).map_err(|error| error.to_string())
}

#[test]
fn a_call_has_exactly_the_keys_of_the_protocol() {
    let resource = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let package = PackageResources(Package::from_values([resource.clone()]).expect("a package"));
    let target = Identifier::new(Gvk::new("g.example", "v1", "Net"), "n3");
    let call = |input| {
        let call = PluginCall {
            grpc: Grpc::default(),
            log_file: "/tmp/log".to_owned(),
            log_address_port: String::new(),
            target_resource_identifier: Target::from(Some(&target)),
            input,
        };
        let document = call.encode().expect("encodes");
        serde_json::from_slice::<serde_json::Value>(&document).expect("JSON")
    };
    let with = |mut input: serde_json::Value| {
        let common = json!({
            "grpc": {"level2protocol": "", "address": "", "port": 0},
            "logFile": "/tmp/log",
            "logAddressPort": "",
            "targetResourceIdentifier":
                {"group": "g.example", "version": "v1", "kind": "Net", "name": "n3"},
        });
        let map = input.as_object_mut().expect("a map");
        map.extend(common.as_object().expect("a map").clone());
        input
    };
    let prepare = Input::Prepare {
        deployment_id: "d1".to_owned(),
        deployment_package: package.clone(),
    };
    assert_eq!(
        call(prepare),
        with(json!({"deploymentId": "d1", "deploymentPackage": [resource]}))
    );
    let validate = Input::Validate {
        package: package.clone(),
        complete: true,
    };
    assert_eq!(
        call(validate),
        with(json!({"package": [resource], "complete": true}))
    );
    let schedule = Input::Schedule {
        site_id: "s1".to_owned(),
        site_package: package.clone(),
        deployments: Deployments(vec![("d1".to_owned(), package.clone())]),
        removed_deployments: Deployments(vec![("d2".to_owned(), package)]),
    };
    assert_eq!(
        call(schedule),
        with(json!({
            "siteId": "s1",
            "sitePackage": [resource],
            "deployments": {"d1": [resource]},
            "removedDeployments": {"d2": [resource]},
        }))
    );
}

#[test]
fn an_answer_is_read_as_json_and_as_yaml_of_any_style() {
    let expected = PluginAnswer {
        errors: Vec::new(),
        prepared: true,
        package: Some(vec![json!({"mode": 644, "answer": "yes"})]),
    };
    for text in [
        r#"{"prepared": true, "package": [{"mode": 644, "answer": "yes"}]}"#,
        "{prepared: true, package: [{mode: 0644, answer: yes}]}",
        "---\nprepared: true\nother: 1\npackage:\n- mode: 0644\n  answer: yes\n...\n",
    ] {
        assert_eq!(decode(text), Ok(expected.clone()), "{text}");
    }
}

#[test]
fn an_empty_error_is_success_and_a_list_is_several() {
    for (text, expected) in [
        ("{}", vec![]),
        ("error: ''", vec![]),
        ("error:", vec![]),
        ("error: ' no VLAN '", vec!["no VLAN"]),
        ("error: [a, '', b]", vec!["a", "b"]),
    ] {
        assert_eq!(decode(text).expect(text).errors, expected, "{text}");
    }
}

#[test]
fn an_invalid_answer_is_refused_with_the_reason_and_its_beginning() {
    for (text, reason) in [
        ("", "it is empty"),
        ("# nothing\n", "it is empty"),
        ("- 1\n", "not valid YAML"),
        ("{{{ : ]\n\t@", "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "more than one map"),
        ("{\"error\": \"\"} {\"error\": \"\"}", "not valid YAML"),
        ("prepared: 'yes'", "\"prepared\" must be true or false"),
        ("package: {}", "\"package\" must be a list"),
        ("error: {a: 1}", "\"error\" must be a string"),
        ("error: [1]", "\"error\" must be a string"),
        ("a: *b", "not valid YAML"),
    ] {
        let error = decode(text).expect_err(text);
        assert!(error.contains(reason), "{text}: {error}");
    }
    let error = decode("Traceback: [").expect_err("no YAML");
    assert!(error.contains("found: Traceback: ["), "{error}");
}
