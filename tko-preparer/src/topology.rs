//! Topologies: native preparers of `topology.nephio.org/v1alpha1`.
//!
//! | kind | `spec` | what it does |
//! |---|---|---|
//! | `Template` | `templateId`, or `select.metadata` | names a template; resolved by Placements |
//! | `Sites` | `select.metadata` | names all sites that match; resolved by Placements |
//! | `Site` | `siteId`, or `select.metadata`, or `provisionIfNotFound` with `provisionTemplateId` and `merge` | finds or registers one site, and writes its id to `status.siteId` |
//! | `Placement` | `templates: [{template, sites, merge}]`, `track`, `onLeave` | creates a deployment for every template and each of its sites |
//! | `TOSCA` | `url`, `inputs` | makes the above from a service template in TOSCA (feature `tosca`) |
//!
//! Resources refer to others of the same package by name. See [`site`] and [`placement`].

pub mod placement;
pub mod site;

mod field;
mod lookup;
mod merging;
mod resources;
mod selection;
#[cfg(feature = "tosca")]
#[cfg_attr(docsrs, doc(cfg(feature = "tosca")))]
pub mod tosca;
mod when;

use self::placement::{Nesting, PlacementPreparer};
use self::resources::gvk;
use self::site::SitePreparer;
use async_trait::async_trait;
use std::sync::Arc;
use tko_core::{Answer, PrepareCall, Preparer, Registry, Result};

pub use self::resources::{GROUP, VERSION};
pub use self::when::MergeConditions;

/// A registry with the native preparers; registered plugins join them.
pub fn native() -> Registry<dyn Preparer> {
    add_to(Registry::new(), Nesting::default())
}

/// A registry with the native preparers, which evaluate merge conditions in this way.
pub fn native_with(conditions: MergeConditions) -> Registry<dyn Preparer> {
    add_with(Registry::new(), Nesting::default(), conditions)
}

/// Adds the native preparers to a registry.
pub fn add_to(registry: Registry<dyn Preparer>, nesting: Nesting) -> Registry<dyn Preparer> {
    add_with(registry, nesting, MergeConditions::default())
}

fn add_with(
    registry: Registry<dyn Preparer>,
    nesting: Nesting,
    conditions: MergeConditions,
) -> Registry<dyn Preparer> {
    #[cfg(feature = "tosca")]
    let registry = registry.with(
        gvk("TOSCA"),
        "tosca",
        Arc::new(tosca::ToscaPreparer::default()),
    );
    registry
        .with(gvk("Template"), "template", Arc::new(NamedResource))
        .with(gvk("Sites"), "sites", Arc::new(NamedResource))
        .with(
            gvk("Site"),
            "site",
            Arc::new(SitePreparer::default().with_conditions(conditions.clone())),
        )
        .with(
            gvk("Placement"),
            "placement",
            Arc::new(PlacementPreparer::new(nesting).with_conditions(conditions)),
        )
}

/// Leaves `Template` and `Sites` unchanged, because Placements resolve them.
#[derive(Clone, Copy, Debug, Default)]
pub struct NamedResource;

#[async_trait]
impl Preparer for NamedResource {
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
