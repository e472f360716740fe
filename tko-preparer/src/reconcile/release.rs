//! The ends of a preparation: the deployment is finished, or released until later.

use super::session::{Ending, PrepareSession, StepResult, is_prepared, package_of, refusal};
use super::subscriptions::changed;
use crate::blocker::Blocker;
use crate::conditions::{PREPARED, blocked, finished};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tko_core::annotation::{self, APPROVED, Approve};
use tko_core::work::MAX_BACKOFF;
use tko_core::{Condition, Error, Key, Outcome, PrepareStep, Record, Result, deployment_resource};
use tko_worker::{busy_outcome, claim_backoff, claim_jitter};

/// Pause of a deployment whose preparers cannot run in this process, so that another may claim it.
const LEFT_TO_OTHERS: Duration = Duration::from_mins(1);

impl PrepareSession<'_> {
    /// Marks the deployment prepared, and approved if and only if approval is automatic.
    pub(super) async fn finish(&mut self, record: &Record) -> Result<StepResult> {
        let package = package_of(record);
        let resource = match package.resolve(&deployment_resource::identifier()) {
            Ok(Some(resource)) => resource,
            Ok(None) => {
                let missing = Error::bad("package", "it has no Deployment resource");
                return Ok(StepResult::Refused(missing));
            }
            Err(error) => return Ok(StepResult::Refused(error)),
        };
        let approved = match annotation::approve(resource) {
            Approve::Auto => true,
            Approve::Manual => false,
            Approve::Default => self.context.settings.auto_approve,
        };
        let mut marked = annotation::prepared(resource);
        if annotation::is_true(&marked, APPROVED) != approved {
            let text = if approved { "true" } else { "false" };
            marked = Arc::new(marked.annotated(APPROVED, text));
        }
        let mut step = self.step(record.entity.generation);
        step.conditions = finished(record.entity.generation.next(), approved);
        step.subscriptions = changed(record, self.tracks(&package));
        step.package = Some(package.with(marked));
        step.progress = (!self.progress.is_empty()).then_some(Value::Null);
        step.settle = Some(Outcome::Done);
        let result = self.commit(step).await?;
        if let StepResult::Committed = result {
            tracing::info!(deployment = %self.id, approved, calls = self.calls, "prepared");
        }
        Ok(result)
    }

    /// Reports what blocks the deployment, and releases it until later.
    pub(super) async fn release(&mut self, record: &Record, open: &[Blocker]) -> Result<Ending> {
        let mut step = self.blocked_step(record, open);
        step.subscriptions = changed(record, self.subscriptions(record, open));
        let has_subscriptions = step.subscriptions.is_some();
        match self.commit(step).await? {
            StepResult::Refused(error) if has_subscriptions => {
                // The condition and the retries do not depend on subscriptions.
                let mut open = open.to_vec();
                open.push(Blocker::unsubscribed(&refusal(&error)));
                self.end(self.blocked_step(record, &open)).await
            }
            result => ending(result),
        }
    }

    /// A step that reports what blocks the deployment, and settles the claim.
    fn blocked_step(&self, record: &Record, open: &[Blocker]) -> PrepareStep {
        let condition = blocked(PREPARED, open, record.entity.generation);
        let mut step = self.step(record.entity.generation);
        step.settle = Some(self.later(open, &condition));
        step.conditions = vec![condition];
        step
    }

    /// Reports that someone else's modification or deletion of `busy` blocks the deployment, and
    /// releases it until later.
    ///
    /// A prepared deployment gets no condition, because following does not always write it again.
    ///
    /// # Errors
    ///
    /// `Busy` if nothing was reported: then the worker settles the claim with the same reason.
    pub(super) async fn release_busy(&mut self, busy: Key) -> Result<Option<Outcome>> {
        let Some(record) = self.read().await? else {
            return Ok(Some(Outcome::Done));
        };
        if is_prepared(&record) {
            return Err(Error::Busy(busy));
        }
        let generation = record.entity.generation;
        let outcome = busy_outcome(self.claim, &busy);
        // Only conditions: a modification permits no other change.
        let mut step = self.step(generation);
        if let Outcome::Retry { reason, .. } = &outcome {
            let condition = Condition::new(PREPARED, false, "Waiting", reason, generation);
            step.conditions = vec![condition];
        }
        step.settle = Some(outcome);
        match self.end(step).await? {
            Ending::Settled(outcome) => Ok(outcome),
            Ending::Reread => Err(Error::Busy(busy)),
        }
    }

    /// Commits a step that settles the claim.
    pub(super) async fn end(&mut self, step: PrepareStep) -> Result<Ending> {
        ending(self.commit(step).await?)
    }

    /// Decides when a blocked deployment is retried if no event arrives.
    pub(super) fn later(&self, open: &[Blocker], condition: &Condition) -> Outcome {
        let jitter = claim_jitter(self.claim);
        let own = &self.claim.work.key;
        let is_slow = |blocker: &Blocker| blocker.has_event(own) || blocker.is_endless();
        let is_for_others = open.iter().any(Blocker::is_unable)
            && open.iter().all(|b| b.is_unable() || b.has_event(own));
        let after = if is_for_others {
            LEFT_TO_OTHERS.mul_f64(0.5 + jitter / 2.0)
        } else if open.iter().all(is_slow) {
            MAX_BACKOFF.mul_f64(1.0 - jitter / 2.0)
        } else {
            claim_backoff(self.claim)
        };
        tracing::debug!(
            deployment = %self.id,
            condition = condition.kind,
            reason = condition.reason,
            message = condition.message,
            attempt = self.claim.work.attempts,
            next = ?after,
            "blocked"
        );
        if is_for_others {
            return Outcome::Yield { after };
        }
        let reason = condition.message.clone();
        Outcome::Retry { after, reason }
    }
}

/// The end of a claim that the committed step has settled.
fn ending(result: StepResult) -> Result<Ending> {
    match result {
        StepResult::Committed => Ok(Ending::Settled(None)),
        StepResult::Moved => Ok(Ending::Reread),
        StepResult::Refused(error) => Err(error),
    }
}
