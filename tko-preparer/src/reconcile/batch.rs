//! Answers of preparers that are committed together.
//!
//! A commit takes time in proportion to the whole package. If each answer had its own commit, the
//! time for a package would grow with the square of its resources. So a commit has several answers:
//!
//! - The first commit of a claim has one answer. A commit with as many answers as are allowed
//!   doubles the number for the next one. So the number of commits grows with the logarithm of the
//!   number of resources.
//! - An answer waits for its commit for [`MAX_AGE`] and one more call, so that a lost claim loses
//!   little work.
//! - If a commit with several answers is refused, none of them counts. The preparers are called
//!   again, and half as many answers are committed together, until the invalid one is alone.
//! - Answers are committed before a preparer is called that may depend on their effects, or after
//!   they change something that is also in the row of the deployment.

use std::time::Duration;
use tko_core::api::MAX_EFFECTS;
use tko_core::{Effect, Identifier, Timestamp};

/// Maximum time from the first call of a batch until its commit is due.
const MAX_AGE: Duration = Duration::from_secs(1);
/// Maximum number of bytes of the packages in the effects of several answers. The effects of one
/// answer may have more.
const MAX_BYTES: usize = 4 << 20;

/// Answers that are not committed yet.
#[derive(Default)]
pub(super) struct AnswerBatch {
    /// The resources whose preparers answered, in order.
    pub(super) targets: Vec<Identifier>,
    /// The effects of all answers.
    pub(super) effects: Vec<Effect>,
    /// Number of answers that left as many resources pending as before.
    pub(super) stalled: usize,
    /// Whether something changed that is also in the row of the deployment.
    pub(super) changes_row: bool,
    /// Number of bytes of the packages in the effects.
    bytes: usize,
    /// The start of the first call.
    started: Option<Timestamp>,
}

impl AnswerBatch {
    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Adds the answer to a call that started at this time.
    pub(super) fn add(&mut self, target: Identifier, effects: Vec<Effect>, started: Timestamp) {
        self.bytes += size(&effects);
        self.targets.push(target);
        self.effects.extend(effects);
        self.started.get_or_insert(started);
    }

    /// Whether these effects can be committed together with those of the batch.
    pub(super) fn fits(&self, effects: &[Effect]) -> bool {
        self.effects.is_empty()
            || effects.is_empty()
            || (self.effects.len() + effects.len() <= MAX_EFFECTS
                && self.bytes + size(effects) <= MAX_BYTES)
    }

    /// Whether the batch is to be committed before the next call. It may have so many answers.
    pub(super) fn is_due(&self, max_answers: usize, now: Timestamp) -> bool {
        self.targets.len() >= max_answers
            || self.changes_row
            // Most answers that follow then fit.
            || 2 * self.effects.len() >= MAX_EFFECTS
            || 2 * self.bytes >= MAX_BYTES
            || self.started.is_some_and(|started| now.since(started) >= MAX_AGE)
    }
}

/// The bytes of the packages in effects.
fn size(effects: &[Effect]) -> usize {
    let sizes = effects.iter().map(|effect| match effect {
        Effect::Deployment(new) => new.merge.size(),
        Effect::Site(new) => new.package.size(),
        Effect::Delete(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::{AnswerBatch, MAX_AGE, MAX_BYTES};
    use serde_json::json;
    use tko_core::api::MAX_EFFECTS;
    use tko_core::{DeploymentId, Effect, Gvk, Identifier, NewDeployment, Package, Timestamp};

    const START: Timestamp = Timestamp(1_000_000);

    fn batch(effects: Vec<Effect>) -> AnswerBatch {
        let mut batch = AnswerBatch::default();
        let target = Identifier::new(Gvk::new("x", "v1", "Thing"), "a");
        batch.add(target, effects, START);
        batch
    }

    fn deletions(count: usize) -> Vec<Effect> {
        let id = DeploymentId::new("a").expect("an id");
        vec![Effect::Delete(id); count]
    }

    /// Creates a deployment with a package of at least so many bytes.
    fn creation(bytes: usize) -> Effect {
        let value = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
            "data": {"text": "x".repeat(bytes)},
        });
        let package = Package::from_values([value]).expect("a package");
        Effect::Deployment(NewDeployment::new().merge(package))
    }

    #[test]
    fn a_batch_is_due_with_enough_answers_or_after_a_while() {
        assert!(!AnswerBatch::default().is_due(1, START));
        assert!(batch(Vec::new()).is_due(1, START));
        assert!(!batch(Vec::new()).is_due(2, START));
        assert!(batch(Vec::new()).is_due(2, START.plus(MAX_AGE)));
        assert!(batch(deletions(MAX_EFFECTS / 2)).is_due(2, START));
        assert!(batch(vec![creation(MAX_BYTES / 2)]).is_due(2, START));
    }

    #[test]
    fn effects_of_several_answers_are_limited_but_not_those_of_one() {
        let (one, all) = (deletions(1), deletions(MAX_EFFECTS));
        assert!(AnswerBatch::default().fits(&all));
        assert!(batch(Vec::new()).fits(&all));
        assert!(batch(all.clone()).fits(&[]));
        assert!(batch(one.clone()).fits(&all[1..]));
        assert!(!batch(one.clone()).fits(&all));
        let large = [creation(MAX_BYTES)];
        assert!(batch(Vec::new()).fits(&large));
        assert!(!batch(one).fits(&large));
    }
}
