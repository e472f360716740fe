//! Kinds defined by `CustomResourceDefinition`s in packages.

mod feed;

pub use feed::CrdFeed;

use crate::bounded::Bounded;
use crate::schema::Schema;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tko_core::{ContentHash, Gvk, Package, Resource};

/// Number of recently used definitions that stay in memory, with their compiled schemas.
const RECENT_CRDS: usize = 256;
/// Number of packages whose definitions are remembered.
const RECENT_PACKAGES: usize = 1024;
/// Maximum memory of recently used definitions, and of those of remembered packages, in bytes each.
/// Most definitions are in both. Learned ones stay in memory, too, and do not count.
const RECENT_BYTES: usize = 64 << 20;
/// Estimated bytes of memory for each byte of JSON of a definition: the definition as a tree, and
/// its compiled schemas.
const BYTES_IN_MEMORY: usize = 8;
/// Estimated bytes of memory for remembering a package, without its definitions.
const PACKAGE_BYTES: usize = 64;

/// The kinds that packages define.
///
/// A package's own definitions apply to its own resources without registration. Definitions that
/// apply to other packages are [learned](Self::learn): the data service feeds its registered
/// packages at the start and on every change. [`CrdFeed`] does this for templates.
pub struct Crds {
    learned: RwLock<Learned>,
    recent: Mutex<Bounded<ContentHash, Arc<Crd>>>,
    by_package: Mutex<Bounded<ContentHash, Arc<[Arc<Crd>]>>>,
}

#[derive(Default)]
struct Learned {
    by_gvk: HashMap<Gvk, BTreeMap<Arc<str>, Arc<Schema>>>,
    by_source: HashMap<Arc<str>, Vec<Gvk>>,
}

impl Crds {
    pub(crate) fn new() -> Self {
        Self {
            learned: RwLock::default(),
            recent: Mutex::new(Bounded::with_weight(RECENT_CRDS, RECENT_BYTES)),
            by_package: Mutex::new(Bounded::with_weight(RECENT_PACKAGES, RECENT_BYTES)),
        }
    }

    /// Replaces the definitions of `source` by those in this package, for resources of every
    /// package.
    ///
    /// `source` names the package, such as an entity's key. If several sources define one kind, the
    /// last one in byte order applies, so that all processes agree whatever the order in which they
    /// learned. Later versions of a package usually have greater names.
    pub fn learn(&self, source: &str, package: &Package) {
        let found = self.of_package(package);
        let mut learned = self.learned.write().unwrap_or_else(PoisonError::into_inner);
        learned.forget(source);
        let source: Arc<str> = source.into();
        let kinds = found.iter().flat_map(|crd| &crd.kinds);
        for (gvk, schema) in kinds {
            learned
                .by_gvk
                .entry(gvk.clone())
                .or_default()
                .insert(source.clone(), schema.clone());
            learned
                .by_source
                .entry(source.clone())
                .or_default()
                .push(gvk.clone());
        }
    }

    /// Removes the definitions of this source.
    pub fn forget(&self, source: &str) {
        self.learned
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .forget(source);
    }

    /// Finds the schema of a kind: the package's own definition first, then a learned one.
    pub(crate) fn find(&self, gvk: &Gvk, package: &Package) -> Option<Arc<Schema>> {
        let own = self.of_package(package);
        let own = own.iter().find_map(|crd| crd.find(gvk));
        own.cloned().or_else(|| self.learned(gvk))
    }

    fn learned(&self, gvk: &Gvk) -> Option<Arc<Schema>> {
        let learned = self.learned.read().unwrap_or_else(PoisonError::into_inner);
        let (_, schema) = learned.by_gvk.get(gvk)?.last_key_value()?;
        Some(schema.clone())
    }

    /// Returns the definition that a resource contains, if it is a `CustomResourceDefinition`.
    pub(crate) fn of_resource(&self, resource: &Arc<Resource>) -> Option<Arc<Crd>> {
        if !is_crd(resource) {
            return None;
        }
        let hash = resource.hash();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        Some(recent.get(&hash).unwrap_or_else(|| {
            let crd = Arc::new(Crd::read(resource));
            recent.insert_weighted(hash, crd.clone(), weight(resource));
            crd
        }))
    }

    fn of_package(&self, package: &Package) -> Arc<[Arc<Crd>]> {
        let hash = package.hash();
        let lock = || {
            self.by_package
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(known) = lock().get(&hash) {
            return known;
        }
        let mut bytes = PACKAGE_BYTES;
        let found: Arc<[Arc<Crd>]> = package
            .iter()
            .filter_map(|resource| {
                let crd = self.of_resource(resource)?;
                bytes += weight(resource);
                Some(crd)
            })
            .collect();
        lock().insert_weighted(hash, found.clone(), bytes);
        found
    }
}

impl Learned {
    fn forget(&mut self, source: &str) {
        for gvk in self.by_source.remove(source).unwrap_or_default() {
            if let Some(schemas) = self.by_gvk.get_mut(&gvk) {
                schemas.remove(source);
                if schemas.is_empty() {
                    self.by_gvk.remove(&gvk);
                }
            }
        }
    }
}

/// One definition: its kinds by version, in the order of its versions.
pub(crate) struct Crd {
    pub(crate) kinds: Vec<(Gvk, Arc<Schema>)>,
}

impl Crd {
    /// Reads what is readable. Validating the definition itself reports its errors.
    pub(crate) fn read(resource: &Arc<Resource>) -> Self {
        let text = |path: &[&str]| resource.get(path).and_then(Value::as_str);
        let (Some(group), Some(kind), Some(Value::Array(versions))) = (
            text(&["spec", "group"]),
            text(&["spec", "names", "kind"]),
            resource.get(&["spec", "versions"]),
        ) else {
            return Self { kinds: Vec::new() };
        };
        let kinds = versions
            .iter()
            .enumerate()
            .filter_map(|(place, version)| {
                version.get("schema")?.get("openAPIV3Schema")?;
                let gvk = Gvk::new(group, version.get("name")?.as_str()?, kind);
                let schema = Arc::new(Schema::crd(gvk.clone(), resource, place));
                Some((gvk, schema))
            })
            .collect();
        Self { kinds }
    }

