//! Staging: the rows that a change set leads to, before anything is written.
//!
//! Staging answers what a change set would do; `judge` answers whether it may. It reads a snapshot
//! and writes nothing.
//!
//! The rules, for each change in order:
//!
//! - A put becomes a step with the new row, unless nothing changes or its idempotency key is taken.
//! - A delete becomes a step without a row after it. A delete of an absent row has no effect.
//! - Conditions are merged into the row. The merge has no effect if the row is absent, or if every
//!   condition is the same as before.
//!
//! A change set has at most one change of each key, which `check` ensures. So each change reads its
//! row from the snapshot. Only idempotency keys pass from one change to a later one. A deletion
//! frees the key, and a later put of the same set may take it.

use super::snapshot::{Snapshot, StoredRow};
use crate::change::{Change, Committed, Put};
use crate::entity::{Condition, Entity, Facts};
use crate::id::{DeploymentId, Key};
use crate::package::Package;
use crate::revision::{Timestamp, Version};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// One row to write or remove. Each step makes one revision.
///
/// A backend writes all steps of a change set atomically. It can check that the row is unchanged
/// by comparing the version of `before`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step<R> {
    /// The position of its change in the change set, from 0.
    pub index: usize,
    /// The version of the change. A removed row has none, but its change may need one.
    pub version: Version,
    /// The row as it was read; `None` for a new row.
    pub before: Option<R>,
    /// The row to write; `None` removes it. At least one of `before` and `after` is `Some`.
    pub after: Option<Entity>,
    /// The body to write. `None`: the row keeps the body of `before`, or is removed.
    pub body: Option<Package>,
    /// Whether more than the conditions may change: true for puts and deletes. Then the index
    /// entries of the row may change, too.
    pub replaces_row: bool,
    /// Whether a modification held by someone else forbids it: true for deletes, and for puts
    /// unless they are [allowed beside it](Put::beside_modification).
    pub is_exclusive: bool,
}

impl<R: StoredRow> Step<R> {
    /// The key of the row.
    pub fn key(&self) -> &Key {
        let before = self.before.as_ref().map(StoredRow::entity);
        &self
            .after
            .as_ref()
            .or(before)
            .expect("a step has a row before it or after it")
            .key
    }
}

/// The effect of a change set on a snapshot. Changes without effect are left out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Staged<R> {
    /// The rows to write, in the order of their changes.
    pub steps: Vec<Step<R>>,
    /// Creations that were left out because their idempotency key is taken, with its holder.
    pub existing: Vec<(Key, DeploymentId)>,
    /// Puts without effect, with their positions in the change set. A modification held by someone
    /// else forbids even these. Puts that are allowed beside it are left out.
    pub unchanged: Vec<(usize, Key)>,
    /// Changes to the index of idempotency keys: the new holder of each; `None` removes the entry.
    pub holders: BTreeMap<Arc<str>, Option<DeploymentId>>,
    /// Existing rows whose put has an idempotency key that another deployment holds.
    pub(super) taken: Vec<Key>,
    /// The keys of all steps, for `changes`.
    keys: HashSet<Key>,
}

impl<R: StoredRow + Clone> Staged<R> {
    /// Computes the effect of all changes, in order.
    ///
    /// `version` returns the version for the change at a position in the change set. A version must
    /// not have been used before. `version` is called at most once for each position, in order, but
    /// not for changes without effect, which need no version.
    pub fn new<S: Snapshot<Row = R>>(
        snapshot: &S,
        changes: Vec<Change>,
        mut version: impl FnMut(usize) -> Version,
    ) -> Self {
        let mut staged = Self {
            steps: Vec::with_capacity(changes.len()),
            existing: Vec::new(),
            unchanged: Vec::new(),
            holders: BTreeMap::new(),
            taken: Vec::new(),
            keys: HashSet::with_capacity(changes.len()),
        };
        let now = snapshot.now();
        for (index, change) in changes.into_iter().enumerate() {
            let before = snapshot.row(change.key());
            match (change, before) {
                (Change::Put(put), before) => match staged.other_holder(snapshot, &put) {
                    Some(_) if before.is_some() => staged.taken.push(put.key),
                    Some(holder) => staged.existing.push((put.key, holder)),
                    None => staged.put(index, put, before, &mut version, now),
                },
                (Change::Delete(key), Some(before)) => {
                    staged.pass_on(Some(before.entity()), None);
                    let step = Step {
                        index,
                        version: version(index),
                        before: Some(before),
                        after: None,
                        body: None,
                        replaces_row: true,
                        is_exclusive: true,
                    };
                    staged.push(key, step);
                }
                (Change::Conditions(key, conditions), Some(before)) => {
                    let old = before.entity();
                    let Some(conditions) = Condition::merge(&old.conditions, conditions, now)
                    else {
                        continue;
                    };
                    let version = version(index);
                    let after = Entity {
                        conditions,
                        version,
                        updated: now,
                        ..old.clone()
                    };
                    let step = Step {
                        index,
                        version,
                        before: Some(before),
                        after: Some(after),
                        body: None,
                        replaces_row: false,
                        is_exclusive: false,
                    };
                    staged.push(key, step);
                }
                (Change::Delete(_) | Change::Conditions(..), None) => {}
            }
        }
        staged
    }

