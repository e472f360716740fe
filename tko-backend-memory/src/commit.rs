//! Committing a change set: worked out as a whole, judged as a whole, then written.
//!
//! Nothing is written before everything is known to go through; what is refused leaves no trace
//! but versions that are never given.

use crate::log::Entry;
use crate::modifications::Standing;
use crate::preconditions::require;
use crate::queue::is_lease;
use crate::staged::Staged;
use crate::state::State;
use crate::table::Row;
use std::collections::HashSet;
use std::sync::Arc;
use tko_core::work::MAX_PROGRESS;
use tko_core::{
    Change, ChangeSet, Committed, Entity, Error, Facts, MAX_CHANGES, Outcome, Package, Put, Result,
    Revision, Stage, Subject, Timestamp, Token,
};

/// What needs no store to be judged. Makes the hashes too, for that takes time.
pub(crate) fn check(set: &ChangeSet) -> Result<()> {
    if set.changes.len() > MAX_CHANGES {
        return Err(Error::bad(
            "change set",
            format!(
                "it has {} changes; at most {MAX_CHANGES} are allowed: commit it in parts",
                set.changes.len()
            ),
        ));
    }
    let mut keys = HashSet::new();
    for change in &set.changes {
        if !keys.insert(change.key()) {
            return Err(Error::bad(
                "change set",
                format!(
                    "it changes {} twice; put both changes into one",
                    change.key()
                ),
            ));
        }
        if let Change::Put(put) = change {
            put.body.as_ref().map(Package::hash);
            if let Facts::Deployment(deployment) = &put.facts {
                deployment.resource.skeleton.hash();
            }
        }
    }
    if let Some(progress) = &set.progress {
        let size = progress.to_string().len();
        if size > MAX_PROGRESS {
            return Err(Error::bad(
                "progress",
                format!("it has {size} bytes as JSON; at most {MAX_PROGRESS} are kept"),
            ));
        }
    }
    Ok(())
}

/// Commits a set that was checked. Also gives what falls out of the log.
pub(crate) fn commit(
    state: &mut State,
    mut set: ChangeSet,
    now: Timestamp,
) -> Result<(Committed, Vec<Entry>)> {
    let under = set.under.take();
    let right = under
        .as_ref()
        .map(|token| right(state, token, now))
        .transpose()?;
    let busy = set.changes.iter().find_map(|change| match change {
        Change::Put(Put { key, .. }) | Change::Delete(key) => state
            .edits
            .excludes(key, under.as_ref(), now)
            .then(|| key.clone()),
        Change::Conditions(..) => None,
    });
    let staged = Staged::new(state, set.changes, now);
    require(state, &staged, &set.require)?;
    if let Some(key) = busy {
        return Err(Error::Busy(key));
    }
    let committed = write(state, staged, now, set.cause.as_ref());
    for mark in &set.enqueue {
        state.mark(mark, now);
    }
    if let (Some(token), Some(right)) = (&under, right) {
        if let (Right::Lease(stage), Some(progress)) = (right, set.progress) {
            state.queue_mut(stage).0.progress(&token.key, progress);
        }
        match (right, set.settle) {
            (Right::Modification, _) => _ = state.settle(token, &Outcome::Done, now),
            (Right::Lease(_), Some(outcome)) => _ = state.settle(token, &outcome, now),
            (Right::Lease(_), None) => {}
        }
    }
    Ok((committed, state.log.trim()))
}

/// What a live token is of.
#[derive(Clone, Copy)]
enum Right {
    Modification,
    Lease(Stage),
}

fn right(state: &State, token: &Token, now: Timestamp) -> Result<Right> {
    if let Some(stage) = state.leased(token, now) {
        return Ok(Right::Lease(stage));
    }
    match state.edits.standing(token, now) {
        Standing::Open => Ok(Right::Modification),
        Standing::Lapsed => Err(Error::ClaimExpired(token.key.clone())),
        Standing::Unknown if is_lease(token) => Err(Error::ClaimExpired(token.key.clone())),
        Standing::Unknown => Err(Error::NotFound(Subject::Claim(token.key.clone()))),
    }
}

fn write(state: &mut State, staged: Staged, now: Timestamp, cause: Option<&Arc<str>>) -> Committed {
    let mut committed = Committed {
        existing: staged.existing,
        ..Committed::default()
    };
    let set = Revision(state.revision().0 + staged.steps.len() as u64);
    for step in staged.steps {
        let revision = Revision(state.revision().0 + 1);
        let after = step.after.map(|(entity, body)| Row {
            entity: Arc::new(entity),
            body,
            revision,
        });
        match (&step.before, &after) {
            (_, Some(row)) => {
                committed
                    .versions
                    .push((row.entity.key.clone(), row.entity.version));
            }
            (Some(row), None) => {
                state.unmark(&row.entity.key);
                state.edits.forget(&row.entity.key, now);
            }
            (None, None) => {}
        }
        state.install(step.before.as_ref(), after.as_ref(), step.indexed);
        committed.revision = Some(revision);
        state.log.push(Entry {
            before: step.before,
            after,
            set,
            at: now,
            cause: cause.cloned(),
        });
    }
    for (once, holder) in staged.once {
        match holder {
            Some(id) => _ = state.once.insert(once, id),
            None => _ = state.once.remove(&once),
        }
    }
    committed
}

impl State {
    /// Moves a row from one state to the next, and the indexes with it.
    fn install(&mut self, before: Option<&Row>, after: Option<&Row>, indexed: bool) {
        let Some(row) = after.or(before) else { return };
        let collection = self.of_mut(row.entity.key.kind());
        let slot = match after {
            Some(row) => collection.rows.put(row.clone()),
            None => match collection.rows.remove(&row.entity.key) {
                Some((slot, _)) => slot,
                None => return,
            },
        };
        if indexed {
            let (before, after) = (before.map(|b| &*b.entity), after.map(|a| &*a.entity));
            collection.index.follow(slot, before, after);
            let deleting =
                |entity: Option<&Entity>| usize::from(entity.is_some_and(|e| e.deleting));
            collection.deleting += deleting(after);
            collection.deleting -= deleting(before);
        }
    }
}
