//! Waiting change sets, and which of them can be read, checked and written together.

use std::collections::{BTreeMap, BTreeSet};
use tko_core::{Change, ChangeSet, Entity, Facts, Key, Package, Require};

/// A change set that `tko_core::commit::check` accepted.
pub(crate) struct GroupedSet {
    /// The set, without its changes.
    pub(super) set: ChangeSet,
    pub(super) changes: Vec<Change>,
    /// The exact content of put entities that are restored from a backup.
    pub(super) restored: BTreeMap<Key, Entity>,
    /// The keys that the set depends on.
    keys: BTreeSet<Key>,
}

impl GroupedSet {
    pub(crate) fn new(mut set: ChangeSet, restored: BTreeMap<Key, Entity>) -> Self {
        let changes = std::mem::take(&mut set.changes);
        let mut keys: BTreeSet<Key> = changes.iter().map(Change::key).cloned().collect();
        keys.extend(set.require.iter().map(Require::key).cloned());
        keys.extend(set.enqueue.iter().map(|enqueue| enqueue.key.clone()));
        keys.extend(set.under.as_ref().map(|token| token.key.clone()));
        Self {
            set,
            changes,
            restored,
            keys,
        }
    }

    /// The keys that the set depends on.
    pub(super) fn keys(&self) -> &BTreeSet<Key> {
        &self.keys
    }

    /// The keys whose row, work or modification the set may change.
    fn written(&self) -> impl Iterator<Item = &Key> {
        let enqueued = self.set.enqueue.iter().map(|enqueue| &enqueue.key);
        let under = self.set.under.as_ref().map(|token| &token.key);
        let changed = self.changes.iter().map(Change::key);
        changed.chain(enqueued).chain(under)
    }

    /// Whether the set depends on rows other than those of its keys.
    fn is_wide(&self) -> bool {
        let is_wide = |require: &Require| matches!(require, Require::Unreferenced(_));
        self.set.require.iter().any(is_wide)
    }

    /// Whether the set changes no row that exists.
    fn only_creates(&self) -> bool {
        let absent = |key: &Key| {
            let mut require = self.set.require.iter();
            require.any(|require| matches!(require, Require::Absent(absent) if absent == key))
        };
        let creates = |change: &Change| matches!(change, Change::Put(put) if absent(&put.key));
        self.changes.len() <= MAX_CREATED && self.changes.iter().all(creates)
    }

    /// The size of the packages that the set puts.
    fn bytes(&self) -> usize {
        let bodies = self.changes.iter().filter_map(|change| match change {
            Change::Put(put) => put.body.as_ref(),
            _ => None,
        });
        bodies.map(Package::size).sum()
    }

    /// The idempotency keys that the set puts.
    fn idempotency_keys(&self) -> impl Iterator<Item = &str> {
        self.changes.iter().filter_map(|change| match change {
            Change::Put(put) => match &put.facts {
                Facts::Deployment(deployment) => deployment.idempotency_key.as_deref(),
                _ => None,
            },
            _ => None,
        })
    }
}

/// Maximum number of changes of a set that is examined for whether it only creates entities.
const MAX_CREATED: usize = 16;

/// Maximum number of changes, and of bytes of packages, of sets that are written together. All of
/// them are in memory and in one argument at once. A single set may have more.
const MAX_TOGETHER: usize = 4_000;
const MAX_TOGETHER_BYTES: usize = 64 << 20;

/// Maximum number of changes, and of bytes of packages, that are written without a transaction around
/// the read and the write. With more, statements matter less, and a refused write costs more.
const MAX_AT_ONCE: usize = 64;
const MAX_AT_ONCE_BYTES: usize = 1 << 20;

/// Whether all of these sets can be read together and then written by one statement, without a
/// transaction around both.
pub(super) fn are_one_write(sets: &[GroupedSet]) -> bool {
    let changes: usize = sets.iter().map(|grouped| grouped.changes.len()).sum();
    let bytes: usize = sets.iter().map(GroupedSet::bytes).sum();
    changes <= MAX_AT_ONCE && bytes <= MAX_AT_ONCE_BYTES && independent(sets) == sets.len()
}

