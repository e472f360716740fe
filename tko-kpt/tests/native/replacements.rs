//! `apply-replacements`.

use super::{own, resource, run, with};
use serde_json::{Value, json};

fn replace(replacements: Value, resources: Vec<Value>) -> Result<Vec<Value>, String> {
    replace_as("v0.1.2", replacements, resources)
}

fn replace_as(
    version: &str,
    replacements: Value,
    resources: Vec<Value>,
) -> Result<Vec<Value>, String> {
    let config = own("ApplyReplacements", json!({"replacements": replacements}));
    run(&format!("apply-replacements:{version}"), config, resources)
}

#[test]
fn early_versions_skip_targets_that_are_not_there() {
    let resources = vec![resource("v1", "ConfigMap", "a")];
    let replacements = json!([{
        "source": {"name": "a"},
        "targets": [{"select": {"name": "a"}, "fieldPaths": ["data.x", "metadata.name"]}],
    }]);
    let set = replace_as("v0.1.1", replacements.clone(), resources.clone());
    assert_eq!(set.expect("succeeds"), resources);
    assert!(replace_as("v0.1.2", replacements, resources).is_err());
}

#[test]
fn a_whole_specification_is_copied() {
    let spec = json!({
        "containers": [{"image": "busybox", "name": "myapp-container"}],
        "restartPolicy": "OnFailure",
    });
    let resources = vec![
        resource("batch/v1", "Job", "hello"),
        with(resource("v1", "Pod", "my-pod"), "/spec", spec.clone()),
    ];
    let set = replace(
        json!([{
            "source": {"kind": "Pod", "name": "my-pod", "fieldPath": "spec"},
            "targets": [{
                "select": {"name": "hello", "kind": "Job"},
                "fieldPaths": ["spec.template.spec"],
                "options": {"create": true},
            }],
        }]),
        resources,
    );
    assert_eq!(set.expect("succeeds")[0]["spec"]["template"]["spec"], spec);
}

#[test]
fn parts_of_texts_are_replaced() {
    // As the packages of Nephio do it.
    let resources = vec![
        with(
            resource(
                "infra.nephio.org/v1alpha1",
                "WorkloadCluster",
                "workload-cluster",
            ),
            "/spec",
            json!({"clusterName": "edge01"}),
        ),
        with(
            resource("req.nephio.org/v1alpha1", "Interface", "n3"),
            "/metadata/annotations",
            json!({"specializer.nephio.org/owner": "workload.nephio.org/v1alpha1.NFDeployment.upf-example"}),
        ),
        resource(
            "workload.nephio.org/v1alpha1",
            "NFDeployment",
            "upf-example",
        ),
    ];
    let options = json!({"delimiter": "-", "index": 1});
    let set = replace(
        json!([{
            "source": {"kind": "WorkloadCluster", "name": "workload-cluster", "fieldPath": "spec.clusterName"},
            "targets": [
                {"select": {"kind": "NFDeployment"}, "fieldPaths": ["metadata.name"], "options": options},
                {
                    "select": {"kind": "Interface"},
                    "fieldPaths": ["metadata.annotations.[specializer.nephio.org/owner]"],
                    "options": options,
                },
            ],
        }]),
        resources,
    );
    let set = set.expect("succeeds");
    assert_eq!(set[2]["metadata"]["name"], "upf-edge01");
    assert_eq!(
        set[1]["metadata"]["annotations"]["specializer.nephio.org/owner"],
        "workload.nephio.org/v1alpha1.NFDeployment.upf-edge01"
    );
}

#[test]
fn scalars_keep_their_type_and_sources_may_be_parts() {
    let resources = vec![
        with(
            resource("v1", "ConfigMap", "c"),
            "/data",
            json!({"address": "host:8080"}),
        ),
        with(
            resource("a.b/v1", "X", "x"),
            "/spec",
            json!({"port": 1, "text": "t", "list": [{"name": "a", "v": 0}]}),
        ),
    ];
    let source = json!({
        "kind": "ConfigMap", "fieldPath": "data.address",
        "options": {"delimiter": ":", "index": 1},
    });
    let paths = json!(["spec.port", "spec.text", "spec.list.[name=a].v"]);
    let set = replace(
        json!([{"source": source, "targets": [{"select": {"kind": "X"}, "fieldPaths": paths}]}]),
        resources,
    );
    let spec = &set.expect("succeeds")[1]["spec"];
    assert_eq!(
        *spec,
        json!({"port": 8080, "text": "8080", "list": [{"name": "a", "v": 8080}]})
    );
}

