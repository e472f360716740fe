//! Columns of a row as JSON: the column `rest`, and a whole row as the feed keeps it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use tko_core::{Condition, ContentHash, Generation, Gvk, Metadata, Plugin, Timestamp};

/// The column `rest`: values that no statement filters by.
///
/// Fields with default values are left out. An older version ignores the fields of a newer one.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct RestJson {
    #[serde(with = "lines", skip_serializing_if = "is_empty")]
    pub(super) inherited: Metadata,
    #[serde(with = "lines", skip_serializing_if = "is_empty")]
    pub(super) given: Metadata,
    #[serde(with = "conditions", skip_serializing_if = "Vec::is_empty")]
    pub(super) conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<u64>,
    /// The generation that a scheduler placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) placed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) once: Option<String>,
    /// The position of the Deployment resource in the package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) head: Option<usize>,
    /// The template and site of the Deployment resource, if they differ from those of the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) named: Option<(Option<String>, Option<String>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) plugin: Option<Box<PluginJson>>,
}

fn is_empty(metadata: &Metadata) -> bool {
    metadata.is_empty()
}

/// Metadata as a JSON string of lines.
pub(super) mod lines {
    use super::{Deserialize, Deserializer, Metadata, Serializer};
    use serde::de::Error;

    pub(crate) fn serialize<S: Serializer>(
        metadata: &Metadata,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&metadata.to_lines())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Metadata, D::Error> {
        let lines = String::deserialize(deserializer)?;
        Metadata::from_lines(&lines).map_err(D::Error::custom)
    }
}

/// Conditions as a JSON array.
mod conditions {
    use super::{Condition, ConditionJson, Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        conditions: &[Condition],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(conditions.iter().map(ConditionJson::of))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Condition>, D::Error> {
        let conditions = <Vec<ConditionJson>>::deserialize(deserializer)?;
        Ok(conditions
            .into_iter()
            .map(ConditionJson::condition)
            .collect())
    }
}

/// Reads a hash of type `bytea` as PostgreSQL writes it in JSON: `\x` and hexadecimal digits.
pub(super) fn hash<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ContentHash, D::Error> {
    let text = <Cow<'de, str>>::deserialize(deserializer)?;
    let digits = text.strip_prefix("\\x").unwrap_or_default().as_bytes();
    let digit = |at: usize| {
        let digit = char::from(*digits.get(at)?).to_digit(16)?;
        u8::try_from(digit).ok()
    };
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate() {
        let (high, low) = (digit(2 * at), digit(2 * at + 1));
        let Some((high, low)) = high.zip(low) else {
            return Err(serde::de::Error::custom(
                "expected a hash of 64 hexadecimal digits",
            ));
        };
        *byte = high << 4 | low;
    }
    Ok(ContentHash(hash))
}

/// A condition as JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct ConditionJson {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<bool>,
    reason: String,
    message: String,
    observed: u64,
    since: i64,
}

/// A plugin as JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct PluginJson {
    executor: String,
    arguments: Vec<String>,
    properties: BTreeMap<String, String>,
    /// Group, version, and kind of each trigger.
    triggers: Vec<(String, String, String)>,
}

impl ConditionJson {
    fn of(condition: &Condition) -> Self {
        Self {
            kind: condition.kind.clone(),
            status: condition.status,
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            observed: condition.observed.0,
            since: condition.since.0,
        }
    }

    fn condition(self) -> Condition {
        Condition::new(
            self.kind,
            self.status,
            self.reason,
            self.message,
            Generation(self.observed),
        )
        .since(Timestamp(self.since))
    }
}

impl PluginJson {
    pub(super) fn of(plugin: &Plugin) -> Self {
        Self {
            executor: plugin.executor.clone(),
            arguments: plugin.arguments.clone(),
            properties: plugin.properties.clone(),
            triggers: plugin
                .triggers
                .iter()
                .map(|t| {
                    (
                        t.group.to_string(),
                        t.version.to_string(),
                        t.kind.to_string(),
                    )
                })
                .collect(),
        }
    }

    pub(super) fn plugin(self) -> Plugin {
        Plugin::new(self.executor)
            .arguments(self.arguments)
            .properties(self.properties)
            .triggers(
                self.triggers
                    .iter()
                    .map(|(group, version, kind)| Gvk::new(group, version, kind))
                    .collect(),
            )
    }
}
