//! Values that workers share.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tko_core::{ContentHash, SharedLimits, Timestamp};

/// Shared values, by key and by the time when they were shared.
#[derive(Debug, Default)]
pub(crate) struct SharedValues {
    values: HashMap<ContentHash, (Timestamp, Vec<u8>)>,
    order: BTreeSet<(Timestamp, ContentHash)>,
    bytes: u64,
}

impl SharedValues {
    pub(crate) fn put(
        &mut self,
        key: ContentHash,
        value: &[u8],
        limits: SharedLimits,
        now: Timestamp,
    ) {
        if !limits.admit(value.len()) {
            return;
        }
        self.forget(key);
        self.bytes += value.len() as u64;
        self.order.insert((now, key));
        self.values.insert(key, (now, value.to_vec()));
        while let Some(&(at, oldest)) = self.order.first() {
            let is_within = self.values.len() <= limits.values
                && self.bytes <= limits.bytes
                && now.since(at) < limits.age;
            if is_within {
                break;
            }
            self.forget(oldest);
        }
    }

    pub(crate) fn find(&self, key: ContentHash, age: Duration, now: Timestamp) -> Option<Vec<u8>> {
        let (at, value) = self.values.get(&key)?;
        (now.since(*at) < age).then(|| value.clone())
    }

    fn forget(&mut self, key: ContentHash) {
        if let Some((at, value)) = self.values.remove(&key) {
            self.order.remove(&(at, key));
            self.bytes -= value.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SharedValues;
    use tko_core::{ContentHash, SharedLimits, Timestamp};

    #[test]
    fn the_newest_values_are_found() {
        let mut shared = SharedValues::default();
        let limits = SharedLimits::new().values(2);
        for number in 1..=3 {
            let key = ContentHash([number; 32]);
            shared.put(key, &[number], limits, Timestamp(i64::from(number)));
        }
        let find = |number| shared.find(ContentHash([number; 32]), limits.age, Timestamp(9));
        assert_eq!(
            [find(1), find(2), find(3)],
            [None, Some(vec![2]), Some(vec![3])]
        );
        assert_eq!((shared.bytes, shared.order.len()), (2, 2));
    }
}
