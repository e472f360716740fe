//! Commits change sets within the transaction of the writer: reads what the rules need, checks, and
//! only then writes.
//!
//! The rules are those of `tko_core::commit`. A refused change set leaves no trace, so several sets
//! can share a transaction. Sets that do not depend on each other are read together and written
//! together, so that many small ones cost little more than one.

mod asked;
mod found;
mod write;

use crate::connect::SqliteParts;
use crate::dictionary::ChosenDictionaries;
use crate::modification::LEASE;
use crate::pack::pack;
use crate::signal::Touched;
use found::{FoundForSet, FoundState, Head};
use sqlx::{Executor, SqliteConnection};
use std::collections::BTreeMap;
use tko_core::commit::{Right, Staged, TokenState, WorkItem, judge};
use tko_core::{
    Committed, Error, ErrorKind, Key, Outcome, Record, Result, Revision, Stage, Timestamp, Version,
};
use write::SetWrite;

pub(crate) use asked::AskedSet;
pub(crate) use write::{add_triggers, put_work};

/// The answer to a change set, and the waiting claims and feeds to wake.
pub(crate) type SetAnswer = Result<(Committed, Touched)>;

/// The parts of the transaction that are sent with the first read and with the last write, each of
/// which saves a round trip to the thread of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransactionEnds {
    /// Whether to begin it before the first read.
    pub(crate) begin: bool,
    /// Whether to commit it after the last write, if there is one.
    pub(crate) commit: bool,
}

/// Commits change sets in order. Returns their answers, and whether the transaction is committed.
///
/// If the database refuses a statement, this and all later sets fail, and the transaction must be
/// undone.
pub(crate) async fn commit(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    dictionaries: &mut ChosenDictionaries,
    mut sets: &mut [AskedSet],
    mut ends: TransactionEnds,
    now: Timestamp,
) -> (Vec<SetAnswer>, bool) {
    let mut answers = Vec::with_capacity(sets.len());
    let mut is_committed = false;
    // The number of sets that are still to be read one by one, because one of them found damage:
    // only that one gets this error, and the others get an error that asks for a retry.
    let mut alone = 0_usize;
    while !sets.is_empty() {
        let count = if alone > 0 {
            1
        } else {
            asked::independent(sets)
        };
        let found = found::read(connection, shared, &sets[..count], ends.begin).await;
        let is_damaged = |error: &Error| error.kind() == ErrorKind::Internal;
        if count > 1 && found.as_ref().is_err_and(is_damaged) {
            if ends.begin {
                // If the transaction did not begin, the rollback fails, which does no harm.
                let _ = connection.execute("ROLLBACK").await;
            }
            alone = count;
            continue;
        }
        ends.begin = false;
        alone = alone.saturating_sub(1);
        let (group, rest) = sets.split_at_mut(count);
        let commit = ends.commit && rest.is_empty();
        let written = match found {
            Ok(found) => write(connection, shared, dictionaries, group, &found, now, commit).await,
            Err(error) => Err(error),
        };
        match written {
            Ok((group, committed)) => {
                answers.extend(group);
                is_committed = committed;
            }
            Err(error) => {
                answers.extend((1..count).map(|_| Err(copy(&error))));
                answers.push(Err(error));
                answers.extend(rest.iter().map(|_| Err(another())));
                return (answers, false);
            }
        }
        sets = rest;
    }
    (answers, is_committed)
}

/// The error of writes that share a transaction with one that failed.
pub(crate) fn another() -> Error {
    Error::unavailable(
        "write",
        "another write in the same transaction failed; retry",
    )
}

/// Copies the error of a whole transaction for another of its jobs.
pub(crate) fn copy(error: &Error) -> Error {
    let source = std::error::Error::source(error).map(ToString::to_string);
    let source = source.unwrap_or_else(|| error.to_string());
    match error {
        Error::Internal { action, .. } => Error::internal(action.clone(), source),
        Error::Unavailable { action, .. } => Error::unavailable(action.clone(), source),
        _ => Error::unavailable("write", source),
    }
}

/// Checks sets that do not depend on each other, and writes those that are not refused.
async fn write(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    dictionaries: &mut ChosenDictionaries,
    group: &mut [AskedSet],
    found: &FoundState,
    now: Timestamp,
    commit: bool,
) -> Result<(Vec<SetAnswer>, bool)> {
    let mut head = found.head;
    let mut write = SetWrite::new(now);
    let answers = group.iter_mut();
    let answers = answers.map(|asked| stage(found, asked, &mut head, &mut write, now));
    let answers = answers.collect();
    if !write.is_needed() {
        return Ok((answers, false));
    }
    dictionaries.retain(found.lowest_dictionary);
    let chosen = dictionaries
        .choose(connection, shared, write.templates(), &found.rows)
        .await?;
    write
        .execute(connection, shared, &chosen, head, commit)
        .await?;
    Ok((answers, commit))
}

