//! `set-labels`, `set-annotations` and `set-image`.

use super::{data, own, resource, run, with};
use serde_json::{Value, json};

#[test]
fn labels_reach_selectors_and_pods() {
    let resources = vec![
        resource("v1", "ConfigMap", "c"),
        with(
            resource("v1", "Service", "s"),
            "/spec",
            json!({"selector": {"app": "a"}}),
        ),
        with(
            resource("apps/v1", "Deployment", "d"),
            "/spec",
            json!({"selector": {"matchLabels": {"app": "a"}}, "template": {"metadata": {}}}),
        ),
        with(
            resource("policy/v1", "PodDisruptionBudget", "p"),
            "/spec",
            json!({"selector": {"matchLabels": {"app": "a"}}}),
        ),
        resource("policy/v1", "PodDisruptionBudget", "without"),
        with(
            resource("batch/v1", "CronJob", "j"),
            "/spec",
            json!({"jobTemplate": {}}),
        ),
    ];
    let config = data(json!({"fruit": "apple", "color": "orange"}));
    let set = run("set-labels:v0.2.0", config, resources).expect("succeeds");
    let both = json!({"color": "orange", "fruit": "apple"});
    for resource in &set {
        assert_eq!(resource["metadata"]["labels"], both);
    }
    let added = json!({"app": "a", "color": "orange", "fruit": "apple"});
    assert_eq!(set[1]["spec"]["selector"], added);
    assert_eq!(set[2]["spec"]["selector"]["matchLabels"], added);
    assert_eq!(set[2]["spec"]["template"]["metadata"]["labels"], both);
    assert_eq!(set[3]["spec"]["selector"]["matchLabels"], added);
    assert_eq!(set[4].get("spec"), None);
    let pods = "/spec/jobTemplate/spec/template/metadata/labels";
    assert_eq!(set[5].pointer(pods), Some(&both));
}

#[test]
fn additional_label_fields_are_of_early_versions() {
    let config = own(
        "SetLabels",
        json!({
            "labels": {"color": "orange"},
            "additionalLabelFields": [{"path": "data/selector", "kind": "MyOwnKind", "create": true}],
        }),
    );
    let resources = vec![resource("dev.example.com/v1", "MyOwnKind", "foo")];
    let set = run("set-labels:v0.1", config.clone(), resources.clone()).expect("succeeds");
    assert_eq!(set[0]["data"]["selector"], json!({"color": "orange"}));
    let error = run("set-labels:v0.2.0", config, resources).expect_err("deprecated");
    assert!(
        error.contains("additionalLabelFields is deprecated"),
        "{error}"
    );
}

#[test]
fn annotations_reach_pods_and_additional_fields() {
    let config = own(
        "SetAnnotations",
        json!({
            "annotations": {"color": "orange", "fruit": "apple"},
            "additionalAnnotationFields": [
                {"path": "data/selector/annotations", "kind": "MyOwnKind", "create": true},
            ],
        }),
    );
    let resources = vec![
        resource("dev.example.com/v1", "MyOwnKind", "foo"),
        resource("apps/v1", "StatefulSet", "s"),
    ];
    let set = run("set-annotations:v0.1.4", config, resources).expect("succeeds");
    let both = json!({"color": "orange", "fruit": "apple"});
    assert_eq!(set[0]["data"]["selector"]["annotations"], both);
    assert_eq!(set[1]["metadata"]["annotations"], both);
    assert_eq!(set[1]["spec"]["template"]["metadata"]["annotations"], both);
}

