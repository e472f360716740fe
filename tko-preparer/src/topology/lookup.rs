//! Lookups of resources by reference.

use super::resources::gvk;
use std::sync::Arc;
use tko_core::{Identifier, Package, PackageIndex, Resource, Result};

/// Maximum number of searches. An index of the package takes as long as several searches.
pub(super) const MAX_SEARCHES: usize = 8;

/// Finds resources of a package: the first few by searching, many by an index.
///
/// Most topology resources refer to few others. If each of them made an index, the time for a
/// package would grow with the square of their number.
pub(super) struct PackageLookup<'a> {
    package: &'a Package,
    searches: usize,
    index: Option<PackageIndex>,
}

impl<'a> PackageLookup<'a> {
    pub(super) fn new(package: &'a Package) -> Self {
        Self {
            package,
            searches: 0,
            index: None,
        }
    }

    /// The resource that a reference denotes, as [`Package::resolve`].
    pub(super) fn resolve(&mut self, reference: &Identifier) -> Result<Option<Arc<Resource>>> {
        if self.searches < MAX_SEARCHES {
            self.searches += 1;
            return Ok(self.package.resolve(reference)?.cloned());
        }
        let index = self
            .index
            .get_or_insert_with(|| PackageIndex::new(self.package));
        Ok(index.resolve(reference)?.cloned())
    }

    /// The topology resource of this kind and name.
    pub(super) fn named(&mut self, kind: &str, name: &str) -> Result<Option<Arc<Resource>>> {
        self.resolve(&Identifier::new(gvk(kind), name))
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_SEARCHES, PackageLookup};
    use serde_json::json;
    use tko_core::{Identifier, Package};

    #[test]
    fn searches_and_the_index_find_the_same_resources() {
        let names = (0..3 * MAX_SEARCHES).map(|number| format!("site-{number}"));
        let values = names.map(|name| {
            json!({
                "apiVersion": "topology.nephio.org/v1alpha1", "kind": "Site",
                "metadata": {"name": name, "namespace": "n"},
            })
        });
        let package = Package::from_values(values).expect("a package");
        let mut lookup = PackageLookup::new(&package);
        for resource in &package {
            let name = resource.identifier().name.clone();
            let found = lookup.named("Site", &name).expect("it is the only one");
            assert_eq!(found.as_ref(), Some(resource), "{name}");
        }
        assert!(lookup.index.is_some());
        let other = Identifier::new(super::gvk("Site"), "other");
        assert_eq!(lookup.resolve(&other).expect("it is clear"), None);
    }
}
