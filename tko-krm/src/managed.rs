//! Managed fields: which manager owns which fields of an object.
//!
//! A small implementation of the rules of server-side apply, for the fixed schemas of this API. See
//! [`set`] for sets of fields, [`typed`] for values with schemas, and [`apply`] for the two kinds
//! of writes.

mod apply;
mod set;
mod typed;

#[cfg(test)]
pub(crate) use apply::Applied;
pub(crate) use apply::{apply, recorded, updated};
pub(crate) use set::FieldSet;

use crate::resource::API_VERSION;
use serde_json::{Map, Value, json};

/// Longest name of a manager.
const MAX_MANAGER: usize = 128;

/// How a manager wrote its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ManagerOperation {
    Apply,
    Update,
}

impl ManagerOperation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// The fields of one manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manager {
    pub(crate) name: String,
    pub(crate) operation: ManagerOperation,
    pub(crate) time: String,
    pub(crate) fields: FieldSet,
}

impl Manager {
    /// Whether both are the same manager with the same operation.
    fn is(&self, name: &str, operation: ManagerOperation) -> bool {
        self.name == name && self.operation == operation
    }

    /// Reads an entry of `metadata.managedFields`.
    pub(crate) fn parse(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let operation = match text("operation")? {
            "Apply" => ManagerOperation::Apply,
            "Update" => ManagerOperation::Update,
            _ => return None,
        };
        if text("fieldsType").is_some_and(|kind| kind != "FieldsV1") {
            return None;
        }
        Some(Self {
            name: text("manager")?.to_owned(),
            operation,
            time: text("time").unwrap_or_default().to_owned(),
            fields: FieldSet::parse(value.get("fieldsV1").unwrap_or(&Value::Null))?,
        })
    }

    /// The entry of `metadata.managedFields`.
    pub(crate) fn to_value(&self) -> Value {
        let mut entry = Map::new();
        entry.insert("manager".into(), self.name.as_str().into());
        entry.insert("operation".into(), self.operation.as_str().into());
        entry.insert("apiVersion".into(), API_VERSION.into());
        if !self.time.is_empty() {
            entry.insert("time".into(), self.time.as_str().into());
        }
        entry.insert("fieldsType".into(), "FieldsV1".into());
        entry.insert("fieldsV1".into(), self.fields.to_value());
        Value::Object(entry)
    }
}

/// Reads stored entries; malformed ones are dropped.
pub(crate) fn parse(entries: &[Value]) -> Vec<Manager> {
    entries.iter().filter_map(Manager::parse).collect()
}

/// Whether both lists are equal, apart from times.
pub(crate) fn same(one: &[Manager], other: &[Manager]) -> bool {
    let key = |managers: &[Manager]| {
        let mut all: Vec<_> = managers
            .iter()
            .map(|m| (m.name.clone(), m.operation, m.fields.to_value().to_string()))
            .collect();
        all.sort();
        all
    };
    key(one) == key(other)
}

/// Checks the name of a manager; the error says why it is refused.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.len() > MAX_MANAGER || name.chars().any(char::is_control) {
        return Err(format!(
            "may have at most {MAX_MANAGER} characters, all printable"
        ));
    }
    Ok(())
}

/// The part of an object that managers can own: without the fields of the server.
pub(crate) fn trimmed(object: &Value) -> Value {
    let mut trimmed = Map::new();
    if let Some(spec) = object.get("spec").filter(|spec| !spec.is_null()) {
        trimmed.insert("spec".into(), without_nulls(spec));
    }
    let kept = [
        "annotations",
        "finalizers",
        "generateName",
        "labels",
        "ownerReferences",
    ];
    let metadata: Map<String, Value> = kept
        .iter()
        .filter_map(|key| {
            let value = object.get("metadata")?.get(key)?;
            (!value.is_null()).then(|| ((*key).to_owned(), without_nulls(value)))
        })
        .collect();
    if !metadata.is_empty() {
        trimmed.insert("metadata".into(), Value::Object(metadata));
    }
    Value::Object(trimmed)
}

/// A copy without keys whose value is null, except within lists.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// An object with only these trimmed parts.
pub(crate) fn empty() -> Value {
    json!({})
}

#[cfg(test)]
mod tests;