    /// Whether a step writes or removes this key.
    ///
    /// Changes without effect do not count: their rows stay as the snapshot has them.
    pub fn changes(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }

    /// The entities that are written, in order.
    pub fn after(&self) -> impl Iterator<Item = &Entity> {
        self.steps.iter().filter_map(|step| step.after.as_ref())
    }

    /// The answer to the commit, still without its revision.
    ///
    /// Deleted rows have no version in it. Puts without effect are left out, as are conditions
    /// without effect.
    pub fn committed(&self) -> Committed {
        Committed {
            versions: self
                .after()
                .map(|entity| (entity.key.clone(), entity.version))
                .collect(),
            existing: self.existing.clone(),
            ..Committed::default()
        }
    }

    /// Adds the steps of a change set that changes other keys, so that one transaction can write
    /// both. The positions of its changes stay those in its own set.
    pub fn join(&mut self, other: Self) {
        self.steps.extend(other.steps);
        self.existing.extend(other.existing);
        self.unchanged.extend(other.unchanged);
        self.holders.extend(other.holders);
        self.taken.extend(other.taken);
        self.keys.extend(other.keys);
    }

    /// Adds a step and its key.
    fn push(&mut self, key: Key, step: Step<R>) {
        self.keys.insert(key);
        self.steps.push(step);
    }

    /// Stages a put: adds a step, or counts the put as unchanged.
    ///
    /// The body after the put is the new one if there is one, else that of the row before. A new
    /// row without a body gets an empty package. A body with the same hash as before is not written
    /// again.
    fn put(
        &mut self,
        index: usize,
        mut put: Put,
        before: Option<R>,
        version: &mut impl FnMut(usize) -> Version,
        now: Timestamp,
    ) {
        let old = before.as_ref().map(StoredRow::entity);
        let (body, hash) = match (put.body.take(), old) {
            (None, Some(old)) => (None, old.body),
            (Some(body), Some(old)) if body.hash() == old.body => (None, old.body),
            (body, _) => {
                let body = body.unwrap_or_default();
                let hash = body.hash();
                (Some(body), hash)
            }
        };
        let key = put.key.clone();
        let is_exclusive = !put.beside_modification;
        // Some backends reserve versions: take one only for a put that changes something.
        let Some(mut after) = put.apply(old, hash, Version::default(), now) else {
            if is_exclusive {
                self.unchanged.push((index, key));
            }
            return;
        };
        after.version = version(index);
        self.pass_on(old, Some(&after));
        let step = Step {
            index,
            version: after.version,
            before,
            after: Some(after),
            body,
            replaces_row: true,
            is_exclusive,
        };
        self.push(key, step);
    }

    /// The other deployment that has the idempotency key of a put, after the changes before it.
    ///
    /// `None` if the put is not of a deployment, has no idempotency key, or no other deployment has
    /// the key. With another holder, a creation is left out, and a put of an existing row fails the
    /// change set.
    fn other_holder<S: Snapshot>(&self, snapshot: &S, put: &Put) -> Option<DeploymentId> {
        let Facts::Deployment(deployment) = &put.facts else {
            return None;
        };
        let idempotency_key = deployment.idempotency_key.as_ref()?;
        let holder = match self.holders.get(idempotency_key) {
            Some(staged) => staged.clone(),
            None => snapshot.holder(idempotency_key),
        };
        holder.filter(|holder| put.key.deployment() != Some(holder))
    }

    /// Records the idempotency keys that one change frees and takes.
    ///
    /// `before` and `after` are the rows of one change; a deletion has no row after. If both have
    /// the same key, nothing is recorded. The key that is freed is recorded first, the one taken
    /// second.
    fn pass_on(&mut self, before: Option<&Entity>, after: Option<&Entity>) {
        let held = |entity: Option<&Entity>| entity?.deployment()?.idempotency_key.clone();
        let (old, new) = (held(before), held(after));
        if old == new {
            return;
        }
        self.holders.extend(old.map(|freed| (freed, None)));
        let holder = after.and_then(|entity| entity.key.deployment());
        self.holders
            .extend(new.map(|taken| (taken, holder.cloned())));
    }
}
