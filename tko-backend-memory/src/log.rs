//! The log: the last changes, shared by all feeds, and indexed by entity for history.

use crate::table::MemoryRow;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use tko_core::{Cause, ChangeRecord, Error, Key, Result, Revision, Timestamp};

/// Maximum number of changes that a feed reads at once.
pub(crate) const BATCH: usize = 256;

/// One change. It shares its states with the table and with neighbouring changes.
#[derive(Debug)]
pub(crate) struct LogEntry {
    pub(crate) before: Option<MemoryRow>,
    pub(crate) after: Option<MemoryRow>,
    pub(crate) set: Revision,
    pub(crate) at: Timestamp,
    pub(crate) cause: Option<Cause>,
}

impl LogEntry {
    /// The key of the entity that changed.
    pub(crate) fn key(&self) -> &Key {
        self.after
            .as_ref()
            .or(self.before.as_ref())
            .map(|row| &row.entity.key)
            .expect("a change has a state before or after it")
    }

    fn record(&self, revision: u64, package: bool) -> ChangeRecord {
        let record = |row: &Option<MemoryRow>| row.as_ref().map(|row| row.record(package, true));
        ChangeRecord::new(Revision(revision), self.set, self.at, self.key().clone())
            .before(record(&self.before))
            .after(record(&self.after))
            .cause(self.cause.clone())
    }
}

/// The last changes. Revisions are dense, so a revision gives the position of its change.
#[derive(Debug)]
pub(crate) struct Log {
    entries: VecDeque<LogEntry>,
    /// The revisions that are kept, by key.
    by_key: BTreeSet<(Key, u64)>,
    /// The last revision that is no longer kept.
    oldest: u64,
    keep: usize,
}

impl Log {
    pub(crate) fn new(keep: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            by_key: BTreeSet::new(),
            oldest: 0,
            keep,
        }
    }

    /// The revision of the last change.
    pub(crate) fn last(&self) -> Revision {
        Revision(self.oldest + self.entries.len() as u64)
    }

    /// The oldest revision after which the feed can be read.
    pub(crate) fn oldest(&self) -> Revision {
        Revision(self.oldest)
    }

    /// Appends the next change.
    pub(crate) fn push(&mut self, entry: LogEntry) {
        self.by_key.insert((entry.key().clone(), self.last().0 + 1));
        self.entries.push_back(entry);
    }

    /// Removes the changes beyond the limit, for the caller to drop outside the lock.
    pub(crate) fn trim(&mut self) -> Vec<LogEntry> {
        let excess = self.entries.len().saturating_sub(self.keep);
        let gone: Vec<LogEntry> = self.entries.drain(..excess).collect();
        for entry in &gone {
            self.oldest += 1;
            self.by_key.remove(&(entry.key().clone(), self.oldest));
        }
        gone
    }

    /// The next changes after a revision, at most [`BATCH`]; empty if it is the last.
    ///
    /// # Errors
    /// `Expired`: they are no longer kept, or the revision is later than the last.
    pub(crate) fn after(&self, after: Revision, package: bool) -> Result<VecDeque<ChangeRecord>> {
        let entries = self.since(after).ok_or(Error::Expired {
            oldest: self.oldest(),
        })?;
        Ok(entries
            .take(BATCH)
            .zip(after.0 + 1..)
            .map(|(entry, revision)| entry.record(revision, package))
            .collect())
    }

    /// All changes after a revision; `None` if some are no longer kept, or it is later than the last.
    pub(crate) fn since(&self, after: Revision) -> Option<impl Iterator<Item = &LogEntry>> {
        let start = after.0.checked_sub(self.oldest)?;
        let start = usize::try_from(start).ok()?;
        (start <= self.entries.len()).then(|| self.entries.range(start..))
    }

    /// The changes of one key before a revision, newest first, at most `limit`.
    pub(crate) fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Vec<ChangeRecord> {
        let first = Bound::Included((key.clone(), 0));
        let end = match before {
            Some(Revision(before)) => Bound::Excluded((key.clone(), before)),
            None => Bound::Included((key.clone(), u64::MAX)),
        };
        self.by_key
            .range((first, end))
            .rev()
            .take(limit)
            .filter_map(|(_, revision)| {
                let at = usize::try_from(revision - self.oldest - 1).ok()?;
                Some(self.entries.get(at)?.record(*revision, true))
            })
            .collect()
    }
}
