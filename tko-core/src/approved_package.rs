//! The package that a site keeps while an edit of it waits for approval.
//!
//! An edit of what a person approved reaches the site only after its own approval; see
//! [`EDITED`](crate::entity::EDITED). Until then the schedulers of the site need the package that
//! was approved, however long that takes, and history ends earlier. So the body of the deployment
//! has the approved package as one more resource at its end. It is stored and deleted with the
//! body, so that no backend needs to know it.
//!
//! Clients never see this resource: [`join`](crate::deployment_resource::join) leaves it out, and
//! [`split`](crate::deployment_resource::split) refuses it. Readers that set
//! [`Want::kept`](crate::Want::kept) see the approved package instead of the edited one.
//!
//! The resource may remain in the body after the edit was approved. It then has no effect, and the
//! next new package drops it.

use crate::package::Package;
use crate::resource::{Gvk, Resource};
use crate::revision::Generation;
use serde_json::{Value, json};
use std::sync::Arc;

const API_VERSION: &str = "internal.tko.nephio.org/v1";
const KIND: &str = "ApprovedPackage";

/// A package as it was approved, with its Deployment resource.
#[derive(Clone, Debug)]
pub(crate) struct ApprovedPackage {
    /// The generation of the deployment that was approved.
    pub(crate) generation: Generation,
    pub(crate) package: Package,
}

impl ApprovedPackage {
    /// Reads it from a body.
    pub(crate) fn stored(body: &Package) -> Option<Self> {
        let resource = body.resources().last().filter(|last| is_internal(last))?;
        let generation = resource.get(&["generation"])?.as_u64()?;
        let values = resource.get(&["resources"])?.as_array()?;
        let resources = values.iter().map(|value| Resource::stored(value.clone()));
        let resources: Vec<_> = resources
            .map(|r| r.ok().map(Arc::new))
            .collect::<Option<_>>()?;
        Some(Self {
            generation: Generation(generation),
            package: Package::new(resources).ok()?,
        })
    }

    /// Adds it to a body, in place of the one that the body has.
    pub(crate) fn added_to(&self, body: &Package) -> Package {
        let values: Vec<Value> = self.package.iter().map(|r| r.value().clone()).collect();
        let value = json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": "approved"},
            "generation": self.generation.0,
            "resources": values,
        });
        let resource = Resource::stored(value).expect("it is identified above");
        let mut resources = visible(body).to_vec();
        resources.push(Arc::new(resource));
        Package::unchecked(resources)
    }
}

/// The resources of a body without the approved package.
pub(crate) fn visible(body: &Package) -> &[Arc<Resource>] {
    match body.resources() {
        [visible @ .., last] if is_internal(last) => visible,
        all => all,
    }
}

/// Whether a resource is an approved package. Clients cannot write one.
pub(crate) fn is_internal(resource: &Resource) -> bool {
    let gvk = resource.gvk();
    &*gvk.kind == KIND && *gvk == Gvk::of(API_VERSION, KIND)
}
