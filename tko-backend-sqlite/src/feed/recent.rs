//! The last changes that were read, for all readers of a feed in this process.
//!
//! Readers at the end of the feed wake at the same time. The first of them reads the new changes
//! from the file, while the others wait for it; then they take them from here.

use std::collections::VecDeque;
use tko_core::{ChangeRecord, Package, Revision};
use tokio::sync::Mutex;

/// Maximum number of changes that are kept.
const KEPT: usize = 1_024;

/// Maximum size of the packages of all changes that are kept, in bytes of compact JSON. The last
/// change is kept even if it is larger.
const KEPT_BYTES: usize = 32 << 20;

/// The last changes: dense, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct RecentRows {
    changes: VecDeque<ChangeRecord>,
    /// The size of their packages, in bytes of compact JSON.
    bytes: usize,
}

impl RecentRows {
    /// Whether a reader that has read up to this revision needs changes newer than all of these.
    pub(super) fn ends_at(&self, after: Revision) -> bool {
        self.changes
            .back()
            .is_none_or(|last| last.revision <= after)
    }

    /// The changes after a revision, at most `most`; `None` if the next one is not among them.
    pub(super) fn after(&self, after: Revision, most: usize) -> Option<Vec<ChangeRecord>> {
        let first = self.changes.front()?.revision.0;
        let start = usize::try_from((after.0 + 1).checked_sub(first)?).ok()?;
        let found = self.changes.iter().skip(start).take(most);
        let found: Vec<ChangeRecord> = found.cloned().collect();
        (!found.is_empty()).then_some(found)
    }

    /// Adds changes that were read, if they are newer.
    pub(super) fn add(&mut self, changes: &[ChangeRecord]) {
        for change in changes {
            let next = self.changes.back().map(|last| last.revision.0 + 1);
            match next {
                Some(next) if change.revision.0 < next => continue,
                // There is a gap: the old changes are useless to readers of the new ones.
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

/// The changes that were read recently, without and with packages.
pub(crate) type SharedChanges = [Mutex<RecentRows>; 2];

#[cfg(test)]
mod tests {
    use super::{KEPT_BYTES, RecentRows};
    use serde_json::json;
    use tko_core::{ChangeRecord, Entity, Facts, Key, Kind, Package, Record, Revision, Timestamp};

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

    fn after(recent: &RecentRows, revision: u64) -> Option<Vec<u64>> {
        let found = recent.after(Revision(revision), 3)?;
        Some(found.iter().map(|change| change.revision.0).collect())
    }

    #[test]
    fn readers_get_dense_changes_or_none() {
        let mut recent = RecentRows::default();
        assert!(recent.ends_at(Revision(0)));
        assert_eq!(after(&recent, 0), None);
        recent.add(&changes(5..9));
        recent.add(&changes(7..11));
        assert_eq!(after(&recent, 3), None);
        assert_eq!(after(&recent, 4), Some(vec![5, 6, 7]));
        assert_eq!(after(&recent, 9), Some(vec![10]));
        assert_eq!(after(&recent, 10), None);
        assert!(recent.ends_at(Revision(10)));
        recent.add(&changes(20..22));
        assert_eq!(after(&recent, 9), None);
        assert_eq!(after(&recent, 19), Some(vec![20, 21]));
        recent.add(&changes(22..5_000));
        assert_eq!(after(&recent, 3_000), None);
        assert_eq!(after(&recent, 4_998), Some(vec![4_999]));
    }

    #[test]
    fn large_packages_leave_room_for_fewer_changes() {
        let mut recent = RecentRows::default();
        // Three changes fit, but not four.
        let small = package(KEPT_BYTES / 8);
        for revision in 1..=10 {
            recent.add(&[change_with_packages(revision, &small)]);
            assert!(recent.bytes <= KEPT_BYTES, "{} bytes", recent.bytes);
        }
        assert_eq!(after(&recent, 6), None);
        assert_eq!(after(&recent, 7), Some(vec![8, 9, 10]));
        // One that is too large is kept alone.
        recent.add(&[change_with_packages(11, &package(KEPT_BYTES / 2))]);
        assert_eq!(after(&recent, 9), None);
        assert_eq!(after(&recent, 10), Some(vec![11]));
        // A gap discards the size together with the changes.
        recent.add(&changes(20..22));
        assert_eq!(recent.bytes, 0);
        assert_eq!(after(&recent, 19), Some(vec![20, 21]));
    }
}
