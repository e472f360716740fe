//! The last changes that were read, for all readers of a feed in this process.
//!
//! Readers at the end of the feed wake at the same time. The first of them reads the new changes
//! from the file, while the others wait for it; then they take them from here.

use std::collections::VecDeque;
use tko_core::{ChangeRecord, Revision};
use tokio::sync::Mutex;

/// The number of changes that are kept.
const KEPT: usize = 1_024;

/// The last changes: dense, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct RecentRows(VecDeque<ChangeRecord>);

impl RecentRows {
    /// Whether a reader that has read up to this revision needs changes newer than all of these.
    pub(super) fn ends_at(&self, after: Revision) -> bool {
        self.0.back().is_none_or(|last| last.revision <= after)
    }

    /// The changes after a revision, at most `most`; `None` if the next one is not among them.
    pub(super) fn after(&self, after: Revision, most: usize) -> Option<Vec<ChangeRecord>> {
        let first = self.0.front()?.revision.0;
        let start = usize::try_from((after.0 + 1).checked_sub(first)?).ok()?;
        let found: Vec<ChangeRecord> = self.0.iter().skip(start).take(most).cloned().collect();
        (!found.is_empty()).then_some(found)
    }

    /// Adds changes that were read, if they are newer.
    pub(super) fn add(&mut self, changes: &[ChangeRecord]) {
        for change in changes {
            let next = self.0.back().map(|last| last.revision.0 + 1);
            match next {
                Some(next) if change.revision.0 < next => continue,
                // There is a gap: the old changes are useless to readers of the new ones.
                Some(next) if change.revision.0 > next => self.0.clear(),
                _ => {}
            }
            self.0.push_back(change.clone());
        }
        let excess = self.0.len().saturating_sub(KEPT);
        self.0.drain(..excess);
    }
}

/// The changes that were read recently, without and with packages.
pub(crate) type SharedChanges = [Mutex<RecentRows>; 2];

#[cfg(test)]
mod tests {
    use super::RecentRows;
    use tko_core::{ChangeRecord, Key, Kind, Revision, Timestamp};

    fn changes(revisions: std::ops::Range<u64>) -> Vec<ChangeRecord> {
        let key = Key::new(Kind::Site, "s").expect("an id");
        let change = |revision| {
            let revision = Revision(revision);
            ChangeRecord::new(revision, revision, Timestamp(0), key.clone())
        };
        revisions.map(change).collect()
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
}