    fn find(&self, gvk: &Gvk) -> Option<&Arc<Schema>> {
        let (_, schema) = self.kinds.iter().find(|(defined, _)| defined == gvk)?;
        Some(schema)
    }
}

/// Estimates how many bytes of memory a definition takes with its compiled schemas.
fn weight(definition: &Resource) -> usize {
    definition.size().saturating_mul(BYTES_IN_MEMORY)
}

/// Returns true if a resource defines kinds.
pub(crate) fn is_crd(resource: &Resource) -> bool {
    let gvk = resource.gvk();
    *gvk.kind == *"CustomResourceDefinition"
        && *gvk.group == *"apiextensions.k8s.io"
        && *gvk.version == *"v1"
}

#[cfg(test)]
mod tests {
    use super::Crds;
    use serde_json::{Value, json};
    use std::sync::Arc;
    use tko_core::{Gvk, Package};

    fn crd(kind: &str, schema: &Value) -> Package {
        Package::from_values([json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "x"},
            "spec": {"group": "example.com", "names": {"kind": kind}, "versions": [
                {"name": "v1", "schema": {"openAPIV3Schema": schema}},
                {"name": "v2"},
            ]},
        })])
        .expect("a package")
    }

    fn number(crds: &Crds, api_version: &str, kind: &str) -> Option<u64> {
        let gvk = Gvk::of(api_version, kind);
        Some(crds.find(&gvk, &Package::default())?.number())
    }

    #[test]
    fn learned_kinds_are_known_until_forgotten() {
        let crds = Crds::new();
        assert_eq!(number(&crds, "example.com/v1", "Foo"), None);
        crds.learn("a", &crd("Foo", &json!({})));
        assert!(number(&crds, "example.com/v1", "Foo").is_some());
        assert_eq!(
            number(&crds, "example.com/v2", "Foo"),
            None,
            "has no schema"
        );
        crds.forget("b");
        assert!(number(&crds, "example.com/v1", "Foo").is_some());
        crds.forget("a");
        assert_eq!(number(&crds, "example.com/v1", "Foo"), None);
    }

    #[test]
    fn learning_again_replaces_what_a_source_gave() {
        let crds = Crds::new();
        crds.learn("a", &crd("Foo", &json!({})));
        crds.learn("a", &crd("Bar", &json!({})));
        assert_eq!(number(&crds, "example.com/v1", "Foo"), None);
        assert!(number(&crds, "example.com/v1", "Bar").is_some());
    }

    #[test]
    fn the_last_source_by_name_applies_in_any_order() {
        let (old, new) = (
            crd("Foo", &json!({"title": "1"})),
            crd("Foo", &json!({"title": "2"})),
        );
        let (one, other) = (Crds::new(), Crds::new());
        let gvk = Gvk::of("example.com/v1", "Foo");
        one.learn("foo:v1", &old);
        one.learn("foo:v2", &new);
        other.learn("foo:v2", &new);
        other.learn("foo:v1", &old);
        for crds in [one, other] {
            let expected = crds.find(&gvk, &new).expect("its own").number();
            assert_eq!(number(&crds, "example.com/v1", "Foo"), Some(expected));
            crds.forget("foo:v2");
            let expected = crds.find(&gvk, &old).expect("its own").number();
            assert_eq!(number(&crds, "example.com/v1", "Foo"), Some(expected));
        }
    }

    #[test]
    fn equal_definitions_share_one_schema() {
        let crds = Crds::new();
        let gvk = Gvk::of("example.com/v1", "Foo");
        let numbers: Vec<u64> = (0..2)
            .map(|_| {
                crds.find(&gvk, &crd("Foo", &json!({})))
                    .expect("found")
                    .number()
            })
            .collect();
        assert_eq!(numbers[0], numbers[1]);
    }

    #[test]
    fn definitions_of_packages_that_were_only_checked_are_released() {
        let crds = Crds::new();
        let title = "x".repeat(256 << 10);
        let package = |number: u32| crd("Foo", &json!({"title": title, "x": number}));
        let first = Arc::downgrade(&crds.of_package(&package(0))[0]);
        let learned = package(1);
        crds.learn("a", &learned);
        for number in 2..10 {
            crds.of_package(&package(number));
        }
        assert!(first.upgrade().is_some(), "few are kept");
        for number in 10..80 {
            crds.of_package(&package(number));
        }
        assert!(first.upgrade().is_none(), "many are too large together");
        assert!(number(&crds, "example.com/v1", "Foo").is_some(), "learned");
    }
}
