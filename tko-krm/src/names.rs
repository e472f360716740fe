//! Names of objects and labels, and the ids and metadata of TKO behind them.
//!
//! A template, site or plugin has the [encoded](kubernetes_name) id as its name. A deployment's
//! name is its id or, for a name that is not an id, a name stored with the entity.
//!
//! A label is a piece of metadata. If both its key and its value are encoded forms, they are
//! decoded; a part that is not is kept unchanged, and [`StoredMetadata`] remembers that. So every
//! label is read back byte for byte, and selections by label use the index of metadata.

use crate::failure::StatusCause;
use crate::stored::{Literal, StoredMetadata};
use std::collections::BTreeMap;
use tko_core::kubernetes_name;
use tko_core::metadata::RESERVED;
use tko_core::{DeploymentId, Key, Kind, Metadata};

/// Longest name of a new object.
const MAX_NAME: usize = 253;

/// The length of the part of a generated name that the server chooses.
const SUFFIX: usize = 5;

/// Maximum length of the name in the key of a label, and of its value.
const MAX_LABEL: usize = 63;

/// The entity that a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// An entity.
    Key(Key),
    /// A deployment whose name is stored separately from its id.
    Alias,
}

/// The entity that a name stands for; the error says why there cannot be one.
pub(crate) fn named(kind: Kind, name: &str) -> Result<Named, String> {
    if kind == Kind::Deployment {
        return match DeploymentId::new(name) {
            Ok(id) => Ok(Named::Key(Key::from(&id))),
            Err(_) => check_subdomain(name).map(|()| Named::Alias),
        };
    }
    let id = kubernetes_name::decode(name).map_err(|error| {
        let suggested = match kubernetes_name::encode(name) {
            Ok(encoded) => format!("; for the id {name:?} use the name {encoded:?}"),
            Err(_) => String::new(),
        };
        format!("{error}{suggested}")
    })?;
    Key::new(kind, &id)
        .map(Named::Key)
        .map_err(|error| error.to_string())
}

/// The name of an entity.
pub(crate) fn name_of(key: &Key, given: &Metadata) -> String {
    if key.kind() == Kind::Deployment {
        // Other interfaces can store a name that would not lead to the deployment.
        let stored = given
            .get(crate::stored::NAME)
            .filter(|name| matches!(named(Kind::Deployment, name), Ok(Named::Alias)));
        return stored.unwrap_or_else(|| key.id()).to_owned();
    }
    // Ids are ASCII, which can always be encoded.
    kubernetes_name::encode(key.id()).unwrap_or_default()
}

/// Checks the length of the name of a new object. Other interfaces can create objects with longer
/// names, which are read and changed like any other.
pub(crate) fn check_length(name: &str) -> Result<(), String> {
    if name.len() <= MAX_NAME {
        return Ok(());
    }
    Err(format!("must be no more than {MAX_NAME} characters"))
}

/// A name that begins with `prefix` and ends like `id`. As in Kubernetes, the prefix is cut if the
/// name would be too long.
pub(crate) fn generated(prefix: &str, id: &str) -> String {
    let mut name: String = prefix.chars().take(MAX_NAME - SUFFIX).collect();
    // The end of an id differs from that of every other id of this process.
    name.push_str(&id[id.len().saturating_sub(SUFFIX)..]);
    name
}

/// Checks a name against RFC 1123, as Kubernetes does.
pub(crate) fn check_subdomain(name: &str) -> Result<(), String> {
    let is_label = |label: &str| {
        let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = label.as_bytes();
        bytes.first().is_some_and(alphanumeric)
            && bytes.last().is_some_and(alphanumeric)
            && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
    };
    if name.len() <= MAX_NAME && name.split('.').all(is_label) {
        return Ok(());
    }
    Err(format!(
        "a name has at most {MAX_NAME} lower-case letters, digits, \"-\" and \".\", and begins and \
         ends with a letter or digit"
    ))
}

