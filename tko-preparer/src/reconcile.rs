//! One claim: everything that is done about one deployment, from claiming it to giving it back.
//!
//! A pass goes through the package in *rounds*. In a round each resource that is still to be
//! prepared comes up once, in package order, on the package that the last one left; whatever a
//! preparer answers is committed before the next one is called. As long as a round changed
//! something there is another. A round that changed nothing ends the pass: the deployment is
//! finished, or it says what it waits for and is given back.

mod ending;
mod follow;
mod round;
mod target;

use crate::blocker::Blocker;
use crate::controller::Shared;
use crate::progress::Progress;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tko_core::error::Subject;
use tko_core::registry::Table;
use tko_core::{
    Claim, DeploymentId, Error, Generation, Key, Outcome, Package, PrepareStep, Preparer, Record,
    Want, WorkerApi,
};

/// How often something that moved meanwhile is read again before the claim is handed back.
const CONFLICTS: u32 = 8;
/// How often an unreachable store is tried again before the claim is given back.
const FAILURES: u32 = 3;
/// How often interests are registered in one pass before it ends whatever is waited for.
const REGISTRATIONS: u32 = 3;
/// Calls of one pass, for each round that is allowed.
const CALLS_PER_ROUND: usize = 100;

/// Why a pass ends before its end.
#[derive(Debug)]
enum Halt {
    /// The claim has ended, or the deployment is gone: nothing is left to be done, or said.
    Over,
    /// Not its fault: handed back for a while.
    Yield,
    /// Cannot go on now.
    Failed(Error),
}

/// What became of a step.
enum Step {
    Done,
    /// Something moved: read again.
    Moved,
    /// It is not valid.
    Refused(Error),
}

pub(crate) struct Pass<'a> {
    shared: &'a Shared,
    claim: &'a Claim,
    id: DeploymentId,
    table: Arc<Table<dyn Preparer>>,
    progress: Progress,
    conflicts: u32,
    failures: u32,
    calls: usize,
}

impl<'a> Pass<'a> {
    /// Works on a claim until it is settled, or lost.
    pub(crate) async fn work(shared: &'a Shared, claim: &'a Claim) {
        let key = &claim.work.key;
        let outcome = match key.deployment() {
            Some(id) => {
                let mut pass = Self {
                    shared,
                    claim,
                    id: id.clone(),
                    table: shared.registry.table(),
                    progress: Progress::read(claim.work.progress.as_ref()),
                    conflicts: 0,
                    failures: 0,
                    calls: 0,
                };
                match pass.run().await {
                    Ok(()) | Err(Halt::Over) => return,
                    Err(Halt::Yield) => Outcome::Yield {
                        after: Duration::from_secs(1).mul_f64(0.5 + jitter(claim)),
                    },
                    Err(Halt::Failed(error)) => {
                        tracing::warn!(deployment = %id, error = %error.chain(), "cannot prepare; retrying");
                        Outcome::Retry {
                            after: tko_core::work::backoff(claim.work.attempts, jitter(claim)),
                            reason: error.chain(),
                        }
                    }
                }
            }
            None => Outcome::Done,
        };
        settle(&*shared.data, claim, outcome).await;
    }

    async fn run(&mut self) -> Result<(), Halt> {
        let mut failed: Vec<Blocker> = Vec::new();
        let (mut rounds, mut registrations) = (0, 0);
        loop {
            self.table = self.shared.registry.table();
            let Some(record) = self.read().await? else {
                self.done().await;
                return Ok(());
            };
            if is_prepared(&record) {
                if self.follow(&record).await? {
                    continue;
                }
                return Ok(());
            }
            if rounds >= self.shared.settings.rounds.max(1) || self.is_endless() {
                let endless = self.endless(rounds);
                if self.release(&record, &[endless]).await? {
                    continue;
                }
                return Ok(());
            }
            if self.track(&record).await? {
                continue;
            }
            let round = self.round(record, std::mem::take(&mut failed)).await?;
            rounds += usize::from(round.changed && !round.moved);
            if round.changed {
                continue;
            }
            let (record, mut open) = (round.record, round.open);
            if open.is_empty() {
                match self.finish(&record).await? {
                    Step::Done => return Ok(()),
                    Step::Moved => continue,
                    Step::Refused(error) => {
                        let message = format!("the package is not complete: {}", words(&error));
                        open.push(Blocker::invalid(None, message));
                    }
                }
            }
            let look = open.iter().any(Blocker::may_have_come) && registrations < REGISTRATIONS;
            if look && self.register(&record, &open).await? {
                // What it waits for may have come before anyone knew that it waits.
                registrations += 1;
                failed = open;
                failed.retain(|open| open.target.is_some() && !open.may_have_come());
                continue;
            }
            if !self.release(&record, &open).await? {
                return Ok(());
            }
        }
    }

