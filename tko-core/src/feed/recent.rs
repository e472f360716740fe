//! The last changes of a feed, in memory.

use crate::change::ChangeRecord;
use crate::package::Package;
use crate::revision::Revision;
use std::collections::VecDeque;

/// Maximum number of changes that are kept.
const KEPT: usize = 1_024;

/// Maximum size of the packages of all changes that are kept, in bytes of compact JSON. The last
/// change is kept even if it is larger.
const KEPT_BYTES: usize = 32 << 20;

/// Maximum number of changes that are returned at once.
const BATCH: usize = 256;

/// The last changes that a backend has read, for all readers of its feed: dense, the oldest first.
///
/// A backend has one for changes without packages, and one for changes with packages. The size of
/// the packages is limited to 32 MiB of JSON.
#[derive(Debug, Default)]
pub struct ChangeCache {
    changes: VecDeque<ChangeRecord>,
    /// The size of their packages, in bytes of compact JSON.
    bytes: usize,
}

impl ChangeCache {
    /// Whether a reader that has read up to this revision needs changes newer than all of these.
    pub fn ends_at(&self, after: Revision) -> bool {
        self.changes
            .back()
            .is_none_or(|last| last.revision <= after)
    }

    /// The next changes after a revision, at most 256; `None` if the first of them is not here.
    pub fn after(&self, after: Revision) -> Option<Vec<ChangeRecord>> {
        if self.ends_at(after) {
            return None;
        }
        let first = self.changes.front()?.revision.0;
        // The revision is before the last one, so this does not overflow.
        let start = usize::try_from((after.0 + 1).checked_sub(first)?).ok()?;
        Some(self.changes.range(start..).take(BATCH).cloned().collect())
    }

    /// Adds changes that were read, in order, if they are newer than all of these. A gap discards
    /// the earlier ones.
    pub fn add(&mut self, changes: &[ChangeRecord]) {
        for change in changes {
            let next = self.changes.back().map(|last| last.revision.0 + 1);
            match next {
                Some(next) if change.revision.0 < next => continue,
                // The old changes are useless to readers of the new ones.
                Some(next) if change.revision.0 > next => {
                    self.changes.clear();
                    self.bytes = 0;
                }
                _ => {}
            }
            self.bytes += package_bytes(change);
            self.changes.push_back(change.clone());
            self.drop_excess();
        }
    }

    fn drop_excess(&mut self) {
        while self.changes.len() > KEPT || (self.changes.len() > 1 && self.bytes > KEPT_BYTES) {
            let Some(oldest) = self.changes.pop_front() else {
                return;
            };
            self.bytes -= package_bytes(&oldest);
        }
    }
}

/// The size of the packages before and after a change, in bytes of compact JSON.
fn package_bytes(change: &ChangeRecord) -> usize {
    let states = [&change.before, &change.after].into_iter().flatten();
    let packages = states.filter_map(|state| state.package.as_ref());
    packages.map(Package::size).sum()
}

#[cfg(test)]
mod tests {
    use super::{BATCH, ChangeCache, KEPT, KEPT_BYTES};
    use crate::change::ChangeRecord;
    use crate::entity::{Entity, Facts, Record};
    use crate::id::{Key, Kind};
    use crate::package::Package;
    use crate::revision::{Revision, Timestamp};
    use serde_json::json;

    fn changes(revisions: std::ops::Range<u64>) -> Vec<ChangeRecord> {
        let key = Key::new(Kind::Site, "s").expect("an id");
        let change = |revision| {
            let revision = Revision(revision);
            ChangeRecord::new(revision, revision, Timestamp(0), key.clone())
        };
        revisions.map(change).collect()
    }

    /// A package of this size, or a little more.
    fn package(bytes: usize) -> Package {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
            "data": {"text": "x".repeat(bytes)}});
        Package::from_values([value]).expect("a package")
    }

    /// A change whose states before and after it have this package.
    fn change_with_packages(revision: u64, package: &Package) -> ChangeRecord {
        let key = Key::new(Kind::Site, "s").expect("an id");
        let facts = Facts::Site {
            template: None,
            origin: None,
        };
        let state = Record::new(Entity::new(key.clone(), facts)).package(package.clone());
        let revision = Revision(revision);
        ChangeRecord::new(revision, revision, Timestamp(0), key)
            .before(state.clone())
            .after(state)
    }

    fn after(cache: &ChangeCache, revision: u64) -> Option<Vec<u64>> {
        let found = cache.after(Revision(revision))?;
        Some(found.iter().map(|change| change.revision.0).collect())
    }

    #[test]
    fn readers_get_dense_changes_or_none() {
        let mut cache = ChangeCache::default();
        assert!(cache.ends_at(Revision(0)));
        assert_eq!(after(&cache, 0), None);
        cache.add(&changes(5..9));
        cache.add(&changes(7..11));
        assert_eq!(after(&cache, 3), None);
        assert_eq!(after(&cache, 4), Some(vec![5, 6, 7, 8, 9, 10]));
        assert_eq!(after(&cache, 9), Some(vec![10]));
        assert_eq!(after(&cache, 10), None);
        assert!(cache.ends_at(Revision(10)));
        cache.add(&changes(20..22));
        assert_eq!(after(&cache, 9), None);
        assert_eq!(after(&cache, 19), Some(vec![20, 21]));
    }

    #[test]
    fn the_number_of_changes_is_limited() {
        let mut cache = ChangeCache::default();
        let end = 3 * KEPT as u64;
        cache.add(&changes(1..end + 1));
        let first = end - KEPT as u64;
        assert_eq!(after(&cache, first - 1), None);
        let batch = after(&cache, first).expect("it is there");
        assert_eq!((batch.len(), batch[0]), (BATCH, first + 1));
        assert_eq!(after(&cache, end - 1), Some(vec![end]));
    }

    #[test]
    fn large_packages_leave_room_for_fewer_changes() {
        let mut cache = ChangeCache::default();
        // Three changes fit, but not four.
        let small = package(KEPT_BYTES / 8);
        for revision in 1..=10 {
            cache.add(&[change_with_packages(revision, &small)]);
            assert!(cache.bytes <= KEPT_BYTES, "{} bytes", cache.bytes);
        }
        assert_eq!(after(&cache, 6), None);
        assert_eq!(after(&cache, 7), Some(vec![8, 9, 10]));
        // One that is too large is kept alone.
        cache.add(&[change_with_packages(11, &package(KEPT_BYTES / 2))]);
        assert_eq!(after(&cache, 9), None);
        assert_eq!(after(&cache, 10), Some(vec![11]));
        // A gap discards the size together with the changes.
        cache.add(&changes(20..22));
        assert_eq!(cache.bytes, 0);
        assert_eq!(after(&cache, 19), Some(vec![20, 21]));
    }
}
