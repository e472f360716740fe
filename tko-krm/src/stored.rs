//! [`StoredMetadata`]: the Kubernetes metadata for which TKO itself has no field.
//!
//! It is kept as JSON in a private key of the metadata that an entity was given. So it exists
//! exactly as long as the entity and is written in the same commit.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use tko_core::{Entity, Metadata};

/// The private key in [`Entity::given`] under which the metadata is stored.
pub(crate) const STORED: &str = "nephio.org/_kubernetes";

/// The key in [`Entity::given`] of a deployment's name, unless the name equals the id.
pub(crate) const NAME: &str = "nephio.org/kubernetes-name";

/// Metadata of an object that is not part of TKO's model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StoredMetadata {
    #[serde(rename = "a", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(rename = "f", skip_serializing_if = "Vec::is_empty")]
    pub(crate) finalizers: Vec<String>,
    #[serde(rename = "o", skip_serializing_if = "Vec::is_empty")]
    pub(crate) owners: Vec<Map<String, Value>>,
    #[serde(rename = "m", skip_serializing_if = "Vec::is_empty")]
    pub(crate) managers: Vec<Value>,
    #[serde(rename = "g", skip_serializing_if = "String::is_empty")]
    pub(crate) generate_name: String,
    /// When the deletion was requested, while finalizers keep the object: RFC 3339.
    #[serde(rename = "d", skip_serializing_if = "Option::is_none")]
    pub(crate) deletion: Option<String>,
    /// The labels that are not the encoded form of their metadata, by metadata key.
    #[serde(rename = "l", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, Literal>,
    /// The hash of the package that was last asked for through this API.
    #[serde(rename = "p", skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<String>,
}

/// The parts of a label that are stored as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Literal {
    #[serde(rename = "k")]
    pub(crate) key: bool,
    #[serde(rename = "v")]
    pub(crate) value: bool,
}

impl StoredMetadata {
    /// Reads the stored metadata of an entity; empty if there is none.
    pub(crate) fn of(entity: &Entity) -> Self {
        let Some(text) = entity.given.get(STORED) else {
            return Self::default();
        };
        serde_json::from_str(text).unwrap_or_else(|error| {
            tracing::warn!(key = %entity.key, %error, "ignoring malformed Kubernetes metadata");
            Self::default()
        })
    }

    /// Whether an entity may have a deletion time in its stored metadata; `false` is certain.
    ///
    /// Every list and watch asks this about every entity, so the JSON is not read.
    pub(crate) fn may_have_deletion(entity: &Entity) -> bool {
        // Within a text, the quotes are escaped.
        let stored = entity.given.get(STORED);
        stored.is_some_and(|text| text.contains(r#""d""#))
    }

    /// Writes it into given metadata.
    pub(crate) fn write_into(&self, given: &mut Metadata) {
        // Once the key exists, it stays, even if empty: a registration without it would bring back
        // the old value.
        let is_needed = *self != Self::default() || given.contains_key(STORED);
        if !is_needed {
            return;
        }
        if let Ok(text) = serde_json::to_string(self) {
            given.insert(STORED, text);
        }
    }
}
