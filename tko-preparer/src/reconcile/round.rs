//! A round: every pending resource comes up once.

use super::batch::AnswerBatch;
use super::call::CallResult;
use super::pending::{PendingResources, active};
use super::session::{PrepareSession, StepResult, is_prepared, package_of, refusal};
use crate::blocker::Blocker;
use std::collections::{HashMap, HashSet};
use tko_core::registry::{Handler, Table};
use tko_core::{Effect, Identifier, Package, Preparer, Record, Resource, Result, Timestamp};

/// The result of a round.
pub(super) struct RoundResult {
    /// The deployment as it was read last.
    pub(super) record: Record,
    pub(super) end: RoundEnd,
    /// Whether something was committed, or has to be read again.
    pub(super) changed: bool,
    /// Whether fewer resources are pending than before.
    pub(super) progressed: bool,
    /// Reasons why resources could not be prepared.
    pub(super) blockers: Vec<Blocker>,
}

/// How a round ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RoundEnd {
    /// Every pending resource came up, or the preparation does not end.
    Complete,
    /// The deployment was finished, and the claim has ended.
    Finished,
    /// The deployment changed concurrently: read it again.
    Moved,
}

/// A round in progress.
struct Round {
    /// The deployment as it was read last, with a package that has all answers.
    record: Record,
    /// The package as it was read last.
    committed: Package,
    /// The pending resources of the package that has all answers.
    pending: PendingResources,
    /// The answers that are not committed yet.
    batch: AnswerBatch,
    /// The resources that came up.
    seen: HashSet<Identifier>,
    /// The resources that came up since the batch was empty, in order.
    seen_in_batch: Vec<Identifier>,
    blockers: Vec<Blocker>,
    /// Number of blockers when the batch was empty.
    blockers_before: usize,
    changed: bool,
    /// Number of pending resources at the beginning.
    first_pending: usize,
}

impl PrepareSession<'_> {
    /// Performs one round. The targets of `failed` are not called again: they failed on the same
    /// package.
    pub(super) async fn round(
        &mut self,
        record: Record,
        failed: Vec<Blocker>,
    ) -> Result<RoundResult> {
        let mut failed: HashMap<Identifier, Blocker> = failed
            .into_iter()
            .filter_map(|blocker| Some((blocker.target.clone()?, blocker)))
            .collect();
        let mut round = Round::new(record, &self.table);
        self.first_pending.get_or_insert(round.first_pending);
        loop {
            let now = self.context.clock.now();
            let is_endless = self.is_endless(round.batch.stalled);
            let next = if is_endless || round.batch.is_due(self.max_answers, now) {
                None
            } else {
                round.pending.next_unseen(&round.seen)
            };
            let Some(resource) = next else {
                if round.batch.is_empty() {
                    round.changed |= is_endless;
                    return Ok(round.ended(RoundEnd::Complete));
                }
                if let Some(end) = self.commit_batch(&mut round).await? {
                    return Ok(round.ended(end));
                }
                continue;
            };
            let target = resource.identifier().clone();
            round.see(&target);
            if let Some(known) = failed.remove(&target) {
                round.blockers.push(known);
                continue;
            }
            let preparers: Vec<Handler<dyn Preparer>> =
                active(&self.table, &target).cloned().collect();
            if preparers.is_empty() {
                round.blockers.push(Blocker::no_preparer(&target));
                continue;
            }
            let result = if round.is_awaited_by(&resource, &preparers) {
                CallResult::Deferred
            } else {
                let is_committed = round.batch.is_empty();
                let pending = round.pending.identifiers();
                self.call(&round.record, pending, &target, &preparers, is_committed)
                    .await?
            };
            let end = match result {
                CallResult::Blocked(blocker) => {
                    round.blockers.push(blocker);
                    None
                }
                CallResult::Unchanged => None,
                CallResult::Moved => Some(RoundEnd::Moved),
                CallResult::Answered(package, effects) if round.batch.fits(&effects) => {
                    round.add(target, package, effects, now, &self.table);
                    self.finish_round(&mut round).await?
                }
                CallResult::Answered(..) | CallResult::Deferred => {
                    round.unsee_last();
                    self.commit_batch(&mut round).await?
                }
            };
            if let Some(end) = end {
                return Ok(round.ended(end));
            }
        }
    }

    /// Finishes the deployment if nothing else is left to do. Returns how the round ends, if it
    /// ends.
    async fn finish_round(&mut self, round: &mut Round) -> Result<Option<RoundEnd>> {
        let is_last = round.pending.is_empty() && round.batch.effects.is_empty();
        if is_last && Self::is_tracked(&round.record, &self.tracks(&package_of(&round.record))) {
            match self.finish(&round.record).await? {
                StepResult::Committed => return Ok(Some(RoundEnd::Finished)),
                StepResult::Moved => return Ok(Some(RoundEnd::Moved)),
                // The change alone may be valid; missing fields are reported after it.
                StepResult::Refused(_) => {}
            }
        }
        // Other work gets its turn: many answers in a row may wait for nothing.
        tokio::task::yield_now().await;
        Ok(None)
    }

    /// Commits the answers of the batch. Returns how the round ends, if it ends.
    async fn commit_batch(&mut self, round: &mut Round) -> Result<Option<RoundEnd>> {
        let AnswerBatch {
            targets,
            effects,
            stalled,
            ..
        } = std::mem::take(&mut round.batch);
        let package = package_of(&round.record);
        let package = (package != round.committed).then_some(package);
        let generation = round.record.entity.generation;
        match self.commit_answers(generation, package, effects).await? {
            StepResult::Committed => {
                for target in &targets {
                    self.count_change(target);
                }
                self.stalled += stalled;
                if targets.len() >= self.max_answers {
                    self.max_answers = self.max_answers.saturating_mul(2);
                }
                round.changed = true;
                let again = self.read().await?;
                let Some(again) = again.filter(|again| !is_prepared(again)) else {
                    return Ok(Some(RoundEnd::Complete));
                };
                round.continue_with(again, &self.table);
            }
            StepResult::Moved => return Ok(Some(RoundEnd::Moved)),
            StepResult::Refused(error) => {
                self.max_answers = (targets.len() / 2).max(1);
                round.roll_back(&self.table);
                if let [target] = &*targets {
                    let preparers: Vec<Handler<dyn Preparer>> =
                        active(&self.table, target).cloned().collect();
                    round.see(target);
                    let refused = Blocker::refused(target, &preparers, &refusal(&error));
                    round.blockers.push(refused);
                }
            }
        }
        Ok(None)
    }
}

