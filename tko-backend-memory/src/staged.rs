//! What a change set comes to, worked out and not yet written.

use crate::state::State;
use crate::table::Row;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tko_core::{
    Change, Condition, DeploymentId, Entity, Facts, Key, Package, Put, Timestamp, Version,
};

/// One change that will be written.
pub(crate) struct Step {
    pub(crate) before: Option<Row>,
    /// `None`: it goes.
    pub(crate) after: Option<(Entity, Arc<Package>)>,
    /// Whether what the indexes know may differ.
    pub(crate) indexed: bool,
}

/// What a set comes to: what changes nothing is left out.
#[derive(Default)]
pub(crate) struct Staged {
    /// In order.
    pub(crate) steps: Vec<Step>,
    /// Creations that were left out, and who has their `once` key.
    pub(crate) existing: Vec<(Key, DeploymentId)>,
    /// Entities that took up a `once` key which another has.
    pub(crate) taken: Vec<Key>,
    /// Who will have which `once` key; `None`: nobody.
    pub(crate) once: BTreeMap<Arc<str>, Option<DeploymentId>>,
    keys: HashSet<Key>,
}

impl Staged {
    /// Works out all changes in order.
    pub(crate) fn new(state: &mut State, changes: Vec<Change>, now: Timestamp) -> Self {
        let mut staged = Self::default();
        for change in changes {
            let key = change.key().clone();
            let before = state.row(&key).cloned();
            let step = match (change, before) {
                (Change::Put(put), before) => staged.put(state, put, before, now),
                (Change::Delete(_), Some(before)) => Some(staged.delete(before)),
                (Change::Conditions(_, conditions), Some(before)) => {
                    with_conditions(state, before, conditions, now)
                }
                (Change::Delete(_) | Change::Conditions(..), None) => None,
            };
            if let Some(step) = step {
                staged.keys.insert(key);
                staged.steps.push(step);
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
        self.steps
            .iter()
            .filter_map(|step| step.after.as_ref().map(|(entity, _)| entity))
    }

    fn put(
        &mut self,
        state: &mut State,
        mut put: Put,
        before: Option<Row>,
        now: Timestamp,
    ) -> Option<Step> {
        if let Some(holder) = self.holder(state, &put) {
            if before.is_some() {
                self.taken.push(put.key);
            } else {
                self.existing.push((put.key, holder));
            }
            return None;
        }
        let body = match (put.body.take(), &before) {
            (Some(package), Some(row)) if *row.body == package => row.body.clone(),
            (Some(package), _) => state.pools.body(&package),
            (None, Some(row)) => row.body.clone(),
            (None, None) => state.pools.body(&Package::default()),
        };
        let old = before.as_ref().map(|row| &*row.entity);
        state.share(&mut put, old);
        state.version += 1;
        let entity = put.apply(old, body.hash(), Version(state.version), now)?;
        self.pass_on(old, Some(&entity));
        Some(Step {
            before,
            after: Some((entity, body)),
            indexed: true,
        })
    }

    fn delete(&mut self, before: Row) -> Step {
        self.pass_on(Some(&before.entity), None);
        Step {
            before: Some(before),
            after: None,
            indexed: true,
        }
    }

    /// Who else has the `once` key of what is put.
    fn holder(&self, state: &State, put: &Put) -> Option<DeploymentId> {
        let Facts::Deployment(deployment) = &put.facts else {
            return None;
        };
        let once = deployment.idempotency_key.as_ref()?;
        let holder = match self.once.get(once) {
            Some(staged) => staged.as_ref(),
            None => state.once.get(once),
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

fn with_conditions(
    state: &mut State,
    before: Row,
    conditions: Vec<Condition>,
    now: Timestamp,
) -> Option<Step> {
    let conditions = Condition::merge(&before.entity.conditions, conditions, now)?;
    state.version += 1;
    let entity = Entity {
        conditions,
        version: Version(state.version),
        updated: now,
        ..Entity::clone(&before.entity)
    };
    Some(Step {
        after: Some((entity, before.body.clone())),
        before: Some(before),
        indexed: false,
    })
}

#[cfg(test)]
mod tests;