    /// What the deployment is now; `None` if it is gone.
    async fn read(&mut self) -> Result<Option<Record>, Halt> {
        loop {
            let key = Key::from(&self.id);
            match self.shared.data.get(&key, Want::PACKAGE).await {
                Ok(record) => return Ok(Some(record)),
                Err(Error::NotFound(_)) => return Ok(None),
                Err(error) => self.recover(error).await?,
            }
        }
    }

    /// Commits a step. What a lost answer leaves open is found by reading again.
    async fn commit(&mut self, step: PrepareStep) -> Result<Step, Halt> {
        let own = Key::from(&self.id);
        match self
            .shared
            .data
            .commit_prepared(&self.claim.token, step)
            .await
        {
            Ok(_) => {
                self.failures = 0;
                Ok(Step::Done)
            }
            Err(Error::ClaimExpired(_) | Error::NotFound(Subject::Claim(_))) => Err(Halt::Over),
            Err(Error::NotFound(Subject::Entity(key))) if key == own => Err(Halt::Over),
            Err(Error::Busy(_)) => Err(Halt::Yield),
            Err(Error::Conflict(_) | Error::AlreadyExists(_) | Error::NotFound(_)) => {
                self.conflicts += 1;
                if self.conflicts > CONFLICTS {
                    return Err(Halt::Yield);
                }
                Ok(Step::Moved)
            }
            Err(error @ Error::BadArgument { .. }) => Ok(Step::Refused(error)),
            Err(error) => {
                self.recover(error).await?;
                Ok(Step::Moved)
            }
        }
    }

    /// Waits a little for a store that cannot be reached now.
    async fn recover(&mut self, error: Error) -> Result<(), Halt> {
        self.failures += 1;
        if !matches!(error, Error::Unavailable { .. }) || self.failures > FAILURES {
            return Err(Halt::Failed(error));
        }
        let pause = Duration::from_millis(50 << self.failures);
        self.shared.clock.sleep(pause).await;
        Ok(())
    }

    /// A step that changes nothing yet, of the deployment as it was read.
    fn step(&self, expect: Generation) -> PrepareStep {
        PrepareStep {
            deployment: self.id.clone(),
            expect,
            package: None,
            effects: Vec::new(),
            conditions: Vec::new(),
            subscriptions: None,
            progress: None,
            settle: None,
        }
    }

    async fn done(&self) {
        settle(&*self.shared.data, self.claim, Outcome::Done).await;
    }

    fn is_endless(&self) -> bool {
        self.calls >= self.shared.settings.rounds.max(1) * CALLS_PER_ROUND
    }
}

/// Ends a claim. If that fails the lease runs out, which ends it as well.
async fn settle(data: &dyn WorkerApi, claim: &Claim, outcome: Outcome) {
    if let Err(error) = data.settle(&[(claim.token.clone(), outcome)]).await {
        tracing::warn!(key = %claim.work.key, error = %error.chain(), "cannot give work back; its lease runs out");
    }
}

fn is_prepared(record: &Record) -> bool {
    record.entity.deployment().is_some_and(|d| d.prepared)
}

fn package_of(record: &Record) -> Package {
    record.package.clone().unwrap_or_default()
}

/// What was refused, without the argument's name, which means nothing to whoever reads it.
fn words(error: &Error) -> String {
    match error {
        Error::BadArgument { message, .. } => message.clone(),
        other => other.chain(),
    }
}

/// In 0..1: the same for the same attempt, different for others.
fn jitter(claim: &Claim) -> f64 {
    let mut hasher = DefaultHasher::new();
    (claim.work.key.id(), claim.work.attempts).hash(&mut hasher);
    let bits = u32::try_from(hasher.finish() >> 32).unwrap_or(u32::MAX);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}