impl Round {
    fn new(record: Record, table: &Table<dyn Preparer>) -> Self {
        let committed = package_of(&record);
        let pending = PendingResources::new(&committed, table);
        Self {
            record,
            committed,
            first_pending: pending.len(),
            pending,
            batch: AnswerBatch::default(),
            seen: HashSet::new(),
            seen_in_batch: Vec::new(),
            blockers: Vec::new(),
            blockers_before: 0,
            changed: false,
        }
    }

    fn see(&mut self, target: &Identifier) {
        if self.batch.is_empty() {
            self.seen_in_batch.clear();
            self.blockers_before = self.blockers.len();
        }
        self.seen.insert(target.clone());
        self.seen_in_batch.push(target.clone());
    }

    /// Lets the resource that came up last come up again.
    fn unsee_last(&mut self) {
        if let Some(last) = self.seen_in_batch.pop() {
            self.seen.remove(&last);
        }
    }

    /// Whether a preparer of this resource may depend on effects that are not committed yet.
    fn is_awaited_by(&self, resource: &Resource, preparers: &[Handler<dyn Preparer>]) -> bool {
        let effects = &self.batch.effects;
        let mut handlers = preparers
            .iter()
            .filter_map(|entry| entry.handler.as_ref().ok());
        !effects.is_empty() && handlers.any(|preparer| preparer.depends_on(resource, effects))
    }

    /// Adds an answer to the batch.
    fn add(
        &mut self,
        target: Identifier,
        package: Package,
        effects: Vec<Effect>,
        started: Timestamp,
        table: &Table<dyn Preparer>,
    ) {
        let before = self.pending.len();
        self.batch.changes_row |= self.pending.update(&package, table);
        self.batch.stalled += usize::from(self.pending.len() >= before);
        self.batch.add(target, effects, started);
        self.record.package = Some(package);
    }

    /// Continues with the deployment as it was read after a commit.
    fn continue_with(&mut self, record: Record, table: &Table<dyn Preparer>) {
        self.committed = package_of(&record);
        self.pending = PendingResources::new(&self.committed, table);
        self.record = record;
    }

    /// Drops the answers that are not committed, and what was found on their basis.
    fn roll_back(&mut self, table: &Table<dyn Preparer>) {
        for target in self.seen_in_batch.drain(..) {
            self.seen.remove(&target);
        }
        self.blockers.truncate(self.blockers_before);
        self.pending = PendingResources::new(&self.committed, table);
        self.record.package = Some(self.committed.clone());
    }

    fn ended(self, end: RoundEnd) -> RoundResult {
        RoundResult {
            record: self.record,
            end,
            changed: self.changed || end != RoundEnd::Complete,
            progressed: self.pending.len() < self.first_pending,
            blockers: self.blockers,
        }
    }
}
