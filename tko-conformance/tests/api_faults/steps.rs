//! Faults of the steps of workers.

use crate::broken::Broken;
use crate::inner_calls::only;
use crate::packages::is_marked;
use tko_core::annotation::{APPROVED, PREPARED};
use tko_core::api::MAX_EFFECTS;
use tko_core::{
    DeploymentId, Effect, Error, Generation, Key, Outcome, PrepareStep, Result, ScheduleStep,
    Stage, Token, Want,
};

impl Broken {
    pub(crate) async fn broken_preparation(
        &self,
        claim: &Token,
        mut step: PrepareStep,
    ) -> Result<Generation> {
        if self.is("progress is lost") {
            step.progress = None;
        }
        if self.is("steps do not settle") {
            step.settle = None;
        }
        if self.is("effects are lost") {
            step.effects.clear();
        }
        if self.is("subscriptions are lost") {
            step.subscriptions = None;
        }
        if self.is("idempotency keys are ignored") {
            for effect in &mut step.effects {
                if let Effect::Deployment(new) = effect {
                    new.idempotency_key = None;
                }
            }
        }
        if self.is("surplus effects are dropped") {
            step.effects.truncate(MAX_EFFECTS);
        }
        if self.is("effects are committed first") {
            for effect in std::mem::take(&mut step.effects) {
                match effect {
                    Effect::Deployment(new) => drop(self.inner.create_deployment(new).await?),
                    Effect::Site(new) => drop(self.inner.register_site(new).await?),
                    Effect::Delete(id) => self.inner.delete(&Key::from(id)).await?,
                }
            }
        }
        if self.is("children are created as by a client") {
            for effect in &step.effects {
                if let Effect::Deployment(new) = effect {
                    self.inner.create_deployment(new.clone()).await?;
                }
            }
        }
        if self.is("a step ignores user changes") {
            let key = Key::from(&step.deployment);
            step.expect = self.inner.get(&key, Want::ROW).await?.entity.generation;
        }
        self.spoil_step(&mut step).await?;
        let (key, expect) = (Key::from(&step.deployment), step.expect);
        let approves = marks(&step, APPROVED);
        let committed = self.inner.commit_prepared(claim, step).await;
        if committed.is_ok() {
            self.after_step(&key, approves).await?;
        }
        match committed {
            Err(Error::ClaimExpired(key)) if self.is("a lost claim conflicts") => {
                Err(Error::Conflict(vec![key]))
            }
            Err(Error::NotFound(_)) if self.is("a step for a deleted deployment succeeds") => {
                Ok(expect)
            }
            committed => committed,
        }
    }

    /// Changes or refuses a step of preparation.
    async fn spoil_step(&self, step: &mut PrepareStep) -> Result<()> {
        if self.is("a modification blocks every step") {
            self.check_free(&step.deployment).await?;
        }
        if self.is("equal conditions are written again") {
            let last = self.inner.feed_position().await?.revision;
            for condition in &mut step.conditions {
                condition.message = format!("{} (after {last})", condition.message);
            }
        }
        if self.is("an absent child cannot be deleted") {
            for effect in &step.effects {
                if let Effect::Delete(id) = effect {
                    self.inner.get(&id.into(), Want::ROW).await?;
                }
            }
        }
        if self.is("a prepared deployment waits on") {
            let mut memo = self.memo();
            let last = memo.subscriptions.get(&step.deployment).cloned();
            step.subscriptions = step.subscriptions.take().or(last);
            if let Some(all) = &step.subscriptions {
                let id = step.deployment.clone();
                memo.subscriptions.insert(id, all.clone());
            }
        }
        if self.is("persistent subscriptions end with the preparation") && marks(step, PREPARED) {
            step.subscriptions = Some(Vec::new());
        }
        Ok(())
    }

    /// What the fault does after a step of preparation that `approves` the deployment, or does not.
    async fn after_step(&self, key: &Key, approves: bool) -> Result<()> {
        if self.is("a step approves for a person") && approves {
            self.inner.approve(&only(key)).await?;
        }
        if self.is("a step makes no site due") {
            let row = self.inner.get(key, Want::ROW).await?.entity;
            if let Some(site) = row.deployment().and_then(|facts| facts.site.as_ref()) {
                self.lose_work(Stage::Schedule, &site.into()).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn broken_placement(
        &self,
        claim: &Token,
        mut step: ScheduleStep,
    ) -> Result<()> {
        if self.is("recorded schedulers are lost") {
            step.called.clear();
        }
        if self.is("placements are lost") {
            step.placed.clear();
        }
        if self.is("removals are lost") {
            step.removed.clear();
        }
        if self.is("a modification blocks placements") {
            for (id, _) in &step.placed {
                self.check_free(id).await?;
            }
        }
        if self.is("a large step is cut off") {
            step.placed.truncate(500);
        }
        if self.is("placing always settles") {
            step.settle.get_or_insert(Outcome::Done);
        }
        if self.is("a removal cannot be reported again") {
            for id in &step.removed {
                if !self.is_placed(id).await {
                    return Err(Error::Conflict(vec![id.into()]));
                }
            }
        }
        if self.is("removals by any site count") {
            self.memo().removed.extend(step.removed.iter().cloned());
        }
        let reports = !step.conditions.is_empty();
        let committed = self.inner.commit_placed(claim, step).await;
        if self.is("a report makes its site due") && reports {
            self.make_due(Stage::Schedule, &claim.key).await?;
        }
        match committed {
            Err(Error::ClaimExpired(key)) if self.is("a lost claim conflicts") => {
                Err(Error::Conflict(vec![key]))
            }
            Err(Error::Conflict(_)) if self.is("a placement that conflicts is skipped") => Ok(()),
            committed => committed,
        }
    }

    /// Whether a deployment is placed on any site.
    async fn is_placed(&self, id: &DeploymentId) -> bool {
        let want = Want::ROW.with_deleting();
        let Ok(record) = self.inner.get(&id.into(), want).await else {
            return false;
        };
        let deployment = record.entity.deployment();
        deployment.is_some_and(|facts| facts.placed.is_some())
    }
}

/// Whether the package of the step has this mark.
fn marks(step: &PrepareStep, mark: &str) -> bool {
    let package = step.package.as_ref();
    package.is_some_and(|package| is_marked(package, mark))
}
