//! Faults of commits.

use crate::broken::Broken;
use crate::reads::folded;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tko_core::work::MAX_PROGRESS;
use tko_core::{
    Ack, Backend, Change, ChangeSet, Committed, Deployment, Enqueue, Error, Facts, Generation, Key,
    MAX_CHANGES, Metadata, Outcome, Put, Require, Result, Subject, Version, Want,
};

fn deployment_of(put: &mut Put) -> Option<&mut Deployment> {
    match &mut put.facts {
        Facts::Deployment(deployment) => Some(deployment),
        _ => None,
    }
}

impl Broken {
    pub(crate) async fn broken_commit(&self, mut set: ChangeSet, ack: Ack) -> Result<Committed> {
        let mut existing = Vec::new();
        self.spoil_puts(&mut set, &mut existing).await?;
        self.spoil_rest(&mut set).await?;
        self.remember_work(&set).await;
        let keys: Vec<Key> = set.changes.iter().map(|c| c.key().clone()).collect();
        let noisy = match keys.len() {
            1 => self.is("a change without effect makes a revision"),
            _ => self.is("a change without effect in a set makes a revision"),
        };
        let mut done = self.in_parts(set, ack).await?;
        done.existing.append(&mut existing);
        for key in &keys {
            let changed = done.versions.iter().any(|(of, _)| of == key);
            if noisy && !changed {
                done.revision = self.make_noise(key).await.or(done.revision);
            }
            let orphaned = std::mem::take(&mut self.memo().orphaned);
            for mark in orphaned {
                if mark.key == *key && changed {
                    self.mark(mark.stage, key).await;
                } else {
                    self.memo().orphaned.push(mark);
                }
            }
        }
        if self.is("a set returns the last version only") {
            let surplus = done.versions.len().saturating_sub(1);
            done.versions.drain(..surplus);
        }
        if self.is("versions are always 1") {
            for (_, version) in &mut done.versions {
                *version = Version(1);
            }
        }
        if self.is("commits return no revision") {
            done.revision = None;
        }
        if self.is("revisions have gaps") {
            done.revision = done.revision.map(|r| tko_core::Revision(r.0 * 2));
        }
        Ok(done)
    }

    async fn spoil_puts(
        &self,
        set: &mut ChangeSet,
        existing: &mut Vec<(Key, tko_core::DeploymentId)>,
    ) -> Result<()> {
        let mut seen = BTreeSet::new();
        let mut left_out = Vec::new();
        for change in &mut set.changes {
            let Change::Put(put) = change else { continue };
            if self.is("ids ignore case") && put.key.kind() == tko_core::Kind::Template {
                put.key = folded(&put.key);
            }
            if self.is("given metadata are not stored") {
                put.given = Metadata::default();
            }
            if self.is("given metadata of deployments are not stored")
                && put.key.kind() == tko_core::Kind::Deployment
            {
                put.given = Metadata::default();
            }
            if self.is("inherited metadata are not stored") {
                put.inherited = Metadata::default();
            }
            if self.is("the origin of a site is not stored")
                && let Facts::Site { origin, .. } = &mut put.facts
            {
                *origin = None;
            }
            if self.is("properties of plugins are not stored")
                && let Facts::Plugin(plugin) = &mut put.facts
            {
                Arc::make_mut(plugin).properties.clear();
            }
            if self.is("a modification blocks placements") {
                put.beside_modification = false;
            }
            if self.is("metadata are trimmed") {
                let trimmed = put.metadata.iter().map(|(key, value)| (key, value.trim()));
                put.metadata = trimmed.collect();
            }
            if self.is("a put without body clears it") {
                put.body.get_or_insert_default();
            }
            let before = self.find(&put.key, Want::ROW).await;
            if self.is("a put merges metadata")
                && let Some(before) = &before
            {
                put.metadata = before.entity.metadata.overlaid(&put.metadata);
            }
            let key = put.key.clone();
            let deleting = put.deleting;
            let Some(deployment) = deployment_of(put) else {
                continue;
            };
            if self.is("the origin of a deployment is not stored") {
                deployment.origin = None;
            }
            if self.is("the generation of what is placed is not stored")
                && let Some((_, generation)) = &mut deployment.placed
            {
                *generation = Generation(1);
            }
            if self.is("a deletion mark frees the idempotency key") && deleting {
                deployment.idempotency_key = None;
            }
            let Some(once) = deployment.idempotency_key.as_deref().map(str::to_owned) else {
                continue;
            };
            let id = key.deployment().cloned().expect("it is a deployment");
            let holder = self.memo().once.get(&once).cloned();
            let taken = holder.filter(|_| before.is_none());
            if self.is("idempotency keys are ignored") {
                deployment.idempotency_key = None;
            }
            if self.is("a taken key refuses the set") && taken.is_some() {
                return Err(Error::AlreadyExists(key));
            }
            if self.is("a skipped creation references its site") && taken.is_some() {
                let refers = |require: &Require| match require {
                    Require::Unreferenced(Key::Site(site)) => {
                        deployment.site.as_ref() == Some(site)
                    }
                    _ => false,
                };
                if let Some(require) = set.require.iter().find(|require| refers(require)) {
                    return Err(Error::Conflict(vec![require.key().clone()]));
                }
            }
            if self.is("idempotency keys are not checked within a set")
                && !seen.insert(once.clone())
            {
                deployment.idempotency_key = None;
            }
            if self.is("a deployment cannot be put under its own key") && before.is_some() {
                existing.push((key.clone(), id.clone()));
                left_out.push(key.clone());
            }
            if self.is_any(&[
                "idempotency keys are never freed",
                "idempotency keys are not checked atomically",
            ]) {
                deployment.idempotency_key = None;
                if let Some(holder) = taken {
                    existing.push((key.clone(), holder));
                    left_out.push(key.clone());
                }
                tokio::task::yield_now().await;
            }
            self.memo().once.entry(once).or_insert(id);
        }
        set.changes
            .retain(|change| !left_out.contains(change.key()));
        Ok(())
    }