/// The number of sets from the start that can be written together, at least 1: no set reads what an
/// earlier one writes.
pub(super) fn independent(sets: &[GroupedSet]) -> usize {
    let mut written: BTreeSet<&Key> = BTreeSet::new();
    let mut idempotency_keys: BTreeSet<&str> = BTreeSet::new();
    // A change of an existing row may free an idempotency key.
    let mut only_creates = true;
    let (mut changes, mut bytes) = (0_usize, 0_usize);
    for (count, grouped) in sets.iter().enumerate() {
        let is_taken = |key: &str| !only_creates || idempotency_keys.contains(key);
        let depends = grouped.is_wide()
            || grouped.keys().iter().any(|key| written.contains(key))
            || grouped.idempotency_keys().any(is_taken);
        changes += grouped.changes.len();
        bytes += grouped.bytes();
        let is_much = changes > MAX_TOGETHER || bytes > MAX_TOGETHER_BYTES;
        if count > 0 && (depends || is_much) {
            return count;
        }
        if grouped.is_wide() {
            return 1;
        }
        written.extend(grouped.written());
        idempotency_keys.extend(grouped.idempotency_keys());
        only_creates &= grouped.only_creates();
    }
    sets.len()
}

#[cfg(test)]
mod tests {
    use super::{GroupedSet, MAX_AT_ONCE, MAX_TOGETHER, are_one_write, independent};
    use std::collections::BTreeMap;
    use tko_core::{ChangeSet, Key, Kind, Put, Require};

    fn key(id: &str) -> Key {
        Key::new(Kind::Site, id).expect("an id")
    }

    fn put(id: &str) -> ChangeSet {
        ChangeSet::new().put(Put::new(key(id)))
    }

    fn count(sets: impl IntoIterator<Item = ChangeSet>) -> usize {
        let sets = sets.into_iter();
        let sets: Vec<GroupedSet> = sets
            .map(|set| GroupedSet::new(set, BTreeMap::new()))
            .collect();
        independent(&sets)
    }

    #[test]
    fn sets_go_together_until_one_depends_on_another() {
        assert_eq!(count([put("a")]), 1);
        assert_eq!(count([put("a"), put("b"), put("c")]), 3);
        assert_eq!(count([put("a"), put("b"), put("a")]), 2);
        let exists = |set: ChangeSet| set.require(Require::Exists(key("x")));
        assert_eq!(count([exists(put("a")), exists(put("b"))]), 2);
        assert_eq!(count([put("x"), exists(put("a"))]), 1);
        assert_eq!(count([exists(put("a")), put("x")]), 2);
    }

    #[test]
    fn a_set_that_looks_for_references_goes_alone() {
        let free = |id: &str| put(id).require(Require::Unreferenced(key("x")));
        assert_eq!(count([free("a"), put("b")]), 1);
        assert_eq!(count([put("b"), free("a")]), 1);
    }

    #[test]
    fn large_sets_do_not_go_together() {
        let many = |number: usize| {
            let keys = (0..number).map(|number| key(&format!("s{number}")));
            keys.fold(ChangeSet::new(), |set, key| set.put(Put::new(key)))
        };
        assert_eq!(count([put("a"), many(MAX_TOGETHER - 1)]), 2);
        assert_eq!(count([put("a"), many(MAX_TOGETHER)]), 1);
        assert_eq!(count([many(MAX_TOGETHER + 1), put("a")]), 1);
        let one_write = |set: ChangeSet| are_one_write(&[GroupedSet::new(set, BTreeMap::new())]);
        assert!(one_write(many(MAX_AT_ONCE)));
        assert!(!one_write(many(MAX_AT_ONCE + 1)));
    }
}
