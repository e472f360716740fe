//! Faults of the calls of workers.

use crate::broken::Broken;
use std::time::Duration;
use tko_core::api::MAX_EFFECTS;
use tko_core::{
    Claim, ClaimRequest, Effect, Error, Generation, Key, Outcome, PrepareStep, Result,
    ScheduleStep, Token, Want,
};

impl Broken {
    pub(crate) fn lively(&self, mut live: Vec<bool>) -> Vec<bool> {
        if self.is("every token is live") {
            live.fill(true);
        }
        live
    }

    pub(crate) async fn broken_claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        let mut request = request.clone();
        if self.is("claims never wait") {
            request.wait = Duration::ZERO;
        }
        let mut claims = self.inner.claim(&request).await?;
        if self.is("attempts are not counted") {
            for claim in &mut claims {
                claim.work.attempts = 1;
            }
        }
        Ok(claims)
    }

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
        if self.is("a step ignores user changes") {
            let key = Key::from(&step.deployment);
            step.expect = self.inner.get(&key, Want::ROW).await?.entity.generation;
        }
        match self.inner.commit_prepared(claim, step).await {
            Err(Error::ClaimExpired(key)) if self.is("a lost claim conflicts") => {
                Err(Error::Conflict(vec![key]))
            }
            committed => committed,
        }
    }

    pub(crate) async fn broken_placement(
        &self,
        claim: &Token,
        mut step: ScheduleStep,
    ) -> Result<()> {
        if self.is("placements are lost") {
            step.placed.clear();
        }
        if self.is("recorded schedulers are lost") {
            step.called.clear();
        }
        if self.is("a modification blocks placements") {
            for (id, _) in &step.placed {
                let free = self.inner.start_modification(id, Duration::from_secs(1));
                self.inner.cancel_modification(&free.await?.token).await?;
            }
        }
        if self.is("a large step is cut off") {
            step.placed.truncate(500);
        }
        if self.is("placing always settles") {
            step.settle.get_or_insert(Outcome::Done);
        }
        self.inner.commit_placed(claim, step).await
    }
}
