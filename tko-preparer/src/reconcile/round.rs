//! A round: every pending resource comes up once.

use super::call::CallResult;
use super::pending::{active, pending};
use super::session::{PrepareSession, is_prepared, package_of};
use crate::blocker::Blocker;
use std::collections::HashSet;
use tko_core::registry::Handler;
use tko_core::{Identifier, Preparer, Record, Result};

/// The result of a round.
pub(super) struct RoundResult {
    /// The deployment as it was read last.
    pub(super) record: Record,
    /// Whether something was committed, or has to be read again.
    pub(super) changed: bool,
    /// Whether the deployment was finished, and the claim has ended.
    pub(super) finished: bool,
    /// Whether the round ended early because something moved.
    pub(super) moved: bool,
    /// Reasons why resources could not be prepared.
    pub(super) blockers: Vec<Blocker>,
}

impl PrepareSession<'_> {
    /// Performs one round. The targets of `failed` are not called again: they failed on the same
    /// package.
    pub(super) async fn round(
        &mut self,
        mut record: Record,
        mut failed: Vec<Blocker>,
    ) -> Result<RoundResult> {
        let mut seen: HashSet<Identifier> = HashSet::new();
        let mut blockers = Vec::new();
        let mut changed = false;
        loop {
            let pending = pending(&package_of(&record), &self.table);
            let next = pending.iter().find(|target| !seen.contains(*target));
            let Some(target) = next.filter(|_| !self.is_endless()) else {
                return Ok(RoundResult {
                    record,
                    changed: changed || self.is_endless(),
                    finished: false,
                    moved: false,
                    blockers,
                });
            };
            seen.insert(target.clone());
            let known = failed
                .iter()
                .position(|blocker| blocker.target.as_ref() == Some(target));
            if let Some(at) = known {
                blockers.push(failed.swap_remove(at));
                continue;
            }
            match self.prepare(&record, &pending, target).await? {
                CallResult::Blocked(blocker) => blockers.push(blocker),
                CallResult::Unchanged => {}
                CallResult::Finished => {
                    return Ok(RoundResult {
                        record,
                        changed: true,
                        finished: true,
                        moved: false,
                        blockers,
                    });
                }
                result => {
                    let moved = matches!(result, CallResult::Moved);
                    if !moved {
                        self.count_change(target);
                    }
                    changed = true;
                    let again = self.read().await?;
                    let Some(again) = again.filter(|again| !moved && !is_prepared(again)) else {
                        return Ok(RoundResult {
                            record,
                            changed,
                            finished: false,
                            moved,
                            blockers,
                        });
                    };
                    record = again;
                }
            }
        }
    }

    /// Calls all preparers of one resource.
    async fn prepare(
        &mut self,
        record: &Record,
        pending: &[Identifier],
        target: &Identifier,
    ) -> Result<CallResult> {
        let preparers: Vec<Handler<dyn Preparer>> = active(&self.table, target).cloned().collect();
        if preparers.is_empty() {
            return Ok(CallResult::Blocked(Blocker::no_preparer(target)));
        }
        self.call(record, pending, target, &preparers).await
    }
}
