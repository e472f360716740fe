//! Pools that keep one copy of equal values: the packages and metadata of a fleet hardly differ.
//!
//! A pool does not keep values alive for long. Each addition checks a few entries in turn and drops
//! the unused ones, so that no single call pays for a full sweep.

use std::collections::{BTreeMap, hash_map::DefaultHasher};
use std::hash::{Hash, Hasher};
use std::ops::Bound;
use std::sync::{Arc, Weak};
use tko_core::{ContentHash, Metadata, Package, Resource};

/// The number of entries checked with each addition; more than one, so that dropping keeps up with
/// adding.
const STEPS: usize = 3;

#[derive(Debug)]
struct Pool<K, V> {
    entries: BTreeMap<K, V>,
    /// The entry that was checked last.
    hand: Option<K>,
}

impl<K, V> Default for Pool<K, V> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            hand: None,
        }
    }
}

impl<K: Ord + Copy, V> Pool<K, V> {
    fn add(&mut self, key: K, value: V, in_use: impl Fn(&V) -> bool) {
        for _ in 0..STEPS {
            let from = self.hand.map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.entries.range((from, Bound::Unbounded)).next();
            let next = next.map(|(key, value)| (*key, in_use(value)));
            self.hand = next.map(|(key, _)| key);
            if let Some((key, false)) = next {
                self.entries.remove(&key);
            }
        }
        self.entries.insert(key, value);
    }
}

/// The values that rows and the log share.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    bodies: Pool<ContentHash, Weak<Package>>,
    resources: Pool<ContentHash, Weak<Resource>>,
    /// The key is a hash that may collide: if two values have the same hash, only the first is
    /// shared.
    metadata: Pool<u64, Metadata>,
}

impl Pools {
    /// The shared body with this content.
    pub(crate) fn body(&mut self, package: &Package) -> Arc<Package> {
        let hash = package.hash();
        if let Some(body) = self.bodies.entries.get(&hash).and_then(Weak::upgrade) {
            return body;
        }
        let shared: Vec<_> = package.iter().map(|r| self.resource(r)).collect();
        let same = package.iter().zip(&shared).all(|(a, b)| Arc::ptr_eq(a, b));
        let package = if same {
            package.clone()
        } else {
            Package::new(shared).expect("equal resources have equal identifiers")
        };
        let body = Arc::new(package);
        let weak = Arc::downgrade(&body);
        self.bodies.add(hash, weak, |body| body.strong_count() > 0);
        body
    }

    /// The shared resource with this content.
    pub(crate) fn resource(&mut self, resource: &Arc<Resource>) -> Arc<Resource> {
        let hash = resource.hash();
        if let Some(shared) = self.resources.entries.get(&hash).and_then(Weak::upgrade) {
            return shared;
        }
        let weak = Arc::downgrade(resource);
        self.resources.add(hash, weak, |r| r.strong_count() > 0);
        resource.clone()
    }

    /// The shared metadata with this content.
    pub(crate) fn metadata(&mut self, metadata: &Metadata) -> Metadata {
        let mut hasher = DefaultHasher::new();
        metadata.hash(&mut hasher);
        let hash = hasher.finish();
        match self.metadata.entries.get(&hash) {
            Some(shared) if shared == metadata => shared.clone(),
            Some(_) => metadata.clone(),
            None => {
                self.metadata
                    .add(hash, metadata.clone(), Metadata::is_shared);
                metadata.clone()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pools;
    use serde_json::json;
    use std::sync::Arc;
    use tko_core::{Metadata, Package};

    fn package(names: &[&str]) -> Package {
        let values = names
            .iter()
            .map(|name| json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": name}}));
        Package::from_values(values).expect("identified")
    }

    #[test]
    fn equal_bodies_are_shared_and_different_bodies_share_equal_resources() {
        let mut pools = Pools::default();
        let (one, same) = (package(&["a", "b"]), package(&["a", "b"]));
        let (one, same) = (pools.body(&one), pools.body(&same));
        assert!(Arc::ptr_eq(&one, &same));
        let other = pools.body(&package(&["b", "c"]));
        assert!(Arc::ptr_eq(&one.resources()[1], &other.resources()[0]));
        assert_eq!(*other, package(&["b", "c"]));
    }

    #[test]
    fn unused_values_leave_the_pools_as_others_are_added() {
        let mut pools = Pools::default();
        for n in 0..1_000 {
            let name = n.to_string();
            pools.body(&package(&[&name]));
            pools.metadata(&Metadata::from_iter([("name", name)]));
        }
        assert!(pools.bodies.entries.len() < 10, "{:?}", pools.bodies);
        assert!(pools.resources.entries.len() < 10);
        assert!(pools.metadata.entries.len() < 10);
    }

    #[test]
    fn used_values_stay_in_the_pools() {
        let mut pools = Pools::default();
        let used: Vec<_> = (0..100)
            .map(|n| pools.body(&package(&[&n.to_string()])))
            .collect();
        for (n, body) in used.iter().enumerate() {
            let again = pools.body(&package(&[&n.to_string()]));
            assert!(Arc::ptr_eq(body, &again));
        }
    }
}