    async fn spoil_rest(&self, set: &mut ChangeSet) -> Result<()> {
        if self.is("of a repeated key the last change wins") {
            let mut seen = BTreeSet::new();
            set.changes.reverse();
            set.changes
                .retain(|change| seen.insert(change.key().clone()));
            set.changes.reverse();
        }
        if self.is("enqueues are lost") {
            set.enqueue.clear();
        }
        for mark in &mut set.enqueue {
            if self.is("delays of enqueues are ignored") {
                mark.after = Duration::ZERO;
            }
            if self.is("delayed enqueues are due too late") && !mark.after.is_zero() {
                mark.after += Duration::from_secs(10);
            }
            if self.is("the latest due comes first") && !mark.after.is_zero() {
                mark.after = Duration::from_secs(100).saturating_sub(mark.after);
            }
        }
        let while_claimed = [
            "enqueues under a lease are lost",
            "a retry ignores enqueues under its lease",
            "a yield ignores enqueues under its lease",
        ];
        if self.is_any(&while_claimed) {
            let memo = self.memo();
            set.enqueue.retain(|mark| !memo.leased.contains(&mark.key));
        }
        if self.is("a delayed enqueue under a lease is lost") {
            let memo = self.memo();
            let lost = |mark: &Enqueue| memo.leased.contains(&mark.key) && !mark.after.is_zero();
            set.enqueue.retain(|mark| !lost(mark));
        }
        if self.is("settle needs a token") && set.under.is_none() && set.settle.is_some() {
            return Err(Error::bad("settle", "there is no token"));
        }
        if self.is("progress needs a token") && set.under.is_none() && set.progress.is_some() {
            return Err(Error::bad("progress", "there is no token"));
        }
        if self.is("an enqueue does not bring a retry forward") {
            let memo = self.memo();
            set.enqueue.retain(|mark| !memo.retried.contains(&mark.key));
        }
        if self.is("progress is lost") {
            set.progress = None;
        }
        if self.is("progress has no bound")
            && set
                .progress
                .as_ref()
                .is_some_and(|p| p.to_string().len() > MAX_PROGRESS)
        {
            set.progress = Some(Value::Null);
        }
        if self.is("a commit does not settle") {
            set.settle = None;
        }
        if self.is("an empty commit keeps the modification") && set.changes.is_empty() {
            set.under = None;
        }
        let mut kept = Vec::new();
        for require in std::mem::take(&mut set.require) {
            let dropped = match &require {
                Require::Absent(_) => self.is("Absent is ignored"),
                Require::Exists(_) => self.is("Exists is ignored"),
                Require::At(key, _) => {
                    self.is("At is ignored")
                        || (self.is("At holds for a deleted entity")
                            && self.find(key, Want::ROW).await.is_none())
                }
                Require::Generation(..) => self.is("Generation is ignored"),
                Require::Current(key, _) => {
                    self.is("Current is ignored")
                        || (self.is("Current holds under deletion")
                            && self
                                .find(key, Want::ROW)
                                .await
                                .is_some_and(|r| r.entity.deleting))
                }
                Require::Unreferenced(_) => self.is("Unreferenced is ignored"),
            };
            if !dropped {
                kept.push(require);
            }
        }
        set.require = kept;
        if self.is("a modification blocks conditions") {
            for change in &set.changes {
                let token = self.memo().edits.get(change.key()).cloned();
                if matches!(change, Change::Conditions(..))
                    && token.is_some_and(|t| set.under != Some(t))
                {
                    return Err(Error::Busy(change.key().clone()));
                }
            }
        }
        Ok(())
    }

