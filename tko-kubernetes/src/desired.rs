//! The desired objects of a site, in the form in which they are applied.

use crate::client::ClusterClient;
use crate::failure::RequestFailure;
use crate::kinds::{GroupKind, ServedKind, is_name};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use tko_core::{ContentHash, Package, Resource};
use tko_scheduler::apply::{Phase, to_apply};

/// The characters of a hash that are kept.
const HASH: usize = 32;

/// Fields of `metadata` that only the API server writes.
const SERVER_FIELDS: [&str; 8] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Identifies an object in a cluster, in any version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectKey {
    pub(crate) kind: GroupKind,
    /// Empty for a cluster-scoped object.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = &self.kind;
        match self.namespace.as_str() {
            "" => write!(f, "{kind} {}", self.name),
            namespace => write!(f, "{kind} {namespace}/{}", self.name),
        }
    }
}

/// A resource of a package, before the cluster is known.
#[derive(Clone, Debug)]
pub(crate) struct WantedResource {
    pub(crate) phase: Phase,
    pub(crate) resource: Arc<Resource>,
    /// The deployment that it belongs to, or the site.
    pub(crate) owner: String,
}

/// An object to apply.
#[derive(Clone, Debug)]
pub(crate) struct DesiredObject {
    pub(crate) key: ObjectKey,
    pub(crate) phase: Phase,
    pub(crate) served: ServedKind,
    /// The object without the labels and annotations that TKO adds.
    pub(crate) body: Value,
    pub(crate) hash: String,
    pub(crate) owner: String,
}

impl DesiredObject {
    pub(crate) fn path(&self) -> String {
        let namespace = (!self.key.namespace.is_empty()).then_some(self.key.namespace.as_str());
        self.served.path(namespace, Some(&self.key.name))
    }

    /// Whether it defines custom resources.
    pub(crate) fn is_definition(&self) -> bool {
        self.key.kind.kind == "CustomResourceDefinition"
            && self.key.kind.group == "apiextensions.k8s.io"
    }
}

/// The resources of packages for clusters.
pub(crate) fn wanted_resources<'a>(
    packages: impl Iterator<Item = (String, &'a Package)>,
) -> Vec<WantedResource> {
    let mut all = Vec::new();
    for (owner, package) in packages {
        let resources = to_apply(package).into_iter();
        all.extend(resources.map(|(phase, resource)| WantedResource {
            phase,
            resource: resource.clone(),
            owner: owner.clone(),
        }));
    }
    // Stable: within a phase in the order of deployments and packages.
    all.sort_by_key(|one| one.phase);
    all
}

/// Why a resource cannot be an object of the cluster.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// The cluster does not serve the kind.
    UnknownKind,
    /// The resource cannot be applied anywhere.
    Invalid(String),
    /// The cluster could not be asked.
    Failed(RequestFailure),
}

/// Makes the object of a resource.
pub(crate) async fn desired(
    wanted: &WantedResource,
    client: &ClusterClient,
    namespace: &str,
) -> Result<DesiredObject, Unfit> {
    let gvk = wanted.resource.gvk();
    let served = client
        .kind(&gvk.group, &gvk.version, &gvk.kind)
        .await
        .map_err(Unfit::Failed)?
        .ok_or(Unfit::UnknownKind)?;
    let mut body = wanted.resource.value().clone();
    let Some(map) = body.as_object_mut() else {
        return Err(Unfit::Invalid("is not a map".to_owned()));
    };
    clean(map).map_err(Unfit::Invalid)?;
    let metadata = tko_core::resource::map_in(map, "metadata");
    let text = |metadata: &Map<String, Value>, field: &str| {
        let value = metadata.get(field).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let name = text(metadata, "name");
    if !is_name(&name) {
        let message = format!("{name:?} is not a name that Kubernetes allows");
        return Err(Unfit::Invalid(message));
    }
    let mut own = text(metadata, "namespace");
    if served.namespaced {
        if own.is_empty() {
            namespace.clone_into(&mut own);
            metadata.insert("namespace".to_owned(), Value::from(namespace));
        }
        if !is_name(&own) {
            let message = format!("{own:?} is not a namespace that Kubernetes allows");
            return Err(Unfit::Invalid(message));
        }
    } else {
        metadata.remove("namespace");
        own.clear();
    }
    let mut hash = ContentHash::of(&body).to_string();
    hash.truncate(HASH);
    Ok(DesiredObject {
        key: ObjectKey {
            kind: GroupKind {
                group: gvk.group.to_string(),
                kind: gvk.kind.to_string(),
            },
            namespace: own,
            name,
        },
        phase: wanted.phase,
        served,
        body,
        hash,
        owner: wanted.owner.clone(),
    })
}

/// Removes the fields of the server, and converts a Secret's `stringData` to `data` as the server
/// does: nobody can own `stringData`.
fn clean(map: &mut Map<String, Value>) -> Result<(), String> {
    map.remove("status");
    let is_secret = map.get("kind").and_then(Value::as_str) == Some("Secret")
        && map.get("apiVersion").and_then(Value::as_str) == Some("v1");
    let metadata = tko_core::resource::map_in(map, "metadata");
    for field in SERVER_FIELDS {
        metadata.remove(field);
    }
    if is_secret && let Some(Value::Object(texts)) = map.remove("stringData") {
        let data = tko_core::resource::map_in(map, "data");
        for (name, value) in texts {
            let Value::String(text) = value else {
                return Err(format!("stringData.{name} is not text"));
            };
            data.insert(name, Value::from(STANDARD.encode(text)));
        }
    }
    Ok(())
}

/// Keeps only the last object of each key.
pub(crate) fn distinct(objects: Vec<DesiredObject>) -> Vec<DesiredObject> {
    let mut last = HashMap::new();
    for (at, object) in objects.iter().enumerate() {
        last.insert(object.key.clone(), at);
    }
    let kept = objects.into_iter().enumerate();
    kept.filter(|(at, object)| last.get(&object.key) == Some(at))
        .map(|(_, object)| object)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{clean, wanted_resources};
    use serde_json::json;
    use tko_core::Package;

    #[test]
    fn what_belongs_to_the_server_is_not_applied() {
        let mut value = json!({
            "apiVersion": "v1", "kind": "Secret", "status": {"phase": "x"},
            "metadata": {"name": "a", "uid": "1", "resourceVersion": "7", "creationTimestamp": null},
            "data": {"b": "Yg=="}, "stringData": {"a": "text"},
        });
        clean(value.as_object_mut().expect("a map")).expect("it is valid");
        let expected = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"},
            "data": {"b": "Yg==", "a": "dGV4dA=="},
        });
        assert_eq!(value, expected);
        let mut wrong = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"a": 1}});
        assert!(clean(wrong.as_object_mut().expect("a map")).is_err());
    }

    #[test]
    fn foundations_of_all_deployments_come_first() {
        let package = |name: &str| {
            let resource = |api: &str, kind: &str| json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}});
            let resources = vec![resource("v1", "ConfigMap"), resource("v1", "Namespace")];
            Package::from_values(resources).expect("a package")
        };
        let (a, b) = (package("a"), package("b"));
        let both = [("a".to_owned(), &a), ("b".to_owned(), &b)];
        let order: Vec<String> = wanted_resources(both.into_iter())
            .iter()
            .map(|one| one.resource.identifier().to_string())
            .collect();
        assert_eq!(
            order,
            ["Namespace a", "Namespace b", "ConfigMap a", "ConfigMap b"]
        );
    }
}
