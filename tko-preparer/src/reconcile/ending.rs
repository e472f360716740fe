//! The ends of a pass: finished, or given back with what it waits for.

use super::{Halt, Pass, Step, jitter, package_of};
use crate::blocker::{APPROVED as IS_APPROVED, Blocker, PREPARED as IS_PREPARED, Why, held_up};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tko_core::annotation::{self, APPROVED, Approve};
use tko_core::work::{MAX_BACKOFF, backoff};
use tko_core::{
    Condition, Error, Generation, Metadata, Outcome, Record, Subscription, deployment_resource,
    subscription,
};

/// How long a deployment is left to other processes whose preparers can run here they cannot.
const LEFT_TO_OTHERS: Duration = Duration::from_mins(1);

impl Pass<'_> {
    /// Marks the deployment prepared, and approved where that is automatic.
    pub(super) async fn finish(&mut self, record: &Record) -> Result<Step, Halt> {
        let package = package_of(record);
        let resource = match package.resolve(&deployment_resource::identifier()) {
            Ok(Some(resource)) => resource,
            Ok(None) => {
                let missing = Error::bad("package", "it has no Deployment resource");
                return Ok(Step::Refused(missing));
            }
            Err(error) => return Ok(Step::Refused(error)),
        };
        let automatic = match annotation::approve(resource) {
            Approve::Auto => true,
            Approve::Manual => false,
            Approve::Default => self.shared.settings.auto_approve,
        };
        let mut finished = annotation::prepared(resource);
        if automatic {
            finished = Arc::new(finished.annotated(APPROVED, "true"));
        }
        let mut step = self.step(record.entity.generation);
        step.conditions = finished_conditions(record.entity.generation.next(), automatic);
        step.subscriptions = changed(record, self.tracks(&package));
        step.package = Some(package.with(finished));
        step.progress = (!self.progress.is_empty()).then_some(Value::Null);
        step.settle = Some(Outcome::Done);
        self.commit(step).await
    }

    /// Writes down what these wait for. Whether anything of that is new.
    pub(super) async fn register(
        &mut self,
        record: &Record,
        open: &[Blocker],
    ) -> Result<bool, Halt> {
        let Some(interests) = changed(record, self.all_interests(record, open)) else {
            return Ok(false);
        };
        let mut step = self.step(record.entity.generation);
        step.subscriptions = Some(interests);
        match self.commit(step).await? {
            Step::Done | Step::Moved => Ok(true),
            Step::Refused(error) => Err(Halt::Failed(error)),
        }
    }

    /// Says what holds it up and gives it back until later. Whether it has to be read again
    /// instead.
    pub(super) async fn release(
        &mut self,
        record: &Record,
        open: &[Blocker],
    ) -> Result<bool, Halt> {
        let condition = held_up(IS_PREPARED, open, record.entity.generation);
        let mut step = self.step(record.entity.generation);
        step.subscriptions = changed(record, self.all_interests(record, open));
        step.settle = Some(self.later(open, &condition.message));
        tracing::debug!(deployment = %self.id, reason = condition.reason, message = condition.message, "not prepared yet");
        step.conditions = vec![condition];
        match self.commit(step).await? {
            Step::Done => Ok(false),
            Step::Moved => Ok(true),
            Step::Refused(error) => Err(Halt::Failed(error)),
        }
    }

    /// When a deployment that is held up by these is looked at again if nothing is heard.
    pub(super) fn later(&self, open: &[Blocker], reason: &str) -> Outcome {
        let chance = jitter(self.claim);
        let own = &self.claim.work.key;
        let unable = |open: &Blocker| matches!(open.why, Why::Unable(..));
        if open.iter().any(unable) && open.iter().all(|open| unable(open) || open.is_woken(own)) {
            return Outcome::Yield {
                after: LEFT_TO_OTHERS.mul_f64(0.5 + chance / 2.0),
            };
        }
        let is_slow = |open: &Blocker| open.is_woken(own) || matches!(open.why, Why::Endless(_));
        let after = if open.iter().all(is_slow) {
            MAX_BACKOFF.mul_f64(1.0 - chance / 2.0)
        } else {
            backoff(self.claim.work.attempts, chance)
        };
        Outcome::Retry {
            after,
            reason: reason.to_owned(),
        }
    }

    pub(super) fn endless(&self, rounds: usize) -> Blocker {
        Blocker::endless(format!(
            "preparing does not come to an end: after {rounds} rounds and {} calls there still is \
             something new to be prepared; look for preparers that undo each other's work, or \
             never mark their resource prepared",
            self.calls
        ))
    }

    fn all_interests(&self, record: &Record, open: &[Blocker]) -> Vec<Subscription> {
        let mut all = self.tracks(&package_of(record));
        all.extend(self.interests(open));
        all
    }
}

fn finished_conditions(observed: Generation, approved: bool) -> Vec<Condition> {
    let prepared = Condition::new(
        IS_PREPARED,
        true,
        "Prepared",
        "nothing is left to be prepared",
        observed,
    );
    let (reason, message) = if approved {
        ("Automatic", "approved by the preparer")
    } else {
        ("AwaitingApproval", "waits for a person to approve it")
    };
    let approved = Condition::new(IS_APPROVED, approved, reason, message, observed);
    vec![prepared, approved]
}

/// These interests, unless the deployment has just these already.
pub(super) fn changed(record: &Record, interests: Vec<Subscription>) -> Option<Vec<Subscription>> {
    let mut kept: Metadata = record.entity.metadata.clone();
    kept.retain(|key, _| subscription::is_subscription(key));
    (subscription::metadata(&interests) != kept).then_some(interests)
}
