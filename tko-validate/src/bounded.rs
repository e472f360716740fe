//! A map that forgets entries that were not used recently.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;

/// Holds at least the `size` most recently used entries, and at most twice as many. With a maximum
/// weight, it holds fewer entries if they would weigh more together; the two most recent ones
/// always stay.
///
/// There are two generations. A used entry moves to the young one. When that is full, it becomes
/// the old one and the previous old one is dropped. Every operation takes one or two lookups.
pub(crate) struct Bounded<K, V> {
    size: usize,
    /// Maximum weight of each generation. A heavier entry is a generation of its own: it would be
    /// made again for each use otherwise.
    weight: usize,
    young: HashMap<K, Weighted<V>>,
    /// Sum of the weights of the young generation.
    young_weight: usize,
    old: HashMap<K, Weighted<V>>,
}

/// A value with its weight.
struct Weighted<V> {
    value: V,
    weight: usize,
}

impl<K: Eq + Hash + Clone, V: Clone> Bounded<K, V> {
    /// Creates a map; `size` must be at least 1.
    pub(crate) fn new(size: usize) -> Self {
        Self::with_weight(size, usize::MAX)
    }

    /// Creates a map of entries that together weigh at most `weight`, such as a number of bytes;
    /// `size` must be at least 1. The two most recent entries stay, whatever they weigh.
    pub(crate) fn with_weight(size: usize, weight: usize) -> Self {
        Self {
            size,
            weight: weight / 2,
            young: HashMap::new(),
            young_weight: 0,
            old: HashMap::new(),
        }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(entry) = self.young.get(key) {
            return Some(entry.value.clone());
        }
        let (key, Weighted { value, weight }) = self.old.remove_entry(key)?;
        self.insert_weighted(key, value.clone(), weight);
        Some(value)
    }

    /// Inserts an entry that weighs nothing.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.insert_weighted(key, value, 0);
    }

    pub(crate) fn insert_weighted(&mut self, key: K, value: V, weight: usize) {
        if let Some(replaced) = self.young.remove(&key) {
            self.young_weight -= replaced.weight;
        }
        let is_full =
            self.young.len() >= self.size || self.young_weight.saturating_add(weight) > self.weight;
        if is_full && !self.young.is_empty() {
            self.old = mem::take(&mut self.young);
            self.young_weight = 0;
        }
        self.young_weight = self.young_weight.saturating_add(weight);
        self.young.insert(key, Weighted { value, weight });
    }
}

#[cfg(test)]
mod tests {
    use super::Bounded;

    #[test]
    fn recently_used_entries_stay() {
        let mut map = Bounded::new(10);
        for number in 0..1000 {
            map.insert(number, number * 2);
            assert_eq!(map.get(&0), Some(0), "used all the time");
        }
        assert_eq!(map.get(&999), Some(1998));
        assert_eq!(map.get(&991), Some(1982));
        assert_eq!(map.get(&500), None);
        assert!(map.young.len() + map.old.len() <= 20);
    }

    #[test]
    fn entries_stay_within_their_weight() {
        let mut map = Bounded::with_weight(1_000, 100);
        for number in 0..1_000 {
            map.insert_weighted(number, number * 2, 10);
            assert_eq!(map.get(&0), Some(0), "used all the time");
            assert!(map.young.len() + map.old.len() <= 10);
        }
        assert_eq!(map.get(&999), Some(1998));
        assert_eq!(map.get(&500), None);
        // Replacing an entry does not make room for others.
        for _ in 0..100 {
            map.insert_weighted(999, 1, 10);
        }
        assert_eq!(map.get(&0), Some(0));
    }

    #[test]
    fn the_two_most_recent_entries_stay_whatever_they_weigh() {
        let mut map = Bounded::with_weight(1_000, 100);
        for number in 0..10 {
            map.insert_weighted(number, number, 1_000);
        }
        assert_eq!(map.young.len() + map.old.len(), 2);
        assert_eq!((map.get(&8), map.get(&9)), (Some(8), Some(9)));
    }
}
