//! Follow-up of prepared deployments that track other entities.

use super::MAX_REGISTRATIONS;
use super::call::CallResult;
use super::pending::is_here;
use super::session::{Ending, PrepareSession, StepResult, is_prepared, package_of, refusal};
use super::subscriptions::changed;
use crate::blocker::Blocker;
use crate::conditions::{APPROVED, PREPARED, TRACKED, blocked, tracked};
use crate::topology::placement::OUTDATED;
use tko_core::registry::Handler;
use tko_core::{Condition, Identifier, Outcome, Preparer, Record, Result};

impl PrepareSession<'_> {
    /// Calls the preparers that follow something, and ends the claim.
    pub(super) async fn follow(&mut self, record: &Record) -> Result<Ending> {
        let package = package_of(record);
        let targets: Vec<(Identifier, Vec<Handler<dyn Preparer>>)> = package
            .iter()
            .filter(|resource| is_here(resource))
            .map(|resource| {
                let preparers = self.tracks_of(&package, resource).into_iter();
                let preparers = preparers.map(|(entry, _)| entry).collect();
                (resource.identifier().clone(), preparers)
            })
            .filter(|(_, preparers): &(_, Vec<_>)| !preparers.is_empty())
            .collect();
        if targets.is_empty() {
            if let Some(new) = changed(record, Vec::new()) {
                self.subscribe(record, new).await?;
            }
            return Ok(Ending::Settled(Some(Outcome::Done)));
        }
        if self.track(record).await? {
            return Ok(Ending::Reread);
        }
        let mut record = record.clone();
        let mut blockers = Vec::new();
        for (target, preparers) in targets {
            let (package, effects) =
                match self.call(&record, &[], &target, &preparers, true).await? {
                    CallResult::Answered(package, effects) => (package, effects),
                    CallResult::Unchanged => continue,
                    CallResult::Blocked(blocker) => {
                        blockers.push(blocker);
                        continue;
                    }
                    CallResult::Moved | CallResult::Deferred => return Ok(Ending::Reread),
                };
            let package = (package != package_of(&record)).then_some(package);
            let generation = record.entity.generation;
            match self.commit_answers(generation, package, effects).await? {
                StepResult::Committed => match self.read().await?.filter(is_prepared) {
                    Some(again) => record = again,
                    None => return Ok(Ending::Reread),
                },
                StepResult::Moved => return Ok(Ending::Reread),
                StepResult::Refused(error) => {
                    blockers.push(Blocker::refused(&target, &preparers, &refusal(&error)));
                }
            }
        }
        self.followed(&record, &blockers).await
    }

    /// Reports the result of following, if it changed.
    async fn followed(&mut self, record: &Record, open: &[Blocker]) -> Result<Ending> {
        let wanted = if open.is_empty() {
            self.tracks(&package_of(record))
        } else {
            self.subscriptions(record, open)
        };
        let mut refused = None;
        if let Some(new) = changed(record, wanted) {
            refused = self.subscribe(record, new).await?;
            // Try again: it may have appeared before the subscription was registered.
            if refused.is_none() && !open.is_empty() && self.retries < MAX_REGISTRATIONS {
                self.retries += 1;
                return Ok(Ending::Reread);
            }
        }
        let open: Vec<Blocker> = open.iter().cloned().chain(refused).collect();
        let generation = record.entity.generation;
        let mut step = self.step(generation);
        if open.is_empty() {
            step.conditions = following(record);
            if step.conditions.is_empty() {
                return Ok(Ending::Settled(Some(Outcome::Done)));
            }
            step.settle = Some(Outcome::Done);
        } else {
            let condition = blocked(TRACKED, &open, generation);
            step.settle = Some(self.later(&open, &condition));
            step.conditions = vec![condition];
        }
        self.end(step).await
    }
}

/// The new conditions of a deployment that follows what it tracks. Those that were reported about
/// an earlier generation are reported again: nothing is prepared in this generation.
fn following(record: &Record) -> Vec<Condition> {
    let entity = &record.entity;
    let mut new = Vec::new();
    for kind in [PREPARED, APPROVED] {
        if let Some(known) = entity.condition(kind)
            && known.status == Some(true)
            && known.observed != entity.generation
        {
            new.push(known.clone().observed(entity.generation));
        }
    }
    let outdated: u64 = package_of(record)
        .iter()
        .filter_map(|resource| resource.get(&["status", OUTDATED])?.as_u64())
        .sum();
    let known = entity.condition(TRACKED);
    let now = tracked(entity.generation, outdated);
    if (known.is_some() || outdated > 0) && known != Some(&now) {
        new.push(now);
    }
    new
}
