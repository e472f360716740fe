//! Prepared deployments that follow something.

use super::call::CallResult;
use super::pending::is_here;
use super::session::{Ending, PrepareSession, is_prepared, package_of};
use super::subscriptions::changed;
use crate::blocker::Blocker;
use crate::conditions::{TRACKED, blocked, tracked};
use tko_core::registry::Handler;
use tko_core::{Identifier, Outcome, Preparer, Record, Result};

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
        if let Some(new) = changed(record, self.tracks(&package)) {
            self.subscribe(record, new).await?;
            return Ok(Ending::Reread);
        }
        if targets.is_empty() {
            return Ok(Ending::Settled(Some(Outcome::Done)));
        }
        let mut record = record.clone();
        let mut blockers = Vec::new();
        for (target, preparers) in targets {
            match self.call(&record, &[], &target, &preparers).await? {
                CallResult::Blocked(blocker) => blockers.push(blocker),
                CallResult::Unchanged => {}
                CallResult::Moved => return Ok(Ending::Reread),
                CallResult::Changed => match self.read().await?.filter(is_prepared) {
                    Some(again) => record = again,
                    None => return Ok(Ending::Reread),
                },
            }
        }
        self.followed(&record, &blockers).await
    }

    /// Reports how following went, if that is news.
    async fn followed(&mut self, record: &Record, open: &[Blocker]) -> Result<Ending> {
        let generation = record.entity.generation;
        let mut step = self.step(generation);
        if open.is_empty() {
            let known = record.entity.condition(TRACKED);
            if known.is_none_or(|condition| condition.status == Some(true)) {
                return Ok(Ending::Settled(Some(Outcome::Done)));
            }
            step.conditions = vec![tracked(generation)];
            step.settle = Some(Outcome::Done);
        } else {
            let condition = blocked(TRACKED, open, generation);
            step.settle = Some(self.later(open, &condition));
            step.conditions = vec![condition];
        }
        self.end(step).await
    }
}
