//! Reconciles one deployment: prepares it as far as possible, from its claim to the claim's end.
//!
//! Preparation goes through the package in *rounds*. In a round every pending resource comes up
//! once, in package order, on the package as the previous resource left it. Answers of preparers are
//! committed in [batches](batch). If a round changed something, another round follows. A round
//! without changes ends the work: the deployment is finished, or its condition says what it waits
//! for. An answer that leaves nothing to prepare is committed together with that end, if its batch
//! has no effects.

mod batch;
mod call;
mod own_marks;
mod pending;
mod pure;
mod release;
mod round;
mod session;
mod subscriptions;
mod tracking;

use crate::blocker::Blocker;
use crate::context::PrepareContext;
use round::RoundEnd;
use session::{Ending, PrepareSession, StepResult, is_prepared, refusal};
use std::sync::Arc;
use tko_core::{Claim, Error, Outcome, Record, Result, Want};
use tko_worker::{Handle, async_trait};

/// Maximum number of times that subscriptions are registered before the claim ends.
const MAX_REGISTRATIONS: u32 = 3;

/// The work of a [`PrepareController`](crate::PrepareController).
pub(crate) struct PrepareHandle {
    context: Arc<PrepareContext>,
}

impl PrepareHandle {
    pub(crate) fn new(context: Arc<PrepareContext>) -> Self {
        Self { context }
    }
}

#[async_trait]
impl Handle for PrepareHandle {
    async fn handle(&self, claim: &Claim) -> Result<Option<Outcome>> {
        self.handle_record(claim, None).await
    }

    fn want(&self) -> Option<Want> {
        Some(Want::PACKAGE)
    }

    async fn handle_record(
        &self,
        claim: &Claim,
        record: Option<Record>,
    ) -> Result<Option<Outcome>> {
        match PrepareSession::new(&self.context, claim) {
            Some(mut session) => match session.run(record).await {
                Err(Error::Busy(busy)) => session.release_busy(busy).await,
                ended => ended,
            },
            None => Ok(Some(Outcome::Done)),
        }
    }
}

impl PrepareSession<'_> {
    /// Works until the claim ends. Returns the outcome that is still to be settled, if any.
    /// `first` is the deployment, if it was read after the claim.
    async fn run(&mut self, mut first: Option<Record>) -> Result<Option<Outcome>> {
        let mut failed: Vec<Blocker> = Vec::new();
        let (mut rounds, mut idle_rounds, mut registrations) = (0, 0, 0);
        loop {
            self.table = self.context.registry.table();
            let record = match first.take() {
                Some(record) => record,
                None => match self.read().await? {
                    Some(record) => record,
                    None => return Ok(Some(Outcome::Done)),
                },
            };
            let ending = if is_prepared(&record) {
                self.follow(&record).await?
            } else if idle_rounds >= self.max_rounds() || self.is_endless(0) {
                let endless = Blocker::endless(rounds, self.calls);
                self.release(&record, &[endless]).await?
            } else if self.track(&record).await? {
                Ending::Reread
            } else {
                let round = self.round(record, std::mem::take(&mut failed)).await?;
                if round.end == RoundEnd::Finished {
                    return Ok(None);
                }
                if round.changed {
                    let is_complete = round.end == RoundEnd::Complete;
                    rounds += usize::from(is_complete);
                    idle_rounds += usize::from(is_complete && !round.progressed);
                    continue;
                }
                let (record, mut blockers) = (round.record, round.blockers);
                if blockers.is_empty() {
                    match self.finish(&record).await? {
                        StepResult::Committed => return Ok(None),
                        StepResult::Moved => continue,
                        StepResult::Refused(error) => {
                            let message = format!("the package is incomplete: {}", refusal(&error));
                            blockers.push(Blocker::invalid(None, message));
                        }
                    }
                }
                let subscribes = blockers.iter().any(Blocker::may_be_resolved);
                if subscribes
                    && registrations < MAX_REGISTRATIONS
                    && self.register(&record, &blockers).await?
                {
                    // Try again: it may have appeared before the subscription was registered.
                    registrations += 1;
                    failed = blockers;
                    failed.retain(|blocker| blocker.target.is_some() && !blocker.may_be_resolved());
                    continue;
                }
                self.release(&record, &blockers).await?
            };
            if let Ending::Settled(outcome) = ending {
                return Ok(outcome);
            }
        }
    }
}
