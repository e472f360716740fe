//! Commits a change set within the transaction of the writer: reads what the rules need, judges,
//! and only then writes.
//!
//! The rules are those of `tko_core::commit`. A refused change set leaves no trace, so several sets
//! can share a transaction.

mod found;
mod write;

use crate::connect::SqliteParts;
use crate::modification::LEASE;
use crate::pack::pack;
use crate::signal::Touched;
use found::FoundState;
use sqlx::SqliteConnection;
use std::collections::BTreeMap;
use tko_core::commit::{Right, Staged, TokenState, WorkItem, judge};
use tko_core::{
    Change, ChangeSet, Committed, Entity, Error, Key, Outcome, Record, Result, Revision, Stage,
    Timestamp, Version,
};
use write::SetWrite;

pub(crate) use write::put_work;

/// Commits a change set that `tko_core::commit::check` accepted.
///
/// Put entities that are in `restored` become exactly those; for all others it is empty.
pub(crate) async fn commit(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    mut set: ChangeSet,
    restored: &BTreeMap<Key, Entity>,
    now: Timestamp,
) -> Result<(Committed, Touched)> {
    let changes = std::mem::take(&mut set.changes);
    let found = found::read(connection, shared, &changes, &set, now).await?;
    let FoundState {
        snapshot,
        work,
        bodies,
        mut head,
        modification,
    } = found;
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
    let mut write = SetWrite::new(now);
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
        write.step(step, Revision(head.revision), set.cause.as_deref(), &bodies);
        committed.revision = Some(Revision(head.revision));
        touched.revision = committed.revision;
    }
    write.holders(staged.holders);
    let mut items = WorkItems::new(work, exists);
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
            if let Some(progress) = set.progress
                && let Some(mut item) = items.take(&token.key, stage)
            {
                item.set_progress(progress);
                items.put(&token.key, stage, item);
            }
            if let Some(outcome) = right.outcome(set.settle) {
                items.settle(&token.key, stage, &outcome, now);
                touched.stages[stage as usize] = true;
            }
        } else {
            write.close_modification(modification);
        }
    }
    items.write(&mut write);
    if write.is_needed() {
        let action = shared.file.fault("commit the changes");
        write
            .execute(connection, head, set_revision)
            .await
            .map_err(action)?;
    }
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
struct WorkItems {
    found: BTreeMap<(Key, Stage), WorkItem>,
    /// `None`: the item is removed.
    changed: BTreeMap<(Key, Stage), Option<WorkItem>>,
    /// Whether the rows that the set changes exist afterwards.
    exists: BTreeMap<Key, bool>,
}

impl WorkItems {
    fn new(found: BTreeMap<(Key, Stage), WorkItem>, exists: BTreeMap<Key, bool>) -> Self {
        Self {
            found,
            changed: BTreeMap::new(),
            exists,
        }
    }

    fn exists(&self, key: &Key) -> Option<bool> {
        self.exists.get(key).copied()
    }

    /// The present item. The work of a deleted row is gone.
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

/// The keys that a set depends on, without duplicates.
fn keys<'a>(changes: &'a [Change], set: &'a ChangeSet) -> Vec<&'a Key> {
    let mut keys: Vec<&Key> = changes.iter().map(Change::key).collect();
    keys.extend(set.require.iter().map(tko_core::Require::key));
    keys.extend(set.enqueue.iter().map(|enqueue| &enqueue.key));
    keys.extend(set.under.as_ref().map(|token| &token.key));
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// A row that a statement returned; damage is an internal error.
fn stored_row(data: &[u8]) -> Result<Record, Error> {
    crate::pack::unpack(data)
}
