//! [`SiteMemory`]: the state that a process remembers for a site, to read and write less. It may be
//! lost at a restart without harm.

use crate::desired::ObjectKey;
use crate::drift::id_of;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The time in which corrections and creations are counted.
const HOUR: Duration = Duration::from_hours(1);

/// The state that a process remembers for one set of objects.
#[derive(Default)]
pub(crate) struct SiteMemory {
    inner: Mutex<Remembered>,
}

#[derive(Default)]
struct Remembered {
    wide: bool,
    /// The credentials do not reach beyond namespaces.
    confined: bool,
    /// Objects whose record of fields is not understood, with the hash of the applied state.
    opaque: HashMap<ObjectKey, String>,
    corrections: HashMap<ObjectKey, Vec<Instant>>,
    /// The times at which objects were created, by the hashes of their keys: the creation of a site
    /// adds all its objects.
    creations: HashMap<u64, Vec<Instant>>,
}

impl SiteMemory {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the site had objects in several namespaces. This only decides which list is tried
    /// first.
    pub(crate) fn is_wide(&self) -> bool {
        self.lock().wide
    }

    pub(crate) fn widen(&self, wide: bool) {
        self.lock().wide = wide;
    }

    pub(crate) fn is_confined(&self) -> bool {
        self.lock().confined
    }

    pub(crate) fn confine(&self) {
        self.lock().confined = true;
    }

    pub(crate) fn is_opaque(&self, key: &ObjectKey, hash: &str) -> bool {
        self.lock()
            .opaque
            .get(key)
            .is_some_and(|known| known == hash)
    }

    pub(crate) fn opaque(&self, key: &ObjectKey, hash: &str) {
        self.lock().opaque.insert(key.clone(), hash.to_owned());
    }

    /// Whether there were fewer than `most` corrections of an object within an hour.
    pub(crate) fn may_correct(&self, key: &ObjectKey, most: usize) -> bool {
        let now = Instant::now();
        let mut inner = self.lock();
        inner.corrections.retain(|_, times| {
            times.retain(|at| now.duration_since(*at) < HOUR);
            !times.is_empty()
        });
        inner.corrections.get(key).map_or(0, Vec::len) < most
    }

    /// Counts a correction.
    pub(crate) fn corrected(&self, key: &ObjectKey) {
        let mut inner = self.lock();
        let times = inner.corrections.entry(key.clone()).or_default();
        times.push(Instant::now());
    }

    /// Whether an object may be created: it was created at most `most` times within an hour. So the
    /// first time is not counted.
    pub(crate) fn may_create(&self, key: &ObjectKey, most: usize) -> bool {
        let now = Instant::now();
        let inner = self.lock();
        let times = inner.creations.get(&id(key)).into_iter().flatten();
        times.filter(|at| now.duration_since(**at) < HOUR).count() <= most
    }

    /// Counts a creation.
    pub(crate) fn created(&self, key: &ObjectKey) {
        let now = Instant::now();
        let mut inner = self.lock();
        // Most objects are created once.
        let times = inner.creations.entry(id(key));
        let times = times.or_insert_with(|| Vec::with_capacity(1));
        times.retain(|at| now.duration_since(*at) < HOUR);
        times.push(now);
    }

    /// Forgets the creations of objects other than the desired ones, and those more than an hour
    /// ago.
    pub(crate) fn keep_creations(&self, desired: &HashSet<&ObjectKey>) {
        let now = Instant::now();
        let mut inner = self.lock();
        if inner.creations.is_empty() {
            return;
        }
        let ids: HashSet<u64> = desired.iter().map(|key| id(key)).collect();
        inner.creations.retain(|id, times| {
            times.retain(|at| now.duration_since(*at) < HOUR);
            !times.is_empty() && ids.contains(id)
        });
        inner.creations.shrink_to_fit();
    }
}

fn id(key: &ObjectKey) -> u64 {
    id_of(&key.kind, &key.namespace, &key.name)
}

#[cfg(test)]
mod tests {
    use super::SiteMemory;
    use crate::desired::ObjectKey;
    use crate::kinds::GroupKind;
    use std::collections::HashSet;
    use std::time::Duration;

    fn key() -> ObjectKey {
        ObjectKey {
            kind: GroupKind::parse("ConfigMap").expect("a kind"),
            namespace: "a".to_owned(),
            name: "b".to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn corrections_are_limited_within_an_hour() {
        let memory = SiteMemory::default();
        let key = key();
        for _ in 0..2 {
            assert!(memory.may_correct(&key, 2));
            memory.corrected(&key);
        }
        assert!(!memory.may_correct(&key, 2));
        tokio::time::advance(Duration::from_mins(61)).await;
        assert!(memory.may_correct(&key, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn creations_are_limited_within_an_hour() {
        let memory = SiteMemory::default();
        let key = key();
        for _ in 0..3 {
            assert!(memory.may_create(&key, 2), "the first is not counted");
            memory.created(&key);
        }
        memory.keep_creations(&HashSet::from([&key]));
        assert!(!memory.may_create(&key, 2));
        assert!(memory.may_correct(&key, 1), "corrections are another count");
        tokio::time::advance(Duration::from_mins(61)).await;
        assert!(memory.may_create(&key, 2));
        memory.keep_creations(&HashSet::from([&key]));
        assert!(memory.lock().creations.is_empty(), "memory is bounded");
    }

    #[tokio::test(start_paused = true)]
    async fn creations_of_an_object_that_is_no_longer_desired_are_forgotten() {
        let memory = SiteMemory::default();
        let key = key();
        memory.created(&key);
        assert!(!memory.may_create(&key, 0));
        memory.keep_creations(&HashSet::new());
        assert!(memory.may_create(&key, 0));
    }
}
