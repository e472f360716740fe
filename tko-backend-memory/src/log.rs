//! The change feed: the last changes, in one ring for all readers, and by entity for history.

use crate::table::Row;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use tko_core::{ChangeRecord, Error, Key, Result, Revision, Timestamp};

/// Most changes that a reader takes at once.
pub(crate) const BATCH: usize = 256;

/// One change. Shares its states with the table and with the changes before and after.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) before: Option<Row>,
    pub(crate) after: Option<Row>,
    pub(crate) set: Revision,
    pub(crate) at: Timestamp,
    pub(crate) cause: Option<Arc<str>>,
}

impl Entry {
    /// What changed.
    pub(crate) fn key(&self) -> &Key {
        self.after
            .as_ref()
            .or(self.before.as_ref())
            .map(|row| &row.entity.key)
            .expect("a change of nothing into nothing is no change")
    }

    fn record(&self, revision: u64, package: bool) -> ChangeRecord {
        let record = |row: &Option<Row>| row.as_ref().map(|row| row.record(package, true));
        ChangeRecord {
            revision: Revision(revision),
            set: self.set,
            at: self.at,
            key: self.key().clone(),
            before: record(&self.before),
            after: record(&self.after),
            cause: self.cause.clone(),
        }
    }
}

/// The last changes. Their revisions are dense, so a change is found by its place.
#[derive(Debug)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    /// Which revisions of each key are kept.
    by_key: BTreeSet<(Key, u64)>,
    /// The last one that is not kept any more.
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

    /// Of the last change.
    pub(crate) fn last(&self) -> Revision {
        Revision(self.oldest + self.entries.len() as u64)
    }

    /// What may be read after.
    pub(crate) fn oldest(&self) -> Revision {
        Revision(self.oldest)
    }

    /// Adds the next change.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.by_key.insert((entry.key().clone(), self.last().0 + 1));
        self.entries.push_back(entry);
    }

    /// Gives up what is too much, to be dropped where nobody waits for it.
    pub(crate) fn trim(&mut self) -> Vec<Entry> {
        let excess = self.entries.len().saturating_sub(self.keep);
        let gone: Vec<Entry> = self.entries.drain(..excess).collect();
        for entry in &gone {
            self.oldest += 1;
            self.by_key.remove(&(entry.key().clone(), self.oldest));
        }
        gone
    }

    /// The next changes after this one, at most [`BATCH`]; none: it is the last.
    ///
    /// # Errors
    /// `Expired`: they are not kept any more, or this store never got so far.
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

    /// All changes after this one; `None`: they are not all kept, or this store never got so far.
    pub(crate) fn since(&self, after: Revision) -> Option<impl Iterator<Item = &Entry>> {
        let start = after.0.checked_sub(self.oldest)?;
        let start = usize::try_from(start).ok()?;
        (start <= self.entries.len()).then(|| self.entries.range(start..))
    }

    /// Changes of one key before a revision, newest first.
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
