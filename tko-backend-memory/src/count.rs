//! Counting, without the lock being held for long.
//!
//! A long count is made in steps. Each first makes up for what changed meanwhile among what was
//! counted so far, as the log tells, and then goes on: so the result is of one instant, the last.

use crate::log::Entry;
use crate::plan::Plan;
use crate::state::State;
use crate::table::Row;
use crate::walk::MAX_VISITED;
use tko_core::{Count, Key, Kind, Revision, Select};

/// After so many new beginnings all is counted in one step.
const PATIENCE: u32 = 3;

/// A count in the making.
pub(crate) struct Tally<'a> {
    select: &'a Select,
    bound: u64,
    /// What matches up to `last`, as of `at`.
    found: u64,
    last: Option<Key>,
    at: Revision,
    begun: u32,
    /// How many index entries were looked at.
    visited: usize,
}

impl<'a> Tally<'a> {
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

    /// Looks at the next [`MAX_VISITED`] index entries. `None`: there are more to look at.
    pub(crate) fn step(&mut self, state: &State) -> Option<Count> {
        let plan = Plan::new(state, self.select);
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

    /// Makes up for changes. False: that cannot be done, so it all begins anew.
    fn catch_up(&mut self, state: &State) -> bool {
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
                let Entry { before, after, .. } = change;
                found = found + self.matches(state, after.as_ref())
                    - self.matches(state, before.as_ref());
            }
        }
        self.found = found;
        true
    }

    fn matches(&self, state: &State, row: Option<&Row>) -> u64 {
        u64::from(row.is_some_and(|row| state.selects(self.select, &row.entity)))
    }

    fn count(&self) -> Count {
        Count {
            found: self.found.min(self.bound),
            more: self.found > self.bound,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
