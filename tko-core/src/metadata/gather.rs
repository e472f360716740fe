//! Gathering metadata from packages.

use super::{METADATA_GROUP, Metadata};
use crate::annotation::{self, METADATA, When};
use crate::package::Package;
use serde_json::Value;
use std::collections::BTreeMap;

impl Metadata {
    /// Gathers the metadata of a package from its resources of the group [`METADATA_GROUP`].
    ///
    /// Each leaf of a resource's `spec` becomes one pair. The key is the kind, a dot, and the path,
    /// joined by dots; the value is the [text of the leaf](leaf_text). If a key has several values,
    /// the last one wins. Resources with the annotation `nephio.org/metadata` other than `Here` are
    /// skipped.
    ///
    /// ```
    /// use serde_json::json;
    /// use tko_core::{Metadata, Package};
    ///
    /// let package = Package::from_values([json!({
    ///     "apiVersion": "metadata.nephio.org/v1alpha1",
    ///     "kind": "NetworkFunction",
    ///     "metadata": {"name": "nf"},
    ///     "spec": {"type": "UPF", "ports": {"n3": 2152}},
    /// })])?;
    /// let metadata = Metadata::gather(&package);
    /// assert_eq!(metadata.get("NetworkFunction.ports.n3"), Some("2152"));
    /// # Ok::<(), tko_core::Error>(())
    /// ```
    pub fn gather(package: &Package) -> Self {
        let mut found = BTreeMap::new();
        for resource in package {
            let gathered = &*resource.gvk().group == METADATA_GROUP
                && matches!(
                    annotation::when(resource, METADATA),
                    None | Some(When::Here)
                );
            if let (true, Some(Value::Object(spec))) = (gathered, resource.value().get("spec")) {
                for (key, value) in spec {
                    leaves(format!("{}.{key}", resource.gvk().kind), value, &mut found);
                }
            }
        }
        found.into_iter().collect()
    }
}

/// Adds the leaves of a value to `into`, each with its path below `path`.
///
/// A leaf is anything but a map, so a list is one leaf. Null and empty maps add nothing. A later
/// value replaces an earlier one with the same path.
fn leaves(path: String, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                leaves(format!("{path}.{key}"), value, into);
            }
        }
        leaf => {
            if let Some(text) = leaf_text(leaf) {
                into.insert(path, text);
            }
        }
    }
}

/// Converts a leaf to text: `true`, `false`, integers in decimal, floats as the shortest decimal
/// (1.0 becomes `1`), and lists as JSON. Null and maps become `None`.
pub fn leaf_text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null | Value::Object(_) => return None,
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => number.as_f64()?.to_string(),
        other => other.to_string(),
    })
}
