//! A map that forgets entries that were not used recently.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;

/// Holds at least the `size` most recently used entries, and at most twice as many.
///
/// There are two generations. A used entry moves to the young one. When that is full, it becomes
/// the old one and the previous old one is dropped. Every operation takes one or two lookups.
pub(crate) struct Bounded<K, V> {
    size: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash + Clone, V: Clone> Bounded<K, V> {
    /// Creates a map; `size` must be at least 1.
    pub(crate) fn new(size: usize) -> Self {
        Self {
            size,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.size {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, value);
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
}
