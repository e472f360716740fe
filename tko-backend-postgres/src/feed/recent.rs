//! The latest changes, read once for all who follow.
//!
//! Whoever is at the end of what is remembered and hears of more reads it, for itself and for all
//! others, who wait for it meanwhile. Whoever is further back reads the table until it has caught
//! up. So any number of watchers costs one read of each change a process.

use super::image;
use crate::postgres::Shared;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use tko_core::{ChangeRecord, Result, Revision};

/// So many changes are remembered; of those with bodies, which may be large, a batch.
const REMEMBERED: usize = 2_048;

/// Most that are handed out at once.
const BATCH: usize = 256;

/// The end of the feed, with bodies or without.
#[derive(Debug)]
pub(super) struct Recent {
    package: bool,
    known: Mutex<Known>,
    /// Held by whoever reads what comes after all that is known.
    reading: tokio::sync::Mutex<()>,
}

/// Changes without a gap.
#[derive(Debug, Default)]
struct Known {
    /// The revision before the first.
    start: u64,
    changes: VecDeque<ChangeRecord>,
}

impl Known {
    fn end(&self) -> u64 {
        self.start + self.changes.len() as u64
    }

    /// What comes after this; `None`: that is not known here.
    fn after(&self, after: u64) -> Option<Vec<ChangeRecord>> {
        if after < self.start || after >= self.end() {
            return None;
        }
        let skipped = usize::try_from(after - self.start).ok()?;
        let changes = self.changes.iter().skip(skipped).take(BATCH);
        Some(changes.cloned().collect())
    }

    /// Adds what comes after this.
    fn add(&mut self, after: u64, changes: &[ChangeRecord], most: usize) {
        if after != self.end() {
            self.changes.clear();
            self.start = after;
        }
        self.changes.extend(changes.iter().cloned());
        let excess = self.changes.len().saturating_sub(most);
        self.changes.drain(..excess);
        self.start += excess as u64;
    }
}

impl Recent {
    pub(super) fn new(package: bool) -> Self {
        Self {
            package,
            known: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no code panics while it adds")
    }

    /// The next changes after this one, in order; none: it is the last.
    ///
    /// # Errors
    /// As [`image::after`].
    pub(super) async fn after(
        &self,
        shared: &Shared,
        after: Revision,
    ) -> Result<Vec<ChangeRecord>> {
        let (changes, is_behind) = {
            let known = self.known();
            (known.after(after.0), after.0 < known.end())
        };
        if let Some(changes) = changes {
            return Ok(changes);
        }
        if is_behind {
            return image::after(shared, after, self.package).await;
        }
        let _reading = self.reading.lock().await;
        // Another may have read it while this one waited.
        if let Some(changes) = self.known().after(after.0) {
            return Ok(changes);
        }
        let changes = image::after(shared, after, self.package).await?;
        // Somebody further on may have begun anew meanwhile: nothing is gained by going back.
        let mut known = self.known();
        if !changes.is_empty() && after.0 >= known.end() {
            let most = if self.package { BATCH } else { REMEMBERED };
            known.add(after.0, &changes, most);
        }
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH, ChangeRecord, Known, REMEMBERED, Revision};
    use tko_core::{DeploymentId, Key, Timestamp};

    fn changes(revisions: std::ops::RangeInclusive<u64>) -> Vec<ChangeRecord> {
        let key = Key::Deployment(DeploymentId::new("a").expect("an id"));
        let change = |revision| ChangeRecord {
            revision: Revision(revision),
            set: Revision(revision),
            at: Timestamp(0),
            key: key.clone(),
            before: None,
            after: None,
            cause: None,
        };
        revisions.map(change).collect()
    }

    fn told(known: &Known, after: u64) -> Option<Vec<u64>> {
        let changes = known.after(after)?;
        Some(changes.iter().map(|change| change.revision.0).collect())
    }

    #[test]
    fn what_is_known_is_told_without_a_gap() {
        let mut known = Known::default();
        assert_eq!(told(&known, 0), None);
        known.add(4, &changes(5..=7), REMEMBERED);
        assert_eq!(told(&known, 4), Some(vec![5, 6, 7]));
        assert_eq!(told(&known, 6), Some(vec![7]));
        assert_eq!((told(&known, 3), told(&known, 7)), (None, None));
        known.add(7, &changes(8..=9), REMEMBERED);
        assert_eq!(told(&known, 6), Some(vec![7, 8, 9]));
        // Whoever begins anew further on leaves no gap behind.
        known.add(20, &changes(21..=22), REMEMBERED);
        assert_eq!(
            (told(&known, 8), told(&known, 20)),
            (None, Some(vec![21, 22]))
        );
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut known = Known::default();
        let end = 3 * REMEMBERED as u64;
        known.add(0, &changes(1..=end), REMEMBERED);
        let first = end - REMEMBERED as u64;
        assert_eq!(told(&known, first - 1), None);
        let batch = told(&known, first).expect("it is remembered");
        assert_eq!((batch.len(), batch[0]), (BATCH, first + 1));
    }
}
