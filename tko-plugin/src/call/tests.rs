//! Tests of the input that plugins read and of the answers that they may give.

use super::{Deployments, Input, PackageResources, PluginAnswer, PluginCall, SentPackage, Target};
use crate::settings::Grpc;
use serde_json::json;
use std::sync::Arc;
use tko_core::{Gvk, Identifier, Limits, Package};

fn decode(text: &str) -> Result<PluginAnswer, String> {
    PluginAnswer::decode(text.as_bytes(), &Limits::default()).map_err(|error| error.to_string())
}

#[test]
fn a_target_has_its_namespace() {
    let target = Identifier::new(Gvk::new("g.example", "v1", "Net"), "n3");
    let target = Target::from(Some(&target.namespace(Arc::<str>::from("upf"))));
    assert_eq!(
        serde_json::to_value(target).expect("encodes"),
        json!({"group": "g.example", "version": "v1", "kind": "Net", "name": "n3", "namespace": "upf"})
    );
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
    let resource = json!({
        "apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "mode": 644, "answer": "yes",
    });
    let expected = PluginAnswer {
        errors: Vec::new(),
        prepared: true,
        package: Some(Package::from_values([resource]).expect("a package")),
    };
    for text in [
        r#"{"prepared": true, "package": [{"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "mode": 644, "answer": "yes"}]}"#,
        "{prepared: true, package: [{apiVersion: v1, kind: A, metadata: {name: a}, mode: 0644, answer: yes}]}",
        "---\nprepared: true\nother: 1\npackage:\n- apiVersion: v1\n  kind: A\n  metadata: {name: a}\n  mode: 0644\n  answer: yes\n...\n",
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
        ("{prepared: true, package: [{}]}", "its package: resource 1"),
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

/// A package of three resources, and the document of a call with it.
fn sent() -> (Package, SentPackage) {
    let resource = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "A", "metadata": {"name": name},
            "text": "a \u{7f}\u{2028} \" \\ z", "float": 1e20, "nothing": null, "list": [1, {}],
        })
    };
    let package = Package::from_values(["a", "b", "c"].map(resource)).expect("a package");
    let resources = PackageResources(package.clone());
    let call = PluginCall {
        grpc: Grpc::default(),
        log_file: String::new(),
        log_address_port: String::new(),
        target_resource_identifier: Target::default(),
        input: Input::Prepare {
            deployment_id: "d1".to_owned(),
            deployment_package: resources.clone(),
        },
    };
    let document = call.encode().expect("encodes");
    (package, SentPackage::new(resources, document.into()))
}

#[test]
fn resources_that_come_back_as_they_were_sent_are_shared() {
    let (package, sent) = sent();
    let texts: Vec<String> = package
        .iter()
        .map(|resource| {
            let text = crate::json::to_vec(resource.value()).expect("encodes");
            String::from_utf8(text).expect("text")
        })
        .collect();
    let changed = texts[1].replace("null", "0");
    // In another order, with one changed, one missing and one new.
    let new = r#"{"apiVersion": "v1", "kind": "B", "metadata": {"name": "n"}}"#;
    let answer = format!(
        "{{\"prepared\": true, \"error\": null, \"package\": [{}, {changed},\n{new}]}}",
        texts[2]
    );
    let limits = Limits::default();
    let shared = PluginAnswer::decode_sharing(answer.as_bytes(), &sent, &limits).expect("valid");
    let plain = PluginAnswer::decode(answer.as_bytes(), &limits).expect("valid");
    assert_eq!(shared, plain);
    let shared = shared.package.expect("a package");
    assert_eq!(shared.len(), 3);
    assert!(Arc::ptr_eq(&shared.resources()[0], &package.resources()[2]));
    assert_eq!(shared.resources()[1].value()["nothing"], 0);
}

#[test]
fn sharing_changes_no_answer() {
    let (package, sent) = sent();
    let own = crate::json::to_vec(package.resources()[0].value()).expect("encodes");
    let own = String::from_utf8(own).expect("text");
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    for answer in [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        "{\"prepared\": true}".to_owned(),
        "{\"prepared\": 1, \"package\": []}".to_owned(),
        "{\"prepared\": true, \"package\": []}".to_owned(),
        "{\"prepared\": true, \"package\": null}".to_owned(),
        "{\"prepared\": true, \"package\": {}}".to_owned(),
        "{\"prepared\": true, \"package\": [null]}".to_owned(),
        "{\"prepared\": true, \"package\": [1, [{}]]}".to_owned(),
        "{\"prepared\": true, \"package\": [{}]}".to_owned(),
        "{\"prepared\": true, \"prepared\": true, \"package\": []}".to_owned(),
        "{\"prepared\": true, \"package\": [], \"error\": [\" no \", \"\"]}".to_owned(),
        "{\"prepared\": true, \"package\": [], \"error\": 1}".to_owned(),
        format!("{{\"prepared\": false, \"package\": [{own}]}}"),
        format!("{{\"prepared\": true, \"package\": [{own}]}}"),
        format!("{{\"prepared\": true, \"package\": [{own}], \"more\": {{}}}}"),
        format!("{{\"prepared\": true, \"package\": [{own}]}} {{}}"),
        format!("{{\"prepared\": true, \"package\": [{own}"),
        format!("{{prepared: true, package: [{own}]}}"),
        // The same resource twice, in the same and in different text.
        format!("{{\"prepared\": true, \"package\": [{own}, {own}]}}"),
        format!(
            "{{\"prepared\": true, \"package\": [{own}, {}]}}",
            own.replace("null", "0")
        ),
        // A key twice.
        format!(
            "{{\"prepared\": true, \"package\": [{}]}}",
            own.replace("\"text\"", "\"list\"")
        ),
        format!(
            "{{\"prepared\": true, \"package\": [{}]}}",
            own.replace("[1, {}]", &deep)
        ),
        format!(
            "{{\"prepared\": true, \"package\": [{}]}}",
            own.replace("1.0e+20", "1e999")
        ),
    ] {
        let text = |answer: Result<PluginAnswer, _>| match answer {
            Ok(answer) => format!("{answer:?}"),
            Err(error) => tko_core::error::chain(&error),
        };
        for limits in [
            Limits::default(),
            Limits::new().values(9),
            Limits::new().bytes(99),
        ] {
            let bytes = answer.as_bytes();
            let shared = text(PluginAnswer::decode_sharing(bytes, &sent, &limits));
            let plain = text(PluginAnswer::decode(bytes, &limits));
            // Resources that were sent do not count.
            if limits.values > 9 || !answer.contains(&own) {
                assert_eq!(shared, plain, "{answer}");
            }
        }
    }
}