/// The labels of an entity, from its metadata. Metadata that do not fit into a label are left out.
pub(crate) fn labels(metadata: &Metadata, stored: &StoredMetadata) -> BTreeMap<String, String> {
    metadata
        .iter()
        .filter(|(key, _)| !key.starts_with(RESERVED))
        .filter_map(|(key, value)| label(key, value, stored.labels.get(key).copied()))
        .collect()
}

/// The label for one piece of metadata; `None` if it does not fit into one.
fn label(key: &str, value: &str, literal: Option<Literal>) -> Option<(String, String)> {
    let literal = literal.unwrap_or_default();
    let encode = |text: &str| kubernetes_name::encode(text).ok();
    let label_key = if literal.key {
        key.to_owned()
    } else {
        encode(key)?
    };
    let label_value = if literal.value && is_label_value(value) {
        value.to_owned()
    } else {
        encode(value)?
    };
    (is_label_key(&label_key) && is_label_value(&label_value)).then_some((label_key, label_value))
}

/// The metadata for the key of a label, as it is stored.
pub(crate) fn metadata_key(label_key: &str) -> String {
    kubernetes_name::decode(label_key).unwrap_or_else(|_| label_key.to_owned())
}

/// The metadata for the value of a label, as it is stored.
pub(crate) fn metadata_value(label_value: &str) -> String {
    kubernetes_name::decode(label_value).unwrap_or_else(|_| label_value.to_owned())
}

/// The metadata and its literal parts for labels.
#[derive(Debug, Default)]
pub(crate) struct FromLabels {
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) literal: BTreeMap<String, Literal>,
}

/// Reads the labels of an object.
///
/// # Errors
/// The labels that Kubernetes or TKO does not allow; each cause names the key.
pub(crate) fn from_labels(
    labels: &BTreeMap<String, String>,
) -> Result<FromLabels, Vec<StatusCause>> {
    let mut read = FromLabels {
        metadata: BTreeMap::new(),
        literal: BTreeMap::new(),
    };
    let mut causes = Vec::new();
    let mut refuse =
        |message: String| causes.push(StatusCause::invalid("metadata.labels", message));
    for (label_key, label_value) in labels {
        if !is_label_key(label_key) {
            refuse(format!(
                "{label_key:?} is not a valid label key: an optional DNS name with \"/\", then at most \
                 {MAX_LABEL} letters, digits, \"-\", \"_\" and \".\", with a letter or digit at each end"
            ));
            continue;
        }
        if !is_label_value(label_value) {
            refuse(format!(
                "the value {label_value:?} of {label_key:?} is not a valid label value: at most \
                 {MAX_LABEL} letters, digits, \"-\", \"_\" and \".\", with a letter or digit at each end"
            ));
            continue;
        }
        let key = metadata_key(label_key);
        let value = metadata_value(label_value);
        if key.starts_with(RESERVED) {
            refuse(format!(
                "{label_key:?}: keys that begin with {RESERVED:?} are reserved"
            ));
            continue;
        }
        let literal = Literal {
            key: kubernetes_name::decode(label_key).is_err(),
            value: kubernetes_name::decode(label_value).is_err(),
        };
        if read.metadata.insert(key.clone(), value).is_some() {
            refuse(format!(
                "{label_key:?} and another label are both the metadata key {key:?}; remove one"
            ));
            continue;
        }
        if literal != Literal::default() {
            read.literal.insert(key, literal);
        }
    }
    if causes.is_empty() {
        Ok(read)
    } else {
        Err(causes)
    }
}

/// Whether Kubernetes takes this text as the key of a label or annotation.
pub(crate) fn is_label_key(key: &str) -> bool {
    let name = match key.split_once('/') {
        Some((prefix, name)) => {
            if check_subdomain(prefix).is_err() {
                return false;
            }
            name
        }
        None => key,
    };
    !name.is_empty() && is_label_value(name)
}

/// Whether Kubernetes takes this text as the value of a label.
pub(crate) fn is_label_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    value.len() <= MAX_LABEL
        && bytes.first().is_none_or(u8::is_ascii_alphanumeric)
        && bytes.last().is_none_or(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests;
