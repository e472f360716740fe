//! [`SiteMemory`]: the state that a process remembers for a site, to read and write less. It may be
//! lost at a restart without harm.

use crate::desired::ObjectKey;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The time in which corrections are counted.
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
}

#[cfg(test)]
mod tests {
    use super::SiteMemory;
    use crate::desired::ObjectKey;
    use crate::kinds::GroupKind;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn corrections_are_limited_within_an_hour() {
        let memory = SiteMemory::default();
        let key = ObjectKey {
            kind: GroupKind::parse("ConfigMap").expect("a kind"),
            namespace: "a".to_owned(),
            name: "b".to_owned(),
        };
        for _ in 0..2 {
            assert!(memory.may_correct(&key, 2));
            memory.corrected(&key);
        }
        assert!(!memory.may_correct(&key, 2));
        tokio::time::advance(Duration::from_mins(61)).await;
        assert!(memory.may_correct(&key, 2));
    }
}
