//! Discovery documents: the resources that the API serves, in the aggregated and in the older form.

use crate::resource::{API_VERSION, GROUP, RESOURCES, ResourceType, VERSION};
use serde_json::{Value, json};

/// The category of all resource types: `kubectl get tko`.
const CATEGORY: &str = "tko";

/// The verbs of objects.
const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// The verbs of subresources.
const SUBRESOURCE_VERBS: [&str; 3] = ["get", "patch", "update"];

/// `/apis` as `APIGroupDiscoveryList`.
pub(crate) fn aggregated() -> Value {
    let resources = RESOURCES.iter().map(|resource| {
        let kind = json!({"group": GROUP, "version": VERSION, "kind": resource.name});
        let subresources = resource.subresources().iter().map(|subresource| {
            json!({
                "subresource": subresource,
                "responseKind": kind,
                "verbs": SUBRESOURCE_VERBS,
            })
        });
        json!({
            "resource": resource.plural,
            "responseKind": kind,
            "scope": "Cluster",
            "singularResource": resource.singular,
            "verbs": VERBS,
            "categories": [CATEGORY],
            "subresources": subresources.collect::<Vec<_>>(),
        })
    });
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [{
            "metadata": {"name": GROUP},
            "versions": [{
                "version": VERSION,
                "resources": resources.collect::<Vec<_>>(),
                "freshness": "Current",
            }],
        }],
    })
}

/// `/api` as `APIGroupDiscoveryList`: the core group is not served.
pub(crate) fn aggregated_core() -> Value {
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [],
    })
}

/// `/api`.
pub(crate) fn core_versions() -> Value {
    json!({
        "kind": "APIVersions",
        "apiVersion": "v1",
        "versions": [],
        "serverAddressByClientCIDRs": [],
    })
}

/// `/apis`.
pub(crate) fn groups() -> Value {
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group_entry()]})
}

/// `/apis/GROUP`.
pub(crate) fn group() -> Value {
    let mut group = group_entry();
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    group
}

fn group_entry() -> Value {
    let version = json!({"groupVersion": API_VERSION, "version": VERSION});
    json!({"name": GROUP, "versions": [version], "preferredVersion": version})
}

/// `/apis/GROUP/VERSION`.
pub(crate) fn resources() -> Value {
    let entries = RESOURCES.iter().flat_map(entries);
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": API_VERSION,
        "resources": entries.collect::<Vec<_>>(),
    })
}

fn entries(resource: &'static ResourceType) -> impl Iterator<Item = Value> {
    let main = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": false,
        "kind": resource.name,
        "verbs": VERBS,
        "categories": [CATEGORY],
    });
    let subresources = resource.subresources().iter().map(|subresource| {
        json!({
            "name": format!("{}/{subresource}", resource.plural),
            "singularName": "",
            "namespaced": false,
            "kind": resource.name,
            "verbs": SUBRESOURCE_VERBS,
        })
    });
    std::iter::once(main).chain(subresources)
}

/// `/version`. The version is that of the Kubernetes API whose conventions the server follows.
pub(crate) fn version() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "gitVersion": concat!("v1.36.0+tko.", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": concat!("tko/", env!("CARGO_PKG_VERSION")),
    })
}