/// Checks one set, and adds what it writes. A refused set adds nothing.
fn stage(
    found: &FoundState,
    asked: &mut AskedSet,
    head: &mut Head,
    write: &mut SetWrite,
    now: Timestamp,
) -> SetAnswer {
    let FoundForSet {
        snapshot,
        modification,
    } = found.of_set(asked, now);
    let changes = std::mem::take(&mut asked.changes);
    let (set, restored) = (&asked.set, &asked.restored);
    let first = head.number + 1;
    let count = changes.len() as u64;
    let versions: Vec<Version> = (first..)
        .zip(&changes)
        .map(|(number, change)| {
            let restored = restored.get(change.key());
            restored.map_or(Version(number), |entity| entity.version)
        })
        .collect();
    let last = versions.iter().map(|version| version.0).max();
    let mut staged = Staged::new(&snapshot, changes, |index| versions[index]);
    let right = judge(&snapshot, &staged, &set.require, set.under.as_ref())?;
    let mut committed = staged.committed();
    let mut touched = Touched::default();
    if !staged.steps.is_empty() {
        head.number = last.unwrap_or_default().max(head.number + count);
    }
    for step in &mut staged.steps {
        if let Some(entity) = restored.get(step.key()) {
            step.after = Some(entity.clone());
        }
    }
    let set_revision = Revision(head.revision + staged.steps.len() as u64);
    let mut exists: BTreeMap<Key, bool> = BTreeMap::new();
    for step in staged.steps {
        head.revision += 1;
        exists.insert(step.key().clone(), step.after.is_some());
        let (revision, cause) = (Revision(head.revision), set.cause.as_deref());
        write.step(step, revision, set_revision, cause, &found.bodies);
        committed.revision = Some(revision);
        touched.revision = committed.revision;
    }
    write.holders(staged.holders);
    let mut items = WorkItems::new(&found.work, exists);
    for enqueue in &set.enqueue {
        let present = snapshot.rows.contains_key(&enqueue.key);
        if items.exists(&enqueue.key).unwrap_or(present) {
            let item = items.take(&enqueue.key, enqueue.stage);
            let item = WorkItem::enqueued(item, enqueue, now);
            items.put(&enqueue.key, enqueue.stage, item);
            touched.stages[enqueue.stage as usize] = true;
        }
    }
    if let (Some(token), Some(right)) = (&set.under, right) {
        if let Right::Lease(stage) = right {
            if let Some(progress) = set.progress.clone()
                && let Some(mut item) = items.take(&token.key, stage)
            {
                item.set_progress(progress);
                items.put(&token.key, stage, item);
            }
            if let Some(outcome) = right.outcome(set.settle.clone()) {
                items.settle(&token.key, stage, &outcome, now);
                touched.stages[stage as usize] = true;
            }
        } else if let Some(secret) = modification {
            write.close_modification(&secret);
        }
    }
    items.write(write);
    Ok((committed, touched))
}

/// The state of the token that permits a set.
fn token_state(
    token: &tko_core::Token,
    leased: Option<Stage>,
    modification: Option<Timestamp>,
    now: Timestamp,
) -> TokenState {
    match (leased, modification) {
        (Some(stage), _) => TokenState::Live(Right::Lease(stage)),
        (None, Some(until)) if until > now => TokenState::Live(Right::Modification),
        (None, Some(_)) => TokenState::Expired,
        (None, None) if token.secret.starts_with(LEASE) => TokenState::Expired,
        (None, None) => TokenState::Unknown,
    }
}

/// The work items that a set reads and changes.
struct WorkItems<'a> {
    found: &'a BTreeMap<(Key, Stage), WorkItem>,
    /// `None`: the item is removed.
    changed: BTreeMap<(Key, Stage), Option<WorkItem>>,
    /// Whether the rows that the set changes exist afterwards.
    exists: BTreeMap<Key, bool>,
}

impl<'a> WorkItems<'a> {
    fn new(found: &'a BTreeMap<(Key, Stage), WorkItem>, exists: BTreeMap<Key, bool>) -> Self {
        Self {
            found,
            changed: BTreeMap::new(),
            exists,
        }
    }

    fn exists(&self, key: &Key) -> Option<bool> {
        self.exists.get(key).copied()
    }

    /// Returns the current item. The work of a deleted row is gone.
    fn take(&self, key: &Key, stage: Stage) -> Option<WorkItem> {
        if self.exists(key) == Some(false) {
            return None;
        }
        let at = (key.clone(), stage);
        match self.changed.get(&at) {
            Some(changed) => changed.clone(),
            None => self.found.get(&at).cloned(),
        }
    }

    fn put(&mut self, key: &Key, stage: Stage, item: WorkItem) {
        self.changed.insert((key.clone(), stage), Some(item));
    }

    fn settle(&mut self, key: &Key, stage: Stage, outcome: &Outcome, now: Timestamp) {
        if let Some(mut item) = self.take(key, stage) {
            let kept = item.settle(outcome, now);
            self.changed
                .insert((key.clone(), stage), kept.then_some(item));
        }
    }

    fn write(self, write: &mut SetWrite) {
        for ((key, stage), item) in self.changed {
            match item {
                Some(item) => write.put_work(&key, stage, &item, &pack(&item)),
                None => write.remove_work(&key, stage),
            }
        }
    }
}

/// A row that a statement returned; damage is an internal error.
fn stored_row(data: &[u8]) -> Result<Record, Error> {
    crate::pack::unpack(data)
}
