//! `ensure-name-substring` and `upsert-resource`.

use super::{data, own, resource, run, with};
use serde_json::json;

#[test]
fn names_get_the_substring_and_references_follow() {
    let pod = json!({
        "containers": [{
            "env": [{"valueFrom": {"secretKeyRef": {"name": "secret", "key": "k"}}}],
            "envFrom": [{"configMapRef": {"name": "config"}}],
        }],
        "volumes": [{"configMap": {"name": "config"}}, {"configMap": {"name": "elsewhere"}}],
        "serviceAccountName": "account",
    });
    let resources = vec![
        resource("v1", "ConfigMap", "config"),
        resource("v1", "Secret", "dev-secret"),
        resource("v1", "ServiceAccount", "account"),
        resource("v1", "Namespace", "space"),
        with(
            resource("apps/v1", "Deployment", "app"),
            "/spec",
            json!({"template": {"spec": pod}}),
        ),
        with(
            resource("autoscaling/v2", "HorizontalPodAutoscaler", "scaler"),
            "/spec",
            json!({"scaleTargetRef": {"kind": "Deployment", "name": "app"}}),
        ),
        with(
            resource("rbac.authorization.k8s.io/v1", "RoleBinding", "binding"),
            "/subjects",
            json!([{"kind": "ServiceAccount", "name": "account"}, {"kind": "User", "name": "app"}]),
        ),
        resource("kpt.dev/v1", "Kptfile", "package"),
        with(
            resource("rbac.authorization.k8s.io/v1", "ClusterRole", "reader"),
            "/rules",
            json!([{"resources": ["configmaps"], "resourceNames": ["config", "other"]}]),
        ),
    ];
    let config = data(json!({"prepend": "dev-"}));
    let set = run("ensure-name-substring:v0.1.1", config.clone(), resources).expect("succeeds");
    let names: Vec<_> = set
        .iter()
        .map(|resource| resource["metadata"]["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            Some("dev-config"),
            Some("dev-secret"),
            Some("dev-account"),
            Some("space"),
            Some("dev-app"),
            Some("dev-scaler"),
            Some("dev-binding"),
            Some("package"),
            Some("dev-reader"),
        ]
    );
    let pod = &set[4]["spec"]["template"]["spec"];
    assert_eq!(
        pod["containers"][0]["envFrom"][0]["configMapRef"]["name"],
        "dev-config"
    );
    assert_eq!(
        pod["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["name"],
        "secret"
    );
    assert_eq!(pod["volumes"][0]["configMap"]["name"], "dev-config");
    assert_eq!(pod["volumes"][1]["configMap"]["name"], "elsewhere");
    assert_eq!(pod["serviceAccountName"], "dev-account");
    assert_eq!(set[5]["spec"]["scaleTargetRef"]["name"], "dev-app");
    assert_eq!(set[6]["subjects"][0]["name"], "dev-account");
    assert_eq!(set[6]["subjects"][1]["name"], "app");
    let names = &set[8]["rules"][0]["resourceNames"];
    assert_eq!(*names, json!(["dev-config", "other"]));
    // A second run changes nothing.
    let again = run("ensure-name-substring:v0.1.1", config, set.clone()).expect("succeeds");
    assert_eq!(again, set);
}

#[test]
fn a_suffix_and_additional_fields_come_from_the_own_kind() {
    let config = own(
        "EnsureNameSubstring",
        json!({
            "substring": "-prod",
            "editMode": "append",
            "additionalNameFields": [{"path": "spec/name", "kind": "MyOwnResource"}],
        }),
    );
    let resources = vec![with(
        resource("a.b/v1", "MyOwnResource", "x"),
        "/spec",
        json!({"name": "y"}),
    )];
    let set = run("ensure-name-substring:v0.2.0", config, resources).expect("succeeds");
    assert_eq!(set[0]["metadata"]["name"], "x-prod");
    assert_eq!(set[0]["spec"]["name"], "y-prod");
    for wrong in [
        json!({}),
        json!({"prepend": "a", "append": "b"}),
        json!({"before": "a"}),
    ] {
        assert!(run("ensure-name-substring:v0.1", data(wrong), Vec::new()).is_err());
    }
}

#[test]
fn a_resource_is_replaced_by_identity_or_added() {
    let service = |name: &str, app: &str| {
        let service = with(
            resource("v1", "Service", name),
            "/metadata/namespace",
            json!("mySpace"),
        );
        with(service, "/spec", json!({"selector": {"app": app}}))
    };
    let old = with(
        service("myService", "foo"),
        "/metadata/annotations",
        json!({"internal.config.kubernetes.io/path": "service.yaml"}),
    );
    let resources = vec![old, resource("apps/v1", "Deployment", "d")];
    let mut new = service("myService", "bar");
    new["metadata"]["annotations"] = json!({"config.kubernetes.io/local-config": "true"});
    let set = run("upsert-resource:v0.2.0", new, resources.clone()).expect("succeeds");
    assert_eq!(set.len(), 2);
    assert_eq!(set[0]["spec"]["selector"]["app"], "bar");
    assert_eq!(
        set[0]["metadata"]["annotations"],
        json!({"internal.config.kubernetes.io/path": "service.yaml"})
    );
    let added = run(
        "upsert-resource:v0.1",
        service("myService2", "bar"),
        resources.clone(),
    );
    let added = added.expect("succeeds");
    assert_eq!(added[..2], resources[..]);
    assert_eq!(added[2], service("myService2", "bar"));
}
