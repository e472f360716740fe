//! The plugin protocol: the input of a call and its answer.
//!
//! Each is one document. A [`PluginCall`] is written as JSON ([`json`](mod@crate::json)). A
//! [`PluginAnswer`] is read as YAML 1.2, which includes JSON.

use crate::json;
use crate::settings::Grpc;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use tko_core::{Identifier, Package};

mod answer;

pub use answer::{PluginAnswer, SentPackage};

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
    /// Absent if the resource has none: packages may have resources of one name in several.
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
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
            namespace: target.namespace.as_deref().unwrap_or_default().to_owned(),
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

#[cfg(test)]
mod tests;
