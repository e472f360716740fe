//! Topologies: native preparers of `topology.nephio.org/v1alpha1`.
//!
//! | kind | `spec` | what it does |
//! |---|---|---|
//! | `Template` | `templateId`, or `select.metadata` | names a template; resolved by Placements |
//! | `Sites` | `select.metadata` | names all sites that match; resolved by Placements |
//! | `Site` | `siteId`, or `select.metadata`, or `provisionIfNotFound` with `provisionTemplateId` and `merge` | finds or makes one site, and writes it to `status.siteId` |
//! | `Placement` | `templates: [{template, sites, merge}]`, `track`, `onLeave` | makes a deployment for every template and each of its sites |
//!
//! Names are of resources of the same package. See [`site`], [`placement`].

pub mod placement;
pub mod site;

mod field;
mod merging;
mod selection;

use self::placement::{Nesting, Placement};
use self::site::Site;
use async_trait::async_trait;
use serde_json::{Map, Value};
use std::sync::Arc;
use tko_core::annotation::PREPARED;
use tko_core::resource::map_in;
use tko_core::{
    Answer, Error, Gvk, Identifier, Package, PrepareCall, Preparer, Registry, Resource, Result,
};

/// The API group of topologies.
pub const GROUP: &str = "topology.nephio.org";
/// The version of [`GROUP`] that is understood.
pub const VERSION: &str = "v1alpha1";

/// A registry with the native preparers, which plugins join as they are registered.
pub fn native() -> Registry<dyn Preparer> {
    add_to(Registry::new(), Nesting::default())
}

/// Adds the native preparers to a registry that has an integrator's own.
pub fn add_to(registry: Registry<dyn Preparer>, nesting: Nesting) -> Registry<dyn Preparer> {
    registry
        .with(gvk("Template"), "template", Arc::new(Named))
        .with(gvk("Sites"), "sites", Arc::new(Named))
        .with(gvk("Site"), "site", Arc::new(Site))
        .with(
            gvk("Placement"),
            "placement",
            Arc::new(Placement::new(nesting)),
        )
}

/// A kind of this group.
pub(crate) fn gvk(kind: &str) -> Gvk {
    Gvk::new(GROUP, VERSION, kind)
}

/// `Template` and `Sites`: they name something, and whoever names them resolves it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Named;

#[async_trait]
impl Preparer for Named {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        Ok(Answer::Done {
            package: call.package.clone(),
            effects: Vec::new(),
        })
    }

    fn is_passive(&self) -> bool {
        true
    }
}

/// The resource that is to be prepared.
fn target<'a>(call: &PrepareCall<'a>) -> Result<&'a Arc<Resource>> {
    call.package.find(call.target).ok_or_else(|| {
        Error::bad(
            "target",
            format!(
                "{} is not in the package that it is to be prepared in",
                call.target
            ),
        )
    })
}

/// The resource of this kind that a name means in this package.
fn named<'a>(package: &'a Package, kind: &str, name: &str) -> Result<Option<&'a Arc<Resource>>> {
    package.resolve(&Identifier::new(gvk(kind), name))
}

/// The package with the resource finished: its status overlaid with this one, and marked.
fn finished(package: &Package, resource: &Resource, status: Map<String, Value>) -> Result<Package> {
    let done = resource.edited(|content| {
        map_in(content, "status").extend(status);
        map_in(map_in(content, "metadata"), "annotations")
            .insert(PREPARED.to_owned(), Value::String("true".to_owned()));
    })?;
    Ok(package.with(Arc::new(done)))
}
