//! Postings: the keys of the rows that have one value, in order.

use crate::table::Slot;
use std::collections::{BTreeMap, btree_map};
use std::ops::Bound;
use tko_core::Key;

/// The size at which a list becomes a tree.
const FEW: usize = 32;

/// Keys in order, with their slots. Most values have a few rows; some have a million.
#[derive(Debug)]
pub(crate) enum Posting {
    /// At most [`FEW`] entries, in order.
    Few(Vec<(Key, Slot)>),
    /// A posting that has, or had, more than [`FEW`] entries.
    Many(BTreeMap<Key, Slot>),
}

impl Posting {
    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(list) => list.len(),
            Self::Many(tree) => tree.len(),
        }
    }

    /// All keys, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        KeySource::of(self, Bound::Unbounded).map(|(key, _)| key)
    }

    /// Adds a row. A posting that grows too long for a list becomes a tree.
    pub(crate) fn insert(&mut self, key: Key, slot: Slot) {
        match self {
            Self::Few(list) if list.len() < FEW => {
                if let Err(at) = list.binary_search_by(|(other, _)| other.cmp(&key)) {
                    list.insert(at, (key, slot));
                }
            }
            Self::Few(list) => {
                let mut tree: BTreeMap<Key, Slot> = std::mem::take(list).into_iter().collect();
                tree.insert(key, slot);
                *self = Self::Many(tree);
            }
            Self::Many(tree) => {
                tree.insert(key, slot);
            }
        }
    }

    /// Removes a row.
    pub(crate) fn remove(&mut self, key: &Key) {
        match self {
            Self::Few(list) => {
                if let Ok(at) = list.binary_search_by(|(other, _)| other.cmp(key)) {
                    list.remove(at);
                }
            }
            Self::Many(tree) => {
                tree.remove(key);
            }
        }
    }
}

/// A sequence of keys in order, with their slots.
pub(crate) enum KeySource<'a> {
    /// Keys that were looked up one by one.
    Given(std::vec::IntoIter<(&'a Key, Slot)>),
    /// A posting that is a list.
    Few(std::slice::Iter<'a, (Key, Slot)>),
    /// A posting that is a tree, or all rows of a kind.
    Tree(btree_map::Range<'a, Key, Slot>),
}

impl<'a> KeySource<'a> {
    /// The entries of a posting from this key on.
    pub(crate) fn of(posting: &'a Posting, from: Bound<&Key>) -> Self {
        match posting {
            Posting::Few(list) => {
                let start = match from {
                    Bound::Unbounded => 0,
                    Bound::Included(first) => list.partition_point(|(key, _)| key < first),
                    Bound::Excluded(last) => list.partition_point(|(key, _)| key <= last),
                };
                Self::Few(list[start..].iter())
            }
            Posting::Many(tree) => Self::Tree(tree.range::<Key, _>((from, Bound::Unbounded))),
        }
    }
}

impl<'a> Iterator for KeySource<'a> {
    type Item = (&'a Key, Slot);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Given(keys) => keys.next(),
            Self::Few(list) => list.next().map(|(key, slot)| (key, *slot)),
            Self::Tree(tree) => tree.next().map(|(key, slot)| (key, *slot)),
        }
    }
}
