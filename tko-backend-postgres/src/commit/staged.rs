//! What a change set comes to, worked out and not yet written.

use super::snapshot::{Found, Snapshot};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tko_core::{
    Change, ChangeSet, Committed, Condition, DeploymentId, Entity, Facts, Key, Package, Put,
    Require, Timestamp, Version,
};

/// One change that will be written.
pub(crate) struct Step<'a> {
    pub(crate) key: &'a Key,
    /// Its version, also if it goes.
    pub(crate) version: Version,
    pub(crate) before: Option<&'a Found>,
    /// `None`: it goes.
    pub(crate) after: Option<Entity>,
    /// A body that is not the one before.
    pub(crate) body: Option<&'a Package>,
    /// A put or delete, which an edit excludes.
    pub(crate) is_exclusive: bool,
}

/// What a set comes to: what changes nothing is left out.
#[derive(Default)]
pub(crate) struct Staged<'a> {
    /// In order.
    pub(crate) steps: Vec<Step<'a>>,
    /// Creations that were left out, and who has their `once` key.
    pub(crate) existing: Vec<(Key, DeploymentId)>,
    /// Entities that took up a `once` key which another has.
    pub(crate) taken: Vec<Key>,
    /// Puts and deletes that change nothing, but are excluded by an edit all the same.
    pub(crate) idle: Vec<&'a Key>,
    once: BTreeMap<Arc<str>, Option<DeploymentId>>,
    keys: HashSet<&'a Key>,
}

impl<'a> Staged<'a> {
    /// Whether it only makes new things, and requires nothing but that they are new and that
    /// others are there: then the statement alone can judge it.
    pub(crate) fn needs_no_reading(set: &ChangeSet) -> bool {
        let absent: HashSet<&Key> = set
            .require
            .iter()
            .filter_map(|require| match require {
                Require::Absent(key) => Some(key),
                _ => None,
            })
            .collect();
        !set.changes.is_empty()
            && set.under.is_none()
            && set.changes.iter().all(|change| match change {
                Change::Put(put) => put.conditions.is_empty() && absent.contains(&put.key),
                Change::Delete(_) | Change::Conditions(..) => false,
            })
            && absent.len() == set.changes.len()
            && set.require.iter().all(|require| match require {
                Require::Absent(_)
                | Require::Exists(_)
                | Require::Generation(..)
                | Require::Current(..) => true,
                Require::At(..) | Require::Unreferenced(_) => false,
            })
    }

    /// Puts of what is new.
    pub(crate) fn creations(set: &'a ChangeSet, versions: &[Version]) -> Self {
        let mut staged = Self::default();
        for (change, version) in set.changes.iter().zip(versions) {
            if let Change::Put(put) = change {
                // The statement writes the time.
                staged.put(put, None, *version, Timestamp::default());
            }
        }
        staged
    }

    /// Works out all changes in order.
    pub(crate) fn new(snapshot: &'a Snapshot, set: &'a ChangeSet, versions: &[Version]) -> Self {
        let mut staged = Self::default();
        for (change, version) in set.changes.iter().zip(versions) {
            let before = snapshot.rows.get(change.key());
            match (change, before) {
                (Change::Put(put), before) => match staged.holder(snapshot, put) {
                    Some(_) if before.is_some() => staged.taken.push(put.key.clone()),
                    Some(holder) => staged.existing.push((put.key.clone(), holder)),
                    None => staged.put(put, before, *version, snapshot.now),
                },
                (Change::Delete(key), Some(before)) => {
                    staged.pass_on(Some(&before.entity), None);
                    staged.push(Step {
                        key,
                        version: *version,
                        before: Some(before),
                        after: None,
                        body: None,
                        is_exclusive: true,
                    });
                }
                (Change::Conditions(key, conditions), Some(before)) => {
                    staged.conditions(key, conditions, before, *version, snapshot.now);
                }
                (Change::Delete(_) | Change::Conditions(..), None) => {}
            }
        }
        staged
    }

    /// Whether it changes this key.
    pub(crate) fn changes(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }

    /// What changes and is still there.
    pub(crate) fn after(&self) -> impl Iterator<Item = &Entity> {
        self.steps.iter().filter_map(|step| step.after.as_ref())
    }

    /// The last change.
    pub(crate) fn last(&self) -> Option<(Key, Version)> {
        let step = self.steps.last()?;
        Some((step.key.clone(), step.version))
    }

    /// The answer, without revision.
    pub(crate) fn committed(&self) -> Committed {
        Committed {
            revision: None,
            versions: self
                .after()
                .map(|entity| (entity.key.clone(), entity.version))
                .collect(),
            existing: self.existing.clone(),
        }
    }

    fn push(&mut self, step: Step<'a>) {
        self.keys.insert(step.key);
        self.steps.push(step);
    }

    fn put(&mut self, put: &'a Put, before: Option<&'a Found>, version: Version, now: Timestamp) {
        let old = before.map(|found| &*found.entity);
        let hash = match (&put.body, old) {
            (Some(body), _) => body.hash(),
            (None, Some(old)) => old.body,
            (None, None) => Package::default().hash(),
        };
        let Some(after) = put.clone().apply(old, hash, version, now) else {
            self.idle.push(&put.key);
            return;
        };
        self.pass_on(old, Some(&after));
        self.push(Step {
            key: &put.key,
            version,
            before,
            body: put
                .body
                .as_ref()
                .filter(|_| old.is_none_or(|old| old.body != hash)),
            after: Some(after),
            is_exclusive: true,
        });
    }

    fn conditions(
        &mut self,
        key: &'a Key,
        conditions: &[Condition],
        before: &'a Found,
        version: Version,
        now: Timestamp,
    ) {
        let old = &before.entity;
        let Some(conditions) = Condition::merge(&old.conditions, conditions.to_vec(), now) else {
            return;
        };
        self.push(Step {
            key,
            version,
            before: Some(before),
            after: Some(Entity {
                conditions,
                version,
                updated: now,
                ..Entity::clone(old)
            }),
            body: None,
            is_exclusive: false,
        });
    }

    /// Who else has the `once` key of what is put.
    fn holder(&self, snapshot: &Snapshot, put: &Put) -> Option<DeploymentId> {
        let Facts::Deployment(deployment) = &put.facts else {
            return None;
        };
        let once = deployment.idempotency_key.as_ref()?;
        let holder = match self.once.get(once) {
            Some(staged) => staged.as_ref(),
            None => snapshot.once.get(once),
        };
        holder
            .filter(|holder| put.key.deployment() != Some(holder))
            .cloned()
    }

    /// Gives and takes `once` keys.
    fn pass_on(&mut self, before: Option<&Entity>, after: Option<&Entity>) {
        let once = |entity: Option<&Entity>| entity?.deployment()?.idempotency_key.clone();
        let (old, new) = (once(before), once(after));
        if old == new {
            return;
        }
        self.once.extend(old.map(|once| (once, None)));
        let holder = after.and_then(|entity| entity.key.deployment());
        self.once.extend(new.map(|once| (once, holder.cloned())));
    }
}
