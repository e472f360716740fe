//! Atomic change sets.

use super::state::{ReferenceRow, ReferenceState, TokenStanding};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use tko_core::work::MAX_PROGRESS;
use tko_core::{
    Change, ChangeRecord, ChangeSet, Committed, Condition, DeploymentId, Entity, Error, Facts, Key,
    MAX_CHANGES, Outcome, Put, Require, Revision, Subject, Timestamp, Version, Want,
};

impl ReferenceState {
    /// Every reason to refuse the set; the first one is reported. None if the set applies.
    pub(crate) fn refusals(&self, set: &ChangeSet, now: Timestamp) -> Vec<Error> {
        let mut refusals = Vec::new();
        refusals.extend(malformed(set));
        if let Some(token) = &set.under {
            match self.standing(token, now) {
                TokenStanding::Live => {}
                TokenStanding::Late => refusals.push(Error::ClaimExpired(token.key.clone())),
                TokenStanding::Unknown => {
                    refusals.push(Error::NotFound(Subject::Claim(token.key.clone())));
                }
            }
        }
        refusals.extend(self.failed(set));
        for change in &set.changes {
            let key = match change {
                Change::Put(put) if !put.beside_modification => &put.key,
                Change::Delete(key) => key,
                Change::Put(_) | Change::Conditions(..) => continue,
            };
            let held = self.open_edit(key, now);
            if held.is_some_and(|held| Some(&held.token) != set.under.as_ref()) {
                refusals.push(Error::Busy(key.clone()));
            }
        }
        refusals
    }

    /// The possible errors of the failed preconditions; the first one is reported.
    fn failed(&self, set: &ChangeSet) -> Vec<Error> {
        let replaced: BTreeSet<&Key> = set
            .changes
            .iter()
            .filter(|change| !matches!(change, Change::Conditions(..)))
            .map(Change::key)
            .collect();
        let left = self.rows.iter().filter(|(key, _)| !replaced.contains(key));
        let left: Vec<&Entity> = left.map(|(_, row)| &*row.entity).collect();
        let left_out = self.left_out(set);
        let put = set.changes.iter().filter_map(|change| match change {
            Change::Put(put) => Some(preview(put)),
            Change::Delete(_) | Change::Conditions(..) => None,
        });
        let put = put.filter(|entity| !left_out.contains(&entity.key));
        let put: Vec<Entity> = put.collect();
        // In the state after the set.
        let is_referred_to = |key: &Key| {
            let mut after = left.iter().copied().chain(&put);
            after.any(|entity| entity.refers_to(key))
        };
        let failed = set.require.iter().filter(|require| match require {
            Require::Unreferenced(key) => is_referred_to(key),
            other => !self.holds(other),
        });
        let failed: Vec<&Require> = failed.collect();
        let is_there = |require: &Require| match require {
            Require::Generation(key, _) | Require::Current(key, _) => {
                self.rows.get(key).is_some_and(|r| !r.entity.deleting)
            }
            other => self.rows.contains_key(other.key()),
        };
        let mut of_being = Vec::new();
        let mut conflict = false;
        let mut strict = false;
        for require in &failed {
            match require {
                Require::Absent(key) => of_being.push(Error::AlreadyExists(key.clone())),
                Require::Exists(key) => of_being.push(Error::not_found(key)),
                // An absent entity is both missing and not at its version.
                Require::At(key, _) | Require::Generation(key, _) | Require::Current(key, _)
                    if !is_there(require) =>
                {
                    of_being.push(Error::not_found(key));
                    conflict = true;
                }
                _ => strict = true,
            }
        }
        let mut kinds: Vec<_> = of_being.iter().map(Error::kind).collect();
        kinds.dedup();
        let mixed = kinds.len() > 1;
        let mut all = if strict { Vec::new() } else { of_being };
        if strict || conflict || mixed {
            let keys: BTreeSet<&Key> = failed.iter().map(|require| require.key()).collect();
            let named = Error::Conflict(keys.into_iter().cloned().collect());
            all.insert(if mixed { 0 } else { all.len() }, named);
        }
        all
    }

    /// The creations whose idempotency key is taken, by a row or earlier in the set.
    fn left_out(&self, set: &ChangeSet) -> BTreeSet<Key> {
        let rows = self.rows.values();
        let held = rows.filter_map(|row| once(&row.entity.facts).map(|o| (o, &row.entity.key)));
        let mut held: Vec<(&str, &Key)> = held.collect();
        let mut left_out = BTreeSet::new();
        for change in &set.changes {
            match change {
                Change::Delete(deleted) => held.retain(|(_, key)| *key != deleted),
                Change::Put(Put { key, facts, .. }) => {
                    let Some(wanted) = once(facts) else { continue };
                    if self.rows.contains_key(key) {
                        continue;
                    }
                    if held.iter().any(|(taken, _)| *taken == wanted) {
                        left_out.insert(key.clone());
                    } else {
                        held.push((wanted, key));
                    }
                }
                Change::Conditions(..) => {}
            }
        }
        left_out
    }

