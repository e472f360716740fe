//! Commits a change set: stages it, checks its preconditions, and only then writes it.
//!
//! The rules are those of `tko_core::commit`. A refused change set leaves no trace.

mod snapshot;
#[cfg(test)]
mod tests;

use crate::log::LogEntry;
use crate::state::MemoryState;
use crate::table::MemoryRow;
use snapshot::StateSnapshot;
use std::sync::Arc;
use tko_core::commit::{Right, Staged, Step, judge};
use tko_core::{
    Cause, Change, ChangeSet, Committed, Entity, Facts, Package, Result, Revision, Timestamp,
    Version,
};

/// Refuses a malformed change set. Also computes its content hashes, so that this does not happen
/// under the lock.
pub(crate) fn check(set: &ChangeSet) -> Result<()> {
    tko_core::commit::check(set)?;
    for change in &set.changes {
        if let Change::Put(put) = change {
            put.body.as_ref().map(Package::hash);
            if let Facts::Deployment(deployment) = &put.facts {
                deployment.resource.skeleton.hash();
            }
        }
    }
    Ok(())
}

/// Commits a change set that passed [`check`]. Also returns the log entries that are no longer
/// kept, for the caller to drop outside the lock.
pub(crate) fn commit(
    state: &mut MemoryState,
    mut set: ChangeSet,
    now: Timestamp,
) -> Result<(Committed, Vec<LogEntry>)> {
    let changes = std::mem::take(&mut set.changes);
    let (first, count) = (state.version + 1, changes.len() as u64);
    let snapshot = StateSnapshot { state, now };
    let version = |index: usize| Version(first + index as u64);
    let staged = Staged::new(&snapshot, changes, version);
    let right = judge(&snapshot, &staged, &set.require, set.under.as_ref())?;
    state.version += count;
    let committed = write(state, staged, now, set.cause.as_ref());
    for enqueue in &set.enqueue {
        state.enqueue(enqueue, now);
    }
    if let (Some(token), Some(right)) = (&set.under, right) {
        if let (Right::Lease(stage), Some(progress)) = (right, set.progress) {
            state.queue_mut(stage).0.progress(&token.key, progress);
        }
        if let Some(outcome) = right.outcome(set.settle) {
            state.settle(token, &outcome, now);
        }
    }
    Ok((committed, state.log.trim()))
}

fn write(
    state: &mut MemoryState,
    staged: Staged<MemoryRow>,
    now: Timestamp,
    cause: Option<&Cause>,
) -> Committed {
    let mut committed = staged.committed();
    let set = Revision(state.revision().0 + staged.steps.len() as u64);
    for step in staged.steps {
        let revision = Revision(state.revision().0 + 1);
        let is_indexed = step.replaces_row;
        let (before, after) = state.rows(step, revision);
        if let (Some(row), None) = (&before, &after) {
            state.dequeue(&row.entity.key);
            state.modifications.forget(&row.entity.key, now);
        }
        state.install(before.as_ref(), after.as_ref(), is_indexed);
        committed.revision = Some(revision);
        state.log.push(LogEntry {
            before,
            after,
            set,
            at: now,
            cause: cause.cloned(),
        });
    }
    for (idempotency_key, holder) in staged.holders {
        match holder {
            Some(id) => _ = state.holders.insert(idempotency_key, id),
            None => _ = state.holders.remove(&idempotency_key),
        }
    }
    committed
}

impl MemoryState {
    /// The rows before and after a step. The new row shares equal parts with existing rows.
    fn rows(
        &mut self,
        step: Step<MemoryRow>,
        revision: Revision,
    ) -> (Option<MemoryRow>, Option<MemoryRow>) {
        let before = step.before;
        let Some(mut entity) = step.after else {
            return (before, None);
        };
        if step.replaces_row {
            self.share(&mut entity, before.as_ref().map(|row| &*row.entity));
        }
        let body = match (&step.body, &before) {
            (None, Some(row)) => row.body.clone(),
            (Some(body), _) => self.pools.body(body),
            (None, None) => self.pools.body(&Package::default()),
        };
        let after = MemoryRow {
            entity: Arc::new(entity),
            body,
            revision,
        };
        (before, Some(after))
    }

    /// Writes or removes a row, and updates the indexes if an indexed value may have changed.
    fn install(&mut self, before: Option<&MemoryRow>, after: Option<&MemoryRow>, is_indexed: bool) {
        let Some(row) = after.or(before) else { return };
        let collection = self.of_mut(row.entity.key.kind());
        let slot = match after {
            Some(row) => collection.rows.put(row.clone()),
            None => match collection.rows.remove(&row.entity.key) {
                Some((slot, _)) => slot,
                None => return,
            },
        };
        if is_indexed {
            let (before, after) = (before.map(|b| &*b.entity), after.map(|a| &*a.entity));
            collection.index.follow(slot, before, after);
            let deleting =
                |entity: Option<&Entity>| usize::from(entity.is_some_and(|e| e.deleting));
            collection.deleting += deleting(after);
            collection.deleting -= deleting(before);
        }
    }
}
