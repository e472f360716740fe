//! Checks change sets by the rules, and collects what they write.

use super::group::GroupedSet;
use super::snapshot::{GroupSnapshot, SetSnapshot, WritePosition};
use super::write::SetWrite;
use crate::pack::pack;
use crate::signal::Touched;
use std::collections::BTreeMap;
use tko_core::commit::{Right, Staged, WorkItem, judge};
use tko_core::{Change, Committed, Key, Outcome, Result, Revision, Stage, Timestamp, Version};

/// The answer to a change set, and the waiting claims and feeds to wake.
pub(crate) type SetAnswer = Result<(Committed, Touched)>;

/// Checks sets that do not depend on each other, each with its changes. Returns what to write, the
/// new position, and the answers.
pub(super) fn stage_all(
    snapshot: &GroupSnapshot,
    group: &[GroupedSet],
    changes: impl IntoIterator<Item = Vec<Change>>,
    now: Timestamp,
) -> (SetWrite, WritePosition, Vec<SetAnswer>) {
    let mut position = snapshot.position;
    let mut write = SetWrite::new(now);
    let sets = group.iter().zip(changes);
    let answers = sets.map(|(grouped, changes)| {
        stage(snapshot, grouped, changes, &mut position, &mut write, now)
    });
    let answers = answers.collect();
    (write, position, answers)
}

/// Checks one set, and adds what it writes. A refused set adds nothing.
fn stage(
    snapshot: &GroupSnapshot,
    grouped: &GroupedSet,
    changes: Vec<Change>,
    position: &mut WritePosition,
    write: &mut SetWrite,
    now: Timestamp,
) -> SetAnswer {
    let SetSnapshot {
        read_set,
        modification,
    } = snapshot.of_set(grouped, now);
    let (set, restored) = (&grouped.set, &grouped.restored);
    let first = position.number + 1;
    let count = changes.len() as u64;
    let versions: Vec<Version> = (first..)
        .zip(&changes)
        .map(|(number, change)| {
            let restored = restored.get(change.key());
            restored.map_or(Version(number), |entity| entity.version)
        })
        .collect();
    let last = versions.iter().map(|version| version.0).max();
    let mut staged = Staged::new(&read_set, changes, |index| versions[index]);
    let right = judge(&read_set, &staged, &set.require, set.under.as_ref())?;
    let mut committed = staged.committed();
    let mut touched = Touched::default();
    if !staged.steps.is_empty() {
        position.number = last.unwrap_or_default().max(position.number + count);
    }
    for step in &mut staged.steps {
        if let Some(entity) = restored.get(step.key()) {
            step.after = Some(entity.clone());
        }
    }
    let set_revision = Revision(position.revision + staged.steps.len() as u64);
    let mut exists: BTreeMap<Key, bool> = BTreeMap::new();
    for step in staged.steps {
        position.revision += 1;
        exists.insert(step.key().clone(), step.after.is_some());
        let (revision, cause) = (Revision(position.revision), set.cause.as_deref());
        write.step(step, revision, set_revision, cause, &snapshot.bodies);
        committed.revision = Some(revision);
        touched.revision = committed.revision;
    }
    write.holders(staged.holders);
    let mut items = WorkItems::new(&snapshot.work, exists);
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

/// The work items that a set reads and changes.
struct WorkItems<'a> {
    before: &'a BTreeMap<(Key, Stage), WorkItem>,
    /// `None`: the item is removed.
    changed: BTreeMap<(Key, Stage), Option<WorkItem>>,
    /// Whether the rows that the set changes exist afterwards.
    exists: BTreeMap<Key, bool>,
}

impl<'a> WorkItems<'a> {
    fn new(before: &'a BTreeMap<(Key, Stage), WorkItem>, exists: BTreeMap<Key, bool>) -> Self {
        Self {
            before,
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
            None => self.before.get(&at).cloned(),
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
