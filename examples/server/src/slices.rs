//! A preparer for the resource kind Slice.

use serde_json::json;
use std::sync::Arc;
use tko_core::{Answer, Error, PrepareCall, Preparer, Resource, Result, annotation};
use tko_serve::async_trait;

/// Adds a Port with the VLAN of the Slice.
pub struct Slices;

#[async_trait]
impl Preparer for Slices {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let slice = call.package.find(call.target);
        let slice = slice.ok_or_else(|| Error::bad("target", "it is not in the package"))?;
        let port = Resource::new(json!({
            "apiVersion": "example.org/v1",
            "kind": "Port",
            "metadata": {"name": "uplink"},
            "spec": {"vlan": slice.get(&["spec", "vlan"])},
        }))?;
        let package = call.package.with(Arc::new(port));
        Ok(Answer::Done {
            // The annotation tells the controller that this resource is prepared.
            package: package.with(annotation::prepared(slice)),
            effects: Vec::new(),
        })
    }
}
