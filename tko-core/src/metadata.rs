//! Metadata: indexed strings to query and select by, gathered from packages.

use crate::annotation::{self, METADATA, When};
use crate::package::Package;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

/// The API group of resources that give metadata.
pub const METADATA_GROUP: &str = "metadata.nephio.org";

/// Keys that start with this are TKO's own bookkeeping, such as what a deployment waits for.
pub const RESERVED: &str = "nephio.org/";

/// A map of strings, in the byte order of its keys. Cloning copies a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata(Arc<BTreeMap<String, String>>);

impl Default for Metadata {
    /// Empty; all that are made so share their memory.
    fn default() -> Self {
        static EMPTY: LazyLock<Arc<BTreeMap<String, String>>> = LazyLock::new(Arc::default);
        Self(EMPTY.clone())
    }
}

impl Metadata {
    /// Sets one value.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) {
        Arc::make_mut(&mut self.0).insert(key.into(), value.into());
    }

    /// Whether another has the same memory: for pools that keep one copy of what is equal.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Keeps what `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        if self.0.iter().any(|(key, value)| !keep(key, value)) {
            Arc::make_mut(&mut self.0).retain(|key, value| keep(key, value));
        }
    }

    /// These, with `over` on top. Shares its memory with one of the two where that says it all.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        if over.is_empty() || Arc::ptr_eq(&self.0, &over.0) {
            return self.clone();
        }
        if self.is_empty() {
            return over.clone();
        }
        if over.iter().all(|(key, value)| self.get(key) == Some(value)) {
            return self.clone();
        }
        let mut both = self.clone();
        Arc::make_mut(&mut both.0)
            .extend(over.iter().map(|(key, value)| (key.clone(), value.clone())));
        both
    }

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
        Self(Arc::new(found))
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

impl Deref for Metadata {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl From<BTreeMap<String, String>> for Metadata {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self(Arc::new(map))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Metadata {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(pairs: T) -> Self {
        Self(Arc::new(
            pairs
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        ))
    }
}
