//! Renders the files of one deployment.

use super::names;
use crate::apply::to_apply;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use tko_core::{Format, Package, Resource, encoding};

/// One file of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ManifestFile {
    pub(super) text: Vec<u8>,
    /// Whether it contains a Secret, which only the owner of the file may read.
    pub(super) is_secret: bool,
}

/// The files of a package, by name: one for each resource. Names sort in the order of application.
///
/// The annotations of TKO are left out, because they mean nothing to a cluster.
pub(super) fn files(package: &Package) -> BTreeMap<String, ManifestFile> {
    let resources = to_apply(package);
    let mut named: Vec<(String, _)> = Vec::with_capacity(resources.len());
    let mut uses: HashMap<String, u32> = HashMap::new();
    for (phase, resource) in resources {
        let readable = names::readable(resource.identifier());
        let name = format!("{}-{readable}", phase.prefix());
        *uses.entry(name.clone()).or_default() += 1;
        named.push((name, resource));
    }
    let mut files = BTreeMap::new();
    for (mut name, resource) in named {
        let shared = uses.get(&name).is_some_and(|uses| *uses > 1);
        if shared || name.len() > names::MAX_NAME - EXTENSION.len() {
            let hash = names::distinct(resource.identifier(), 16);
            name.truncate(names::MAX_NAME - EXTENSION.len() - hash.len() - 1);
            name.push('-');
            name.push_str(&hash);
        }
        name.push_str(EXTENSION);
        if files.contains_key(&name) {
            // The readable name of another resource equals this name with the hash.
            let prefix = name.split('-').next().unwrap_or_default();
            let hash = names::distinct(resource.identifier(), 64);
            name = format!("{prefix}-{hash}{EXTENSION}");
        }
        let gvk = resource.gvk();
        let file = ManifestFile {
            text: encoding::encode([&without_annotations(resource)], Format::Yaml),
            is_secret: gvk.group.is_empty() && &*gvk.kind == "Secret",
        };
        files.insert(name, file);
    }
    files
}

/// The content of a resource without the annotations of TKO.
pub(super) fn without_annotations(resource: &Resource) -> Value {
    let mut content = resource.value().clone();
    if let Some(metadata) = content.get_mut("metadata").and_then(Value::as_object_mut) {
        let mut is_empty = false;
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            let count = annotations.len();
            annotations.retain(|name, _| !name.starts_with("nephio.org/"));
            is_empty = annotations.is_empty() && count > 0;
        }
        if is_empty {
            metadata.remove("annotations");
        }
    }
    content
}

const EXTENSION: &str = ".yaml";

#[cfg(test)]
mod tests {
    use super::files;
    use crate::manifests::names::MAX_NAME;
    use serde_json::{Value, json};
    use tko_core::Package;

    fn names(values: Vec<Value>) -> Vec<String> {
        let package = Package::from_values(values).expect("distinct resources");
        files(&package).into_keys().collect()
    }

    fn resource(api: &str, kind: &str, namespace: &str, name: &str) -> Value {
        json!({"apiVersion": api, "kind": kind, "metadata": {"namespace": namespace, "name": name}})
    }

    #[test]
    fn names_consist_of_phase_kind_namespace_and_name() {
        let found = names(vec![
            resource("apps/v1", "Deployment", "core", "UPF_1"),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "core"}}),
            resource("v1", "ConfigMap", "core", "../../x"),
        ]);
        let expected = [
            "010-namespace-core.yaml",
            "030-configmap-core-.._.._x.yaml",
            "030-deployment-core-upf_1.yaml",
        ];
        assert_eq!(found, expected);
    }

    /// O20, O18: a cluster does not get the annotations of TKO; Secrets are marked.
    #[test]
    fn annotations_of_tko_stay_here_and_secrets_are_known() {
        let mut secret = resource("v1", "Secret", "a", "s");
        secret["metadata"]["annotations"] = json!({"nephio.org/merge": "Override"});
        let mut config = resource("v1", "ConfigMap", "a", "c");
        config["metadata"]["annotations"] = json!({"nephio.org/prepared": "true", "x/y": "z"});
        let package = Package::from_values(vec![secret, config]).expect("distinct");
        let files = files(&package);
        let text = |name: &str| String::from_utf8(files[name].text.clone()).expect("text");
        assert!(files["030-secret-a-s.yaml"].is_secret);
        assert!(!files["030-configmap-a-c.yaml"].is_secret);
        assert!(!text("030-secret-a-s.yaml").contains("annotations"));
        let config = text("030-configmap-a-c.yaml");
        assert!(
            config.contains("x/y") && !config.contains("nephio"),
            "{config}"
        );
    }

    #[test]
    fn resources_with_the_same_readable_name_get_distinct_files() {
        let found = names(vec![
            resource("v1", "ConfigMap", "a", "b-c"),
            resource("v1", "ConfigMap", "a-b", "c"),
            resource("v1", "ConfigMap", "a", "d"),
            resource("v1", "ConfigMap", "a", "D"),
            resource("v1", "ConfigMap", "a", &"long".repeat(100)),
        ]);
        assert_eq!(found.len(), 5);
        assert!(found.iter().all(|name| name.len() <= MAX_NAME), "{found:?}");
        let same = found
            .iter()
            .filter(|name| name.starts_with("030-configmap-a-b-c-"));
        assert_eq!(same.count(), 2, "{found:?}");
    }
}
