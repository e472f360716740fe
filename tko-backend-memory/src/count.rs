//! Counts that do not hold the lock for long.
//!
//! A long count runs in steps. Each step first applies the changes since the last step, from the
//! log, to the rows counted so far, and then counts more. So the result is exact at the last step.

use crate::log::LogEntry;
use crate::plan::QueryPlan;
use crate::state::MemoryState;
use crate::table::MemoryRow;
use crate::walk::MAX_VISITED;
use tko_core::{Count, Key, Kind, Revision, Select};

/// The number of restarts after which everything is counted in one step.
const PATIENCE: u32 = 3;

/// A count in progress.
pub(crate) struct RunningCount<'a> {
    select: &'a Select,
    bound: u64,
    /// The number of matches up to `last`, at revision `at`.
    found: u64,
    last: Option<Key>,
    at: Revision,
    begun: u32,
    /// The number of index entries read.
    visited: usize,
}

impl<'a> RunningCount<'a> {
    pub(crate) fn new(select: &'a Select, bound: u64) -> Self {
        Self {
            select,
            bound,
            found: 0,
            last: None,
            at: Revision(0),
            begun: 0,
            visited: 0,
        }
    }

    /// Reads the next [`MAX_VISITED`] index entries. `None`: more are left.
    pub(crate) fn step(&mut self, state: &MemoryState) -> Option<Count> {
        let plan = QueryPlan::new(state, self.select);
        if let Some(all) = plan.counted() {
            self.found = u64::try_from(all).unwrap_or(u64::MAX);
            return Some(self.count());
        }
        if self.last.is_none() || !self.catch_up(state) {
            self.begun += 1;
            (self.found, self.last) = (0, None);
        }
        self.at = state.revision();
        let most = match self.begun {
            ..=PATIENCE => MAX_VISITED,
            _ => usize::MAX,
        };
        let rows = &state.of(self.select.kind).rows;
        let mut walk = plan.walk(self.last.as_ref());
        let mut last = None;
        while self.found <= self.bound && walk.visited() < most {
            let Some((key, slot)) = walk.next() else {
                break;
            };
            self.found += u64::from(state.selects(self.select, &rows.row(slot).entity));
            last = Some(key);
        }
        self.visited += walk.visited();
        if self.found > self.bound || walk.is_done() {
            return Some(self.count());
        }
        self.last = last.cloned();
        None
    }

    /// Applies the changes since the last step. False: that is impossible, and the count must restart.
    fn catch_up(&mut self, state: &MemoryState) -> bool {
        let Some(changes) = state.log.since(self.at) else {
            return false;
        };
        let mut found = self.found;
        for change in changes {
            let (key, kind) = (change.key(), change.key().kind());
            if !self.select.is_watchable() && matches!(kind, Kind::Template | Kind::Site) {
                return false;
            }
            if kind == self.select.kind && self.last.as_ref().is_some_and(|last| key <= last) {
                let LogEntry { before, after, .. } = change;
                found = found + self.matches(state, after.as_ref())
                    - self.matches(state, before.as_ref());
            }
        }
        self.found = found;
        true
    }

    fn matches(&self, state: &MemoryState, row: Option<&MemoryRow>) -> u64 {
        u64::from(row.is_some_and(|row| state.selects(self.select, &row.entity)))
    }

    fn count(&self) -> Count {
        Count::new(self.found.min(self.bound), self.found > self.bound)
    }
}

#[cfg(test)]
pub(crate) mod tests;
