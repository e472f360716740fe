//! [`Cache`]: answers that are kept for a while.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tko_core::Timestamp;

/// A bounded number of answers, each kept for a while.
pub(super) struct Cache<K, V> {
    most: usize,
    kept: Duration,
    entries: Mutex<HashMap<K, (V, Timestamp)>>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new(most: usize, kept: Duration) -> Self {
        Self {
            most,
            kept,
            entries: Mutex::new(HashMap::new()),
        }
    }

    pub(super) fn get(&self, key: &K, now: Timestamp) -> Option<V> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, until) = entries.get(key)?;
        (now < *until).then(|| value.clone())
    }

    pub(super) fn put(&self, key: K, value: V, now: Timestamp) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.most {
            entries.retain(|_, (_, until)| now < *until);
        }
        if entries.len() >= self.most {
            entries.clear();
        }
        entries.insert(key, (value, now.plus(self.kept)));
    }
}

#[cfg(test)]
mod tests {
    use super::Cache;
    use std::time::Duration;
    use tko_core::Timestamp;

    #[test]
    fn answers_expire_and_are_bounded() {
        let cache = Cache::new(2, Duration::from_micros(10));
        cache.put("a", 1, Timestamp(0));
        assert_eq!(cache.get(&"a", Timestamp(9)), Some(1));
        assert_eq!(cache.get(&"a", Timestamp(10)), None);
        for (at, key) in ["b", "c", "d", "e"].into_iter().enumerate() {
            cache.put(key, at, Timestamp(1));
        }
        assert!(cache.entries.lock().expect("not poisoned").len() <= 2);
        assert_eq!(cache.get(&"e", Timestamp(2)), Some(3));
    }
}
