//! A map that forgets what was not used lately.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;

/// Holds at least the `size` entries that were used last and at most twice as many.
///
/// Two generations: what is used moves to the young one; when that is full, it becomes the old
/// one, and what was old is forgotten. Every operation is a look-up or two.
pub(crate) struct Bounded<K, V> {
    size: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash + Clone, V: Clone> Bounded<K, V> {
    /// `size` must be at least one.
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
    fn what_was_used_lately_stays_and_the_rest_goes() {
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
