//! The session of one claim: reads and commits, with retries.

use crate::context::PrepareContext;
use crate::progress::PreparerProgress;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tko_core::error::Subject;
use tko_core::registry::Table;
use tko_core::{
    Claim, DeploymentId, Error, Generation, Identifier, Key, Outcome, Package, PrepareStep,
    Preparer, Record, Result, Want,
};

/// Maximum number of conflicts in one claim. A race is over sooner; after more, the cause may last.
const MAX_CONFLICTS: u32 = 8;
/// Maximum number of consecutive retries while the store is unavailable.
const MAX_FAILURES: u32 = 3;
/// Maximum number of answers that leave as many resources pending as before, for each round that is
/// allowed. Such an answer adds resources, or does not finish its own.
const STALLED_PER_ROUND: usize = 100;

/// Maximum number of times that the preparers of one resource may change the package in one claim.
/// More changes indicate a loop, such as a plugin that never marks its resource prepared. The limit
/// is low, so that the loop is reported before a slow plugin has been called a hundred times.
const MAX_CHANGES: usize = 20;

/// The result of committing a step.
pub(super) enum StepResult {
    Committed,
    /// The deployment changed concurrently: read it again.
    Moved,
    /// The step is not valid, or what it creates exists already.
    Refused(Error),
}

/// The result of an attempt to end the claim.
pub(super) enum Ending {
    /// The deployment changed concurrently: read it again.
    Reread,
    /// The claim ends, with an outcome that is still to be settled, if any.
    Settled(Option<Outcome>),
}

/// The work on one claimed deployment.
pub(super) struct PrepareSession<'a> {
    pub(super) context: &'a PrepareContext,
    pub(super) claim: &'a Claim,
    pub(super) id: DeploymentId,
    pub(super) table: Arc<Table<dyn Preparer>>,
    pub(super) progress: PreparerProgress,
    /// Number of calls of preparers, not counting those that made progress.
    pub(super) calls: usize,
    /// Number of committed answers that left as many resources pending as before.
    pub(super) stalled: usize,
    /// Number of pending resources when the first round began.
    pub(super) first_pending: Option<usize>,
    /// Maximum number of answers in the next commit.
    pub(super) max_answers: usize,
    /// How often subscriptions of a prepared deployment were registered.
    pub(super) retries: u32,
    /// How often each resource was changed by its preparers.
    changes: HashMap<Identifier, usize>,
    /// The largest of these numbers.
    most_changes: usize,
    conflicts: u32,
    failures: u32,
}

impl<'a> PrepareSession<'a> {
    /// A session for this claim; `None` if the claim is not that of a deployment.
    pub(super) fn new(context: &'a PrepareContext, claim: &'a Claim) -> Option<Self> {
        Some(Self {
            context,
            claim,
            id: claim.work.key.deployment()?.clone(),
            table: context.registry.table(),
            progress: PreparerProgress::read(claim.work.progress.as_ref()),
            calls: 0,
            stalled: 0,
            first_pending: None,
            max_answers: 1,
            retries: 0,
            changes: HashMap::new(),
            most_changes: 0,
            conflicts: 0,
            failures: 0,
        })
    }

    /// Reads the deployment; `None` if it is gone.
    pub(super) async fn read(&mut self) -> Result<Option<Record>> {
        loop {
            let key = Key::from(&self.id);
            match self.context.data.get(&key, Want::PACKAGE).await {
                Ok(record) => return Ok(Some(record)),
                Err(Error::NotFound(_)) => return Ok(None),
                Err(error) => self.recover(error).await?,
            }
        }
    }

    /// Commits a step. After a lost reply, reading again shows whether it was applied.
    pub(super) async fn commit(&mut self, step: PrepareStep) -> Result<StepResult> {
        let own = &self.claim.work.key;
        let data = &self.context.data;
        match data.commit_prepared(&self.claim.token, step).await {
            Ok(_) => {
                self.failures = 0;
                Ok(StepResult::Committed)
            }
            Err(
                error @ (Error::ClaimExpired(_)
                | Error::NotFound(Subject::Claim(_))
                | Error::Busy(_)),
            ) => Err(error),
            Err(Error::NotFound(Subject::Entity(key))) if key == *own => Err(Error::not_found(key)),
            Err(error @ (Error::Conflict(_) | Error::AlreadyExists(_) | Error::NotFound(_))) => {
                self.conflicts += 1;
                if self.conflicts <= MAX_CONFLICTS {
                    // Others may change it often, so the next commit comes soon.
                    self.max_answers = 1;
                    return Ok(StepResult::Moved);
                }
                // Repeating an effect does not help while the other entity exists, or is missing.
                // The condition of the deployment then shows it, like any fault of an answer.
                if matches!(error, Error::Conflict(_)) {
                    Err(error)
                } else {
                    Ok(StepResult::Refused(error))
                }
            }
            Err(error @ Error::BadArgument { .. }) => Ok(StepResult::Refused(error)),
            Err(error) => {
                self.recover(error).await?;
                Ok(StepResult::Moved)
            }
        }
    }

    /// Pauses shortly while the store is unavailable.
    async fn recover(&mut self, error: Error) -> Result<()> {
        self.failures += 1;
        if !matches!(error, Error::Unavailable { .. }) || self.failures > MAX_FAILURES {
            return Err(error);
        }
        let pause = Duration::from_millis(50 << self.failures);
        self.context.clock.sleep(pause).await;
        Ok(())
    }

    /// A step without changes, for the deployment as of this generation.
    pub(super) fn step(&self, expect: Generation) -> PrepareStep {
        PrepareStep::new(self.id.clone(), expect)
    }

    /// Counts a change that the preparers of a resource made.
    pub(super) fn count_change(&mut self, target: &Identifier) {
        let changes = self.changes.entry(target.clone()).or_default();
        *changes += 1;
        self.most_changes = self.most_changes.max(*changes);
    }

    /// Maximum number of rounds without progress.
    pub(super) fn max_rounds(&self) -> usize {
        self.context.settings.max_rounds.max(1)
    }

    /// Whether preparers answered so often without progress that they probably never finish.
    /// `uncommitted` answers that are not committed yet made none.
    ///
    /// A large package is not endless: its resources are finished one by one. Each resource of the
    /// package as it was first may also add others.
    pub(super) fn is_endless(&self, uncommitted: usize) -> bool {
        let max_rounds = self.max_rounds();
        let max_stalled = max_rounds
            .saturating_mul(STALLED_PER_ROUND)
            .saturating_add(self.first_pending.unwrap_or_default());
        self.most_changes > MAX_CHANGES.min(max_rounds) || self.stalled + uncommitted >= max_stalled
    }
}

/// Whether the deployment is marked prepared.
pub(super) fn is_prepared(record: &Record) -> bool {
    record.entity.deployment().is_some_and(|d| d.prepared)
}

/// The package of a record.
pub(super) fn package_of(record: &Record) -> Package {
    record.package.clone().unwrap_or_default()
}

/// The reason of a refusal. Violations name their resources, so the name of the argument is left
/// out.
pub(super) fn refusal(error: &Error) -> String {
    match error {
        Error::BadArgument {
            message,
            violations,
            ..
        } if !violations.is_empty() => message.clone(),
        other => other.chain(),
    }
}
