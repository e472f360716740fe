//! Gathering metadata from packages.

use super::{METADATA_GROUP, Metadata};
use crate::annotation::{self, METADATA, When};
use crate::error::Result;
use crate::limits;
use crate::package::Package;
use serde_json::{Map, Value};
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
    /// let metadata = Metadata::gather(&package)?;
    /// assert_eq!(metadata.get("NetworkFunction.ports.n3"), Some("2152"));
    /// # Ok::<(), tko_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`BadArgument`](crate::Error::BadArgument): a key is longer than [`MAX_METADATA_KEY`] or begins
    /// with [`RESERVED`](super::RESERVED), or there are more than [`MAX_METADATA_KEYS`].
    ///
    /// [`MAX_METADATA_KEY`]: crate::limits::MAX_METADATA_KEY
    /// [`MAX_METADATA_KEYS`]: crate::limits::MAX_METADATA_KEYS
    pub fn gather(package: &Package) -> Result<Self> {
        let mut found = BTreeMap::new();
        let mut path = String::new();
        for resource in package {
            let gathered = &*resource.gvk().group == METADATA_GROUP
                && matches!(
                    annotation::when(resource, METADATA),
                    None | Some(When::Here)
                );
            if let (true, Some(Value::Object(spec))) = (gathered, resource.value().get("spec")) {
                path.clear();
                path.push_str(&resource.gvk().kind);
                leaves(spec, &mut path, &mut found)?;
            }
        }
        Ok(found.into_iter().collect())
    }
}

/// Adds the leaves of a map to `into`, each with its path below `path`.
///
/// A leaf is anything but a map, so a list is one leaf. Null and empty maps add nothing. A later
/// value replaces an earlier one with the same path.
///
/// The limits are checked for each leaf, because a long key above many leaves is copied for each of
/// them.
fn leaves(
    map: &Map<String, Value>,
    path: &mut String,
    into: &mut BTreeMap<String, String>,
) -> Result<()> {
    let length = path.len();
    for (key, value) in map {
        path.push('.');
        path.push_str(key);
        if let Value::Object(map) = value {
            leaves(map, path, into)?;
        } else if let Some(text) = leaf_text(value) {
            into.insert(path.clone(), text);
            limits::check_gathered(path, into.len())?;
        }
        path.truncate(length);
    }
    Ok(())
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
