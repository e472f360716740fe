//! The protocol: what a plugin is told, and what it answers.
//!
//! One document each way. A [`Call`] is written as JSON ([`json`](mod@crate::json)), an [`Answer`] read as
//! YAML 1.2, of which JSON is a part.

use crate::failure::Unreadable;
use crate::json;
use crate::settings::Grpc;
use crate::stderr::printable;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use tko_core::encoding::{self, DecodeError};
use tko_core::{Dialect, Format, Identifier, Limits, Package};

/// What a plugin is told.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// The data API; empty if there is none.
    pub grpc: Grpc,
    /// A FIFO for log lines; empty if [`log_address_port`](Self::log_address_port) is not.
    pub log_file: String,
    /// A TCP address for log lines, `host:port` or `[ipv6]:port`.
    pub log_address_port: String,
    /// What triggered the call.
    pub target_resource_identifier: Target,
    /// What depends on the type.
    #[serde(flatten)]
    pub input: Input,
}

/// Names the resource that triggered a call; all empty if none did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Target {
    group: String,
    version: String,
    kind: String,
    name: String,
}

/// What a plugin is told besides, by type.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Input {
    /// To prepare a deployment.
    Prepare {
        /// Its id.
        deployment_id: String,
        /// Its whole package.
        deployment_package: Resources,
    },
    /// To validate a package.
    Validate {
        /// All of it.
        package: Resources,
        /// Whether nothing may be missing.
        complete: bool,
    },
    /// To schedule a site.
    Schedule {
        /// Its id.
        site_id: String,
        /// Its whole package.
        site_package: Resources,
        /// What is to run there.
        deployments: Deployments,
        /// What is to be taken off, as last scheduled.
        removed_deployments: Deployments,
    },
}

/// A package as a list of resources.
#[derive(Clone, Debug)]
pub struct Resources(pub Package);

/// Packages by deployment id, in order.
#[derive(Clone, Debug, Default)]
pub struct Deployments(pub Vec<(String, Resources)>);

impl Call {
    /// The document as the plugin reads it. Takes time with the size of the packages.
    ///
    /// # Errors
    /// Never for what packages can hold.
    pub fn encode(&self) -> serde_json::Result<Vec<u8>> {
        let mut document = json::to_vec(self)?;
        document.push(b'\n');
        Ok(document)
    }
}

impl From<Option<&Identifier>> for Target {
    fn from(target: Option<&Identifier>) -> Self {
        target.map_or_else(Self::default, |target| Self {
            group: target.gvk.group.to_string(),
            version: target.gvk.version.to_string(),
            kind: target.gvk.kind.to_string(),
            name: target.name.to_string(),
        })
    }
}

impl Serialize for Resources {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|resource| resource.value()))
    }
}

impl Serialize for Deployments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (id, package) in &self.0 {
            map.serialize_entry(id, package)?;
        }
        map.end()
    }
}

/// What a plugin answers. Keys that the protocol does not know are passed over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// What is wrong, in the plugin's words; none: success.
    pub errors: Vec<String>,
    /// Of a preparer: whether [`package`](Self::package) is the new package.
    pub prepared: bool,
    /// Of a preparer.
    pub package: Option<Vec<Value>>,
}

impl Answer {
    /// Reads a document. Takes time with its size.
    ///
    /// `error` is text, or a list of texts; empty ones and null count as absent.
    ///
    /// # Errors
    /// It is no YAML, not one map, over the limits, or a known key has a value of another type.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, Unreadable> {
        let unreadable = |problem: String| Unreadable::new(problem, bytes);
        let mut documents = documents(bytes, limits)
            .map_err(|error| unreadable(format!("it cannot be read ({error})")))?;
        let answer = match (documents.pop(), documents.is_empty()) {
            (Some(Value::Object(answer)), true) => answer,
            (None, _) => return Err(unreadable("it is empty".to_owned())),
            _ => return Err(unreadable("it is more than one map".to_owned())),
        };
        Self::of(answer).map_err(unreadable)
    }

    fn of(mut answer: Map<String, Value>) -> Result<Self, String> {
        let errors = match answer.remove("error") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text),
                    other => Err(wrong("error", "text or a list of texts", &other)),
                })
                .collect::<Result<_, _>>()?,
            Some(other) => return Err(wrong("error", "text or a list of texts", &other)),
        };
        let prepared = match answer.remove("prepared") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(prepared)) => prepared,
            Some(other) => return Err(wrong("prepared", "true or false", &other)),
        };
        let package = match answer.remove("package") {
            None | Some(Value::Null) => None,
            Some(Value::Array(package)) => Some(package),
            Some(other) => return Err(wrong("package", "a list of resources", &other)),
        };
        Ok(Self {
            errors: errors
                .iter()
                .map(|text| printable(text.trim().as_bytes()))
                .filter(|text| !text.is_empty())
                .collect(),
            prepared,
            package,
        })
    }
}

/// JSON, which most plugins write, is read as such, for that is many times faster; what is no JSON
/// may be YAML in flow style.
fn documents(bytes: &[u8], limits: &Limits) -> Result<Vec<Value>, DecodeError> {
    if bytes.trim_ascii_start().starts_with(b"{")
        && let Ok(documents) = encoding::decode(bytes, Format::Json, Dialect::Programs, limits)
    {
        return Ok(documents);
    }
    encoding::decode(bytes, Format::Yaml, Dialect::Programs, limits)
}

fn wrong(key: &str, expected: &str, found: &Value) -> String {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    };
    format!("its key {key:?} must be {expected}, and is or has {found}")
}

#[cfg(test)]
mod tests;
