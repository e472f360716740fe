//! The plugin protocol: the input of a call and its answer.
//!
//! One document each way. A [`PluginCall`] is written as JSON ([`json`](mod@crate::json)). A
//! [`PluginAnswer`] is read as YAML 1.2, which includes JSON.

use crate::failure::Unreadable;
use crate::json;
use crate::settings::Grpc;
use crate::stderr::printable;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use tko_core::encoding::{self, DecodeError};
use tko_core::{Dialect, Format, Identifier, Limits, Package};

/// The input document of one call.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginCall {
    /// Address of the data API; empty if there is none.
    pub grpc: Grpc,
    /// Path of a FIFO for log lines; empty if [`log_address_port`](Self::log_address_port) is set.
    pub log_file: String,
    /// A TCP address for log lines, `host:port` or `[ipv6]:port`.
    pub log_address_port: String,
    /// The resource that triggered the call.
    pub target_resource_identifier: Target,
    /// Fields that depend on the plugin's type.
    #[serde(flatten)]
    pub input: Input,
}

/// Identifies the resource that triggered a call; every field is empty if no resource did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Target {
    group: String,
    version: String,
    kind: String,
    name: String,
}

/// The part of the input that depends on the plugin's type.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Input {
    /// Input of a preparer.
    Prepare {
        /// Id of the deployment to prepare.
        deployment_id: String,
        /// The deployment's whole package.
        deployment_package: PackageResources,
    },
    /// Input of a validator.
    Validate {
        /// The whole package.
        package: PackageResources,
        /// True if no required field may be missing.
        complete: bool,
    },
    /// Input of a scheduler.
    Schedule {
        /// Id of the site to schedule.
        site_id: String,
        /// The site's whole package.
        site_package: PackageResources,
        /// The deployments to run on the site.
        deployments: Deployments,
        /// The deployments to remove from the site, as they were last scheduled.
        removed_deployments: Deployments,
    },
}

/// Serializes a package as a list of resources.
#[derive(Clone, Debug)]
pub struct PackageResources(pub Package);

/// Serializes packages as a map by deployment id, in the order given.
#[derive(Clone, Debug, Default)]
pub struct Deployments(pub Vec<(String, PackageResources)>);

impl PluginCall {
    /// Encodes the document that the plugin reads. The time grows with the size of the packages.
    ///
    /// # Errors
    /// None for any valid package.
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

impl Serialize for PackageResources {
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

/// The answer of a plugin. Unknown keys are ignored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PluginAnswer {
    /// Errors in the plugin's own words; empty on success.
    pub errors: Vec<String>,
    /// Preparers only: true if [`package`](Self::package) is the new package.
    pub prepared: bool,
    /// Preparers only: the new package.
    pub package: Option<Vec<Value>>,
}

impl PluginAnswer {
    /// Decodes an answer. The time grows with its size.
    ///
    /// `error` is a string or a list of strings; null and empty strings count as absent.
    ///
    /// # Errors
    /// The bytes are not YAML, are not exactly one map, exceed the limits, or a known key has a
    /// value of the wrong type.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, Unreadable> {
        let unreadable = |problem: String| Unreadable::new(problem, bytes);
        let mut documents = documents(bytes, limits)
            .map_err(|error| unreadable(format!("it is not valid YAML ({error})")))?;
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
                    other => Err(wrong("error", "a string or a list of strings", &other)),
                })
                .collect::<Result<_, _>>()?,
            Some(other) => return Err(wrong("error", "a string or a list of strings", &other)),
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

/// Tries JSON first: most plugins write it, and it decodes many times faster than YAML. Text that
/// is not JSON may still be YAML in flow style.
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
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    };
    format!("its key {key:?} must be {expected}, found {found}")
}

#[cfg(test)]
mod tests;