#[test]
fn rejected_and_unselected_resources_stay() {
    let labelled = |name: &str, tier: &str| {
        with(
            resource("v1", "ConfigMap", name),
            "/metadata/labels",
            json!({"tier": tier}),
        )
    };
    let resources = vec![
        with(labelled("source", "x"), "/data", json!({"v": "1"})),
        with(labelled("a", "web"), "/data", json!({"v": "0"})),
        with(labelled("b", "web"), "/data", json!({"v": "0"})),
        with(labelled("c", "db"), "/data", json!({"v": "0"})),
    ];
    let set = replace(
        json!([{
            "source": {"name": "source", "fieldPath": "data.v"},
            "targets": [{
                "select": {"kind": "ConfigMap", "labelSelector": "tier in (web, app)"},
                "reject": [{"name": "b"}],
                "fieldPaths": ["data.v"],
            }],
        }]),
        resources,
    );
    let set = set.expect("succeeds");
    let values: Vec<_> = set
        .iter()
        .map(|resource| resource["data"]["v"].as_str())
        .collect();
    assert_eq!(values, [Some("1"), Some("1"), Some("0"), Some("0")]);
}

#[test]
fn what_is_not_there_is_an_error_that_names_it() {
    let resources = vec![
        resource("v1", "ConfigMap", "a"),
        resource("v1", "ConfigMap", "b"),
    ];
    let target = json!([{"select": {"name": "b"}, "fieldPaths": ["data.x"]}]);
    for (source, words) in [
        (
            json!({"kind": "Secret"}),
            "no resource matches its source (kind Secret)",
        ),
        (
            json!({"kind": "ConfigMap"}),
            "several resources match its source",
        ),
        (
            json!({"name": "a", "fieldPath": "data.y"}),
            "ConfigMap a has no field data.y",
        ),
        (json!({"name": "a"}), "ConfigMap b: data.x is not there"),
    ] {
        let error = replace(
            json!([{"source": source, "targets": target}]),
            resources.clone(),
        );
        let error = error.expect_err("refused");
        assert!(error.contains(words), "{error}");
    }
}

/// A replacement of a field of the only resource by another one.
fn copy(from: &str, to: &str, options: Value) -> Value {
    json!({
        "source": {"name": "c", "fieldPath": from},
        "targets": [{"select": {"name": "c"}, "fieldPaths": [to], "options": options}],
    })
}

#[test]
fn values_that_grow_with_every_replacement_are_refused() {
    let resources = || {
        let data = json!({"v": "ab"});
        vec![with(resource("v1", "ConfigMap", "c"), "/data", data)]
    };
    let doubling = copy("data.v", "data.v", json!({"delimiter": "|", "index": -1}));
    let nesting = copy("data", "data.x", json!({"create": true}));
    let text = "x".repeat(1 << 20);
    let paths: Vec<String> = (0..100).map(|number| format!("data.f{number}")).collect();
    let target = json!({
        "select": {"name": "c"}, "fieldPaths": paths, "options": {"create": true},
    });
    let copies = json!({"sourceValue": text, "targets": [target]});
    let encoded = copy("data.v", "data.v", json!({"encoding": "base64"}));
    for (replacements, words) in [
        (vec![doubling; 40], "becomes longer than 1 MiB"),
        (vec![nesting; 10_000], "more than 100 levels"),
        (vec![copies], "writes more than 33554432 bytes"),
        (vec![encoded; 100], "becomes longer than 1 MiB"),
    ] {
        let error = replace(json!(replacements), resources()).expect_err("refused");
        assert!(error.contains(words), "{error}");
    }
}