#[test]
fn images_change_in_all_containers_and_in_additional_fields() {
    let containers = json!([{"image": "nginx:1.20"}, {"image": "busybox"}]);
    let resources = vec![
        with(
            resource("apps/v1", "Deployment", "d"),
            "/spec",
            json!({"template": {"spec": {"containers": containers, "initContainers": [{"image": "nginx"}]}}}),
        ),
        with(
            resource("dev.example.com/v1", "MyKind", "m"),
            "/spec",
            json!({"manifest": {"images": [{"image": "nginx:1.20"}, {"image": "other"}]}}),
        ),
    ];
    let config = own(
        "SetImage",
        json!({
            "image": {"name": "nginx", "newName": "bitnami/nginx", "newTag": "1.21.4"},
            "additionalImageFields": [{
                "group": "dev.example.com", "version": "v1", "kind": "MyKind",
                "path": "spec/manifest/images[]/image", "create": false,
            }],
        }),
    );
    let set = run("set-image:v0.1.1", config, resources).expect("succeeds");
    let spec = &set[0]["spec"]["template"]["spec"];
    assert_eq!(spec["containers"][0]["image"], "bitnami/nginx:1.21.4");
    assert_eq!(spec["containers"][1]["image"], "busybox");
    assert_eq!(spec["initContainers"][0]["image"], "bitnami/nginx:1.21.4");
    assert_eq!(
        set[1]["spec"]["manifest"]["images"][0]["image"],
        "bitnami/nginx:1.21.4"
    );
    assert_eq!(set[1]["spec"]["manifest"]["images"][1]["image"], "other");
}

#[test]
fn images_need_a_name_and_one_change() {
    for (config, words) in [
        (json!({"newTag": "1"}), "name"),
        (
            json!({"name": "a"}),
            "newName, newTag and digest are missing",
        ),
        (
            json!({"name": "a", "newTag": "1", "digest": "sha256:1"}),
            "both newTag and digest",
        ),
        (json!({"name": "a", "tag": "1"}), "unknown field \"tag\""),
    ] {
        let error = run("set-image:v0.1.0", data(config), Vec::new()).expect_err("refused");
        assert!(error.contains(words), "{error}");
    }
}

/// The configurations of all functions that take paths of fields, with this path.
fn with_path(path: &str) -> [(&'static str, Value); 5] {
    let paths = json!([{"path": path, "kind": "ConfigMap", "create": true}]);
    let annotations = json!({"annotations": {"a": "b"}, "additionalAnnotationFields": paths});
    let labels = json!({"labels": {"a": "b"}, "additionalLabelFields": paths});
    let image = json!({"name": "nginx", "newTag": "2"});
    let image = json!({"image": image, "additionalImageFields": paths});
    let namespace = json!({"namespace": "n", "additionalNamespaceFields": paths});
    let name = json!({"substring": "dev-", "additionalNameFields": paths});
    [
        ("set-annotations:v0.1.4", own("SetAnnotations", annotations)),
        ("set-labels:v0.1", own("SetLabels", labels)),
        ("set-image:v0.1.1", own("SetImage", image)),
        ("set-namespace:v0.3", own("SetNamespace", namespace)),
        (
            "ensure-name-substring:v0.2.0",
            own("EnsureNameSubstring", name),
        ),
    ]
}

#[test]
fn paths_with_very_many_parts_are_refused() {
    let resources = || vec![resource("v1", "ConfigMap", "c")];
    for (function, config) in with_path(&format!("{}a", "a/".repeat(100_000))) {
        let error = run(function, config, resources()).expect_err("refused");
        assert!(error.contains("has more than 64 parts"), "{error}");
    }
    // An escaped slash ends no part.
    let longest = format!(r"{}a\/b", "a/".repeat(63));
    for (function, config) in with_path(&longest) {
        run(function, config, resources()).expect("succeeds");
    }
    let more = format!("a/{longest}");
    for (function, config) in with_path(&more) {
        assert!(run(function, config, resources()).is_err(), "{function}");
    }
}

#[test]
fn values_on_very_many_resources_are_limited() {
    let long = "x".repeat(1 << 20);
    let resources: Vec<Value> = (0..100)
        .map(|number| resource("v1", "ConfigMap", &format!("c{number}")))
        .collect();
    let config = |kind: &str, data: Value| (kind.to_owned(), super::data(data));
    for (function, config) in [
        config("set-annotations:v0.1.4", json!({"a": long})),
        config("set-namespace:v0.4.1", json!({"namespace": long})),
        config("set-namespace:v0.3", json!({"namespace": long})),
        config("ensure-name-substring:v0.2.0", json!({"append": long})),
    ] {
        let error = run(&function, config, resources.clone()).expect_err("refused");
        let words = "writes more than 33554432 bytes";
        assert!(error.contains(words), "{function}: {error}");
    }
}
