//! What packages give as metadata.

use super::{METADATA_GROUP, Metadata};
use crate::annotation::{self, METADATA, When};
use crate::package::Package;
use serde_json::Value;
use std::collections::BTreeMap;

impl Metadata {
    /// What a package gives: for each leaf of `spec` of each resource of [`METADATA_GROUP`] that
    /// is to be gathered here, the key is the kind, a dot, and the path joined with dots; the
    /// value is the leaf as text. Of two that give one key the later counts.
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

/// A leaf as text: `true`, `false`, integers in decimal, floats as their shortest decimal (1.0
/// gives `1`), a list as JSON. Null, and a map, give nothing.
pub fn leaf_text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null | Value::Object(_) => return None,
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => number.as_f64()?.to_string(),
        other => other.to_string(),
    })
}
