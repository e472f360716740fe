//! `set-namespace`.

use super::{data, own, resource, run, with};
use serde_json::{Value, json};

fn namespaces(resources: &[Value]) -> Vec<&str> {
    let texts = resources.iter().map(|resource| {
        let metadata = &resource["metadata"];
        metadata["namespace"].as_str().unwrap_or_default()
    });
    texts.collect()
}

#[test]
fn namespaced_resources_and_the_namespace_itself_move() {
    for version in ["v0.1", "v0.2.0", "v0.3", "v0.4.1", "v0.4", "latest"] {
        let resources = vec![
            resource("v1", "Namespace", "old"),
            with(
                resource("v1", "Service", "s"),
                "/metadata/namespace",
                json!("old"),
            ),
            resource("apps/v1", "Deployment", "d"),
            resource("rbac.authorization.k8s.io/v1", "ClusterRole", "c"),
            resource("example.com/v1", "Custom", "x"),
        ];
        let moved = run(
            &format!("set-namespace:{version}"),
            data(json!({"namespace": "new"})),
            resources,
        );
        let moved = moved.expect("succeeds");
        assert_eq!(moved[0]["metadata"]["name"], "new", "{version}");
        assert_eq!(
            namespaces(&moved[1..]),
            ["new", "new", "", "new"],
            "{version}"
        );
    }
}

#[test]
fn some_versions_leave_custom_resources_without_namespace_alone() {
    let resources = vec![
        resource("example.com/v1", "Custom", "x"),
        with(
            resource("example.com/v1", "Custom", "y"),
            "/metadata/namespace",
            json!("old"),
        ),
        resource("v1", "ConfigMap", "c"),
    ];
    for (version, expected) in [
        ("v0.4.1", ["new", "new", "new"]),
        ("v0.4.2", ["", "new", "new"]),
        ("v0.4.5", ["", "new", "new"]),
        ("v0.4.6", ["new", "new", "new"]),
    ] {
        let config = own("SetNamespace", json!({"namespace": "new"}));
        let moved = run(
            &format!("set-namespace:{version}"),
            config,
            resources.clone(),
        );
        assert_eq!(namespaces(&moved.expect("succeeds")), expected, "{version}");
    }
}

#[test]
fn the_package_context_names_the_namespace() {
    let mut context = data(json!({"name": "from-context"}));
    context["metadata"]["name"] = json!("kptfile.kpt.dev");
    let moved = run(
        "set-namespace:v0.4.1",
        context.clone(),
        vec![resource("v1", "ConfigMap", "c")],
    );
    assert_eq!(namespaces(&moved.expect("succeeds")), ["from-context"]);
    context["data"] = json!({});
    let error = run("set-namespace:v0.4.1", context, Vec::new()).expect_err("no name");
    assert!(error.contains("data.name is empty"), "{error}");
}

#[test]
fn references_to_namespaces_follow() {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "b"},
        "subjects": [
            {"kind": "ServiceAccount", "name": "a", "namespace": "old"},
            {"kind": "ServiceAccount", "name": "b"},
            {"kind": "User", "name": "u"},
        ],
    });
    let service = with(
        resource("apiregistration.k8s.io/v1", "APIService", "s"),
        "/spec",
        json!({"service": {"name": "s", "namespace": "old"}}),
    );
    let definition = with(
        resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "d"),
        "/spec",
        json!({"conversion": {"webhook": {"clientConfig": {"service": {"namespace": "old"}}}}}),
    );
    let bare = resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "e");
    let moved = run(
        "set-namespace:v0.4.1",
        data(json!({"namespace": "new"})),
        vec![binding, service, definition, bare.clone()],
    );
    let moved = moved.expect("succeeds");
    assert_eq!(moved[0]["subjects"][0]["namespace"], "new");
    assert_eq!(moved[0]["subjects"][1].get("namespace"), None);
    assert_eq!(moved[1]["spec"]["service"]["namespace"], "new");
    let service = "/spec/conversion/webhook/clientConfig/service/namespace";
    assert_eq!(moved[2].pointer(service), Some(&json!("new")));
    assert_eq!(moved[3], bare);
}

#[test]
fn depends_on_follows_and_local_configuration_stays() {
    let annotation = |name: &str, text: &str| json!({name: text});
    let first = with(
        resource("apps/v1", "Deployment", "first"),
        "/metadata/namespace",
        json!("old"),
    );
    let second = with(first.clone(), "/metadata/name", json!("second"));
    let depends = "config.kubernetes.io/depends-on";
    let second = with(
        second,
        "/metadata/annotations",
        annotation(depends, "apps/namespaces/old/Deployment/first"),
    );
    let local = with(
        resource("v1", "ConfigMap", "local"),
        "/metadata/annotations",
        annotation("config.kubernetes.io/local-config", "true"),
    );
    let config = data(json!({"namespace": "new"}));
    let moved = run(
        "set-namespace:v0.4.1",
        config,
        vec![first, second, local.clone()],
    );
    let moved = moved.expect("succeeds");
    assert_eq!(
        moved[1]["metadata"]["annotations"][depends],
        "apps/namespaces/new/Deployment/first"
    );
    assert_eq!(moved[2], local);
}

#[test]
fn several_upstream_namespaces_need_a_matcher() {
    let upstream = |name: &str, namespace: &str| {
        let text = format!("|ConfigMap|{namespace}|{name}");
        let annotations = json!({"internal.kpt.dev/upstream-identifier": text});
        let resource = with(
            resource("v1", "ConfigMap", name),
            "/metadata/annotations",
            annotations,
        );
        with(resource, "/metadata/namespace", json!(namespace))
    };
    let resources = vec![upstream("a", "one"), upstream("b", "two")];
    let config = data(json!({"namespace": "new"}));
    let error = run("set-namespace:v0.4.1", config, resources.clone()).expect_err("two origins");
    assert!(error.contains("one, two"), "{error}");
    let config = data(json!({"namespace": "new", "namespaceMatcher": "two"}));
    let moved = run("set-namespace:v0.4.1", config, resources).expect("one matches");
    assert_eq!(namespaces(&moved), ["one", "new"]);
}