    /// Whether a precondition holds; `Unreferenced` is checked on the state after the set.
    fn holds(&self, require: &Require) -> bool {
        let row = self.rows.get(require.key()).map(|row| &*row.entity);
        match require {
            Require::Absent(_) => row.is_none(),
            Require::Exists(_) => row.is_some_and(|e| !e.deleting),
            Require::At(_, version) => row.is_some_and(|e| e.version == *version),
            Require::Generation(_, generation) => {
                row.is_some_and(|e| !e.deleting && e.generation == *generation)
            }
            Require::Current(_, version) => {
                row.is_some_and(|e| !e.deleting && e.version == *version)
            }
            Require::Unreferenced(_) => true,
        }
    }

    /// Applies a set without refusals.
    pub(crate) fn apply(&mut self, set: ChangeSet, now: Timestamp) -> Committed {
        let mut committed = Committed::default();
        let before = self.feed.len();
        for change in set.changes {
            let done = match change {
                Change::Put(put) => self.put(put, now, &mut committed),
                Change::Delete(key) => self.delete(&key),
                Change::Conditions(key, conditions) => self.conditions(&key, conditions, now),
            };
            let Some((key, old, new)) = done else {
                continue;
            };
            let revision = Revision(self.revision().0 + 1);
            let new = new.map(|row| ReferenceRow { revision, ..row });
            let whole = Want::PACKAGE.with_revision();
            self.feed.push(
                ChangeRecord::new(revision, revision, now, key.clone())
                    .before(old.map(|row| row.record(whole)))
                    .after(new.as_ref().map(|row| row.record(whole)))
                    .cause(set.cause.clone()),
            );
            committed.revision = Some(revision);
            if let Some(row) = new {
                committed.versions.push((key.clone(), row.entity.version));
                self.rows.insert(key, row);
            }
        }
        for change in &mut self.feed[before..] {
            change.set = committed.revision.unwrap_or_default();
        }
        self.forget();
        for mark in set.enqueue {
            self.mark(mark, now);
        }
        if let Some(token) = &set.under {
            if let Some(progress) = set.progress {
                self.progress(token, Some(progress).filter(|p| *p != Value::Null));
            }
            let edit = self.is_edit(token).then_some(Outcome::Done);
            if let Some(outcome) = set.settle.or(edit) {
                self.end(token, &outcome, now);
            }
        }
        committed
    }

    fn put(
        &mut self,
        put: Put,
        now: Timestamp,
        committed: &mut Committed,
    ) -> Option<AppliedChange> {
        let key = put.key.clone();
        let old = self.rows.get(&key).cloned();
        let holder = once(&put.facts).and_then(|once| self.holder(once));
        if let (None, Some(holder)) = (&old, holder) {
            committed.existing.push((key, holder));
            return None;
        }
        let kept = old.as_ref().map(|row| row.body.clone()).unwrap_or_default();
        let body = put.body.clone().unwrap_or(kept);
        let before = old.as_ref().map(|row| &*row.entity);
        let version = Version(self.given + 1);
        let entity = put.apply(before, body.hash(), version, now)?;
        self.give();
        let new = ReferenceRow {
            entity: Arc::new(entity),
            body,
            revision: Revision::default(),
        };
        Some((key, old, Some(new)))
    }

    fn delete(&mut self, key: &Key) -> Option<AppliedChange> {
        let old = self.rows.remove(key)?;
        self.work.retain(|(_, of), _| of != key);
        Some((key.clone(), Some(old), None))
    }

    fn conditions(
        &mut self,
        key: &Key,
        new: Vec<Condition>,
        now: Timestamp,
    ) -> Option<AppliedChange> {
        let old = self.rows.get(key)?.clone();
        let conditions = Condition::merge(&old.entity.conditions, new, now)?;
        let entity = (*old.entity)
            .clone()
            .conditions(conditions)
            .version(Version(self.give()))
            .updated(now);
        let new = ReferenceRow {
            entity: Arc::new(entity),
            ..old.clone()
        };
        Some((key.clone(), Some(old), Some(new)))
    }

    /// The existing deployment with this idempotency key.
    fn holder(&self, wanted: &str) -> Option<DeploymentId> {
        let mut rows = self.rows.values();
        let row = rows.find(|row| once(&row.entity.facts) == Some(wanted))?;
        row.entity.key.deployment().cloned()
    }
}

/// The key, the row before, the row after.
type AppliedChange = (Key, Option<ReferenceRow>, Option<ReferenceRow>);

fn once(facts: &Facts) -> Option<&str> {
    match facts {
        Facts::Deployment(deployment) => deployment.idempotency_key.as_deref(),
        _ => None,
    }
}

/// The entity that a put creates, as far as its relations matter.
fn preview(put: &Put) -> Entity {
    let hash = tko_core::Package::default().hash();
    let entity = put
        .clone()
        .apply(None, hash, Version::default(), Timestamp::default());
    entity.expect("a new entity is a change")
}

fn malformed(set: &ChangeSet) -> Option<Error> {
    if set.changes.len() > MAX_CHANGES {
        return Some(Error::bad(
            "changes",
            format!("{}; at most {MAX_CHANGES}", set.changes.len()),
        ));
    }
    let mut keys = BTreeSet::new();
    for change in &set.changes {
        if !keys.insert(change.key()) {
            return Some(Error::bad("changes", format!("{} twice", change.key())));
        }
    }
    let progress = set.progress.as_ref()?.to_string();
    (progress.len() > MAX_PROGRESS).then(|| {
        let message = format!("{} bytes; at most {MAX_PROGRESS}", progress.len());
        Error::bad("progress", message)
    })
}