    async fn remember_work(&self, set: &ChangeSet) {
        if self.is("work of absent keys is kept") {
            for mark in &set.enqueue {
                if self.find(&mark.key, Want::ROW).await.is_none() {
                    self.memo().orphaned.push(mark.clone());
                }
            }
        }
        let delete_stage = self.is("work of the delete stage outlives its entity");
        if !self.is("work outlives its entity") && !delete_stage {
            return;
        }
        for change in &set.changes {
            let Change::Delete(key) = change else {
                continue;
            };
            let want = Want::ROW.with_work();
            let work = self.find(key, want).await.map(|record| record.work);
            let marks = work.into_iter().flatten();
            let marks = marks.filter(|work| !delete_stage || work.stage == tko_core::Stage::Delete);
            let marks = marks.map(|work| Enqueue::now(work.stage, key, work.lane));
            self.memo().orphaned.extend(marks);
        }
    }

    /// Commits at once, or in parts if that is the fault.
    async fn in_parts(&self, set: ChangeSet, ack: Ack) -> Result<Committed> {
        let size = match () {
            () if self.is_any(&["a set is not atomic", "sets are not contiguous"]) => 1,
            () if self.is("a set may have any size") => MAX_CHANGES,
            () => return self.whole(set, ack).await,
        };
        let mut done = Committed::default();
        let mut rest = set;
        loop {
            let later = rest.changes.split_off(size.min(rest.changes.len()));
            let mut part = rest.clone();
            if !later.is_empty() {
                (part.settle, part.enqueue) = (None, Vec::new());
            }
            let committed = self.whole(part, ack).await?;
            done.revision = committed.revision.or(done.revision);
            done.versions.extend(committed.versions);
            done.existing.extend(committed.existing);
            if later.is_empty() {
                return Ok(done);
            }
            tokio::task::yield_now().await;
            (rest.changes, rest.require) = (later, Vec::new());
        }
    }

    async fn whole(&self, mut set: ChangeSet, ack: Ack) -> Result<Committed> {
        let before = |set: &mut ChangeSet, of: fn(&Require) -> bool| {
            let (first, later) = std::mem::take(&mut set.require).into_iter().partition(of);
            set.require = later;
            ChangeSet::new().requirements(first)
        };
        if self.is("Unreferenced is checked before the changes") {
            let first = before(&mut set, |r| matches!(r, Require::Unreferenced(_)));
            self.inner.commit(first, ack).await?;
        }
        if self.is("a set settles before it enqueues") && set.settle.is_some() {
            let enqueue = std::mem::take(&mut set.enqueue);
            let done = self.inner.commit(set, ack).await?;
            let enqueue = ChangeSet::new().enqueued(enqueue);
            self.inner.commit(enqueue, ack).await?;
            return Ok(done);
        }
        if self.is("preconditions are not checked atomically") {
            let first = before(&mut set, |_| true);
            self.inner.commit(first, ack).await?;
            tokio::task::yield_now().await;
        }
        let error = match self.inner.commit(set.clone(), ack).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let freely = set.clone().under(None).settle(None).progress(None);
        let unknown = set
            .under
            .as_ref()
            .is_some_and(|token| !self.memo().deadlines.contains_key(token));
        match error {
            Error::ClaimExpired(_) | Error::NotFound(Subject::Claim(_))
                if self.is("an unknown token commits") && unknown =>
            {
                self.inner.commit(freely, ack).await
            }
            Error::ClaimExpired(_) if self.is("an ended lease commits") => {
                self.inner.commit(freely, ack).await
            }
            Error::ClaimExpired(key)
                if self.is_any(&[
                    "an ended lease is not found",
                    "an expired token is not found",
                ]) =>
            {
                Err(Error::NotFound(Subject::Claim(key)))
            }
            Error::NotFound(Subject::Claim(_))
                if self.is_any(&["a token works again", "tokens are not checked"]) =>
            {
                self.inner.commit(freely, ack).await
            }
            Error::NotFound(Subject::Claim(key))
                if self.is("a cancelled modification has expired") =>
            {
                Err(Error::ClaimExpired(key))
            }
            Error::Conflict(mut keys) if self.is("a conflict names one key") => {
                keys.truncate(1);
                Err(Error::Conflict(keys))
            }
            Error::Conflict(keys) if self.is("missing keys win over a conflict") => {
                let exists = set.require.iter().find(|r| matches!(r, Require::Exists(_)));
                Err(exists.map_or(Error::Conflict(keys), |r| Error::not_found(r.key())))
            }
            Error::Busy(key) if self.is("writers ignore modifications") => {
                let under = self.memo().edits.get(&key).cloned();
                self.inner.commit(freely.under(under), ack).await
            }
            error => {
                if self.is("a refused commit ends the modification")
                    && let Some(token) = set.under
                {
                    self.inner.settle(&[(token, Outcome::Done)]).await?;
                }
                Err(error)
            }
        }
    }
}
