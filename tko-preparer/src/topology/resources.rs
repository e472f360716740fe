//! Resources of the topology group in a package.

use serde_json::{Map, Value};
use std::sync::Arc;
use tko_core::annotation::PREPARED;
use tko_core::resource::map_in;
use tko_core::{Error, Gvk, Package, PrepareCall, Resource, Result};

/// The API group of topologies.
pub const GROUP: &str = "topology.nephio.org";
/// The supported version of [`GROUP`].
pub const VERSION: &str = "v1alpha1";

/// A kind of the topology group.
pub(super) fn gvk(kind: &str) -> Gvk {
    Gvk::new(GROUP, VERSION, kind)
}

/// The resource to prepare.
///
/// # Errors
///
/// `BadArgument` if the package does not contain it.
pub(super) fn target<'a>(call: &PrepareCall<'a>) -> Result<&'a Arc<Resource>> {
    call.package.find(call.target).ok_or_else(|| {
        let message = format!("{} is not in the package", call.target);
        Error::bad("target", message)
    })
}

/// The package with this resource marked prepared, and its status extended by these fields.
pub(super) fn finished(
    package: &Package,
    resource: &Resource,
    status: Map<String, Value>,
) -> Result<Package> {
    let done = resource.edited(|content| {
        map_in(content, "status").extend(status);
        map_in(map_in(content, "metadata"), "annotations")
            .insert(PREPARED.to_owned(), Value::String("true".to_owned()));
    })?;
    Ok(package.with(Arc::new(done)))
}
