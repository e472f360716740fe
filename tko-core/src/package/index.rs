//! Indexes of packages: the places of resources by their identifiers.

use super::{Package, ambiguous_reference};
use crate::error::Result;
use crate::resource::{Gvk, Identifier, Resource};
use std::collections::HashMap;
use std::sync::Arc;

/// An index of a package, which resolves many references in linear time.
///
/// It finds the same resources as [`Package::resolve`], without a search from the start.
#[derive(Clone, Debug)]
pub struct PackageIndex {
    package: Package,
    places: ResourcePlaces,
}

impl PackageIndex {
    /// Indexes a package.
    pub fn new(package: &Package) -> Self {
        let mut places = ResourcePlaces::with_capacity(package.len());
        for (at, resource) in package.iter().enumerate() {
            places.add(resource.identifier(), at);
        }
        Self {
            package: package.clone(),
            places,
        }
    }

    /// Finds the resource that a reference denotes.
    ///
    /// # Errors
    /// As [`Package::resolve`].
    pub fn resolve(&self, reference: &Identifier) -> Result<Option<&Arc<Resource>>> {
        let at = self.places.position(reference)?;
        Ok(at.map(|at| &self.package.resources()[at]))
    }
}

/// The places of resources in a list.
#[derive(Clone, Debug)]
pub(crate) struct ResourcePlaces {
    /// The place of each resource by its whole identifier.
    whole: HashMap<Identifier, usize>,
    /// The place of the only resource of a kind and name in any namespace; `None` if there are
    /// several.
    only: HashMap<(Gvk, Arc<str>), Option<usize>>,
}

impl ResourcePlaces {
    pub(crate) fn with_capacity(resources: usize) -> Self {
        Self {
            whole: HashMap::with_capacity(resources),
            only: HashMap::with_capacity(resources),
        }
    }

    /// Adds a resource that has no place yet.
    pub(crate) fn add(&mut self, identifier: &Identifier, at: usize) {
        self.only
            .entry((identifier.gvk.clone(), identifier.name.clone()))
            .and_modify(|only| *only = None)
            .or_insert(Some(at));
        self.whole.insert(identifier.clone(), at);
    }

    /// Changes the namespace of the resource at a place.
    pub(crate) fn rename(&mut self, before: &Identifier, after: &Identifier, at: usize) {
        self.whole.remove(before);
        self.whole.insert(after.clone(), at);
    }

    /// Finds the place of the resource that a reference denotes, as [`Package::position`] does.
    pub(crate) fn position(&self, reference: &Identifier) -> Result<Option<usize>> {
        if let Some(at) = self.whole.get(reference) {
            return Ok(Some(*at));
        }
        if reference.namespace.is_some() {
            return Ok(None);
        }
        let named = (reference.gvk.clone(), reference.name.clone());
        match self.only.get(&named) {
            None => Ok(None),
            Some(Some(at)) => Ok(Some(*at)),
            Some(None) => Err(ambiguous_reference(reference)),
        }
    }
}
