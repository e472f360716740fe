//! Calls the preparers of one resource, and commits their answers.

use super::own_marks::{keep_own_marks, without_marks};
use super::session::{PrepareSession, StepResult, package_of, refusal};
use crate::blocker::Blocker;
use crate::progress::PreparerProgress;
use serde_json::Value;
use tko_core::annotation::{self, PREPARED};
use tko_core::api::MAX_EFFECTS;
use tko_core::registry::Handler;
use tko_core::{
    Answer, Effect, Generation, Identifier, Package, PrepareCall, Preparer, Record, Result,
};
use tko_worker::{CallFailure, guarded};

/// The result of calling the preparers of a resource.
pub(super) enum CallResult {
    /// The preparers are done, with this package and these effects, which are not committed yet.
    Answered(Package, Vec<Effect>),
    /// To be called again once the answers of other resources are committed.
    Deferred,
    /// The deployment changed concurrently: read it again.
    Moved,
    /// The resource could not be prepared.
    Blocked(Blocker),
    /// Nothing is left to do for the resource.
    Unchanged,
}

/// The result of one preparer's turn.
enum TurnResult {
    /// The preparer is done, with this package and these effects.
    Done(Package, Vec<Effect>),
    /// The calls for this resource end here.
    Ended(CallResult),
}

/// The resource that preparers are called for, in its package.
struct CallSubject<'a> {
    record: &'a Record,
    package: &'a Package,
    pending: &'a [Identifier],
    target: &'a Identifier,
    is_committed: bool,
}

impl PrepareSession<'_> {
    /// Calls all preparers of a resource, each on the package as the previous one left it. A
    /// preparer that answers `More` is called until it is done; each of these answers is committed
    /// with its progress.
    ///
    /// `is_committed` is whether the package in `record` was committed. Otherwise it has answers
    /// that are not, so stored progress does not belong to it, and nothing is committed here.
    pub(super) async fn call(
        &mut self,
        record: &Record,
        pending: &[Identifier],
        target: &Identifier,
        preparers: &[Handler<dyn Preparer>],
        is_committed: bool,
    ) -> Result<CallResult> {
        let before = package_of(record);
        let mut package = before.clone();
        let mut effects = Vec::new();
        for preparer in preparers {
            // Resolved again each time: a preparer may have set the resource's namespace.
            let Ok(Some(resource)) = package.resolve(target) else {
                break;
            };
            let target = resource.identifier().clone();
            let subject = CallSubject {
                record,
                package: &package,
                pending,
                target: &target,
                is_committed,
            };
            match self.turn(subject, preparer).await? {
                TurnResult::Done(next, more) => {
                    package = next;
                    effects.extend(more);
                }
                TurnResult::Ended(result) => return Ok(result),
            }
        }
        if package != before || !effects.is_empty() {
            return Ok(CallResult::Answered(package, effects));
        }
        let is_marked = match package.resolve(target) {
            Ok(Some(resource)) => annotation::is_true(resource, PREPARED),
            _ => true,
        };
        if is_marked {
            return Ok(CallResult::Unchanged);
        }
        let last = &preparers[preparers.len() - 1].name;
        let message = "answered that it is done, but neither changed the package nor marked the \
                       resource nephio.org/prepared: \"true\"";
        Ok(CallResult::Blocked(Blocker::failed(target, last, message)))
    }

    /// Commits answers for a generation of the deployment: the package, unless it is the same, and
    /// effects.
    pub(super) async fn commit_answers(
        &mut self,
        generation: Generation,
        package: Option<Package>,
        effects: Vec<Effect>,
    ) -> Result<StepResult> {
        let mut step = self.step(generation);
        step.package = package;
        step.effects = effects;
        // These resources are done, and the progress of others belongs to the previous package.
        step.progress = (!self.progress.is_empty()).then_some(Value::Null);
        let result = self.commit(step).await?;
        if let StepResult::Committed = result {
            self.progress = PreparerProgress::default();
        }
        Ok(result)
    }

    /// Calls one preparer until it is done.
    async fn turn(
        &mut self,
        subject: CallSubject<'_>,
        entry: &Handler<dyn Preparer>,
    ) -> Result<TurnResult> {
        let CallSubject {
            record,
            package,
            pending,
            target,
            is_committed,
        } = subject;
        let blocked = |blocker| Ok(TurnResult::Ended(CallResult::Blocked(blocker)));
        let name = &entry.name;
        let preparer = match &entry.handler {
            Ok(preparer) => preparer,
            Err(why) => return blocked(Blocker::unable(target, name, why)),
        };
        let generation = record.entity.generation;
        loop {
            self.calls += 1;
            let progress = self.progress.get(generation, target, name);
            let progress = progress.filter(|_| is_committed);
            let call = PrepareCall::new(
                record,
                package,
                target,
                &*self.context.data,
                &*self.context.ids,
            )
            .pending(pending)
            .progress(progress);
            match self.ask(&**preparer, call).await {
                Ok(Answer::Done {
                    package: answer,
                    effects,
                }) => {
                    let package = keep_own_marks(package, answer);
                    return Ok(TurnResult::Done(package, without_marks(effects)));
                }
                Ok(Answer::NotYet { reason, waits_for }) => {
                    return blocked(Blocker::waiting(target, reason, waits_for));
                }
                Ok(Answer::More {
                    effects,
                    progress: next,
                }) => {
                    if effects.is_empty() && progress == Some(&next) {
                        let message = "asked to be called again, without effects or new progress";
                        return blocked(Blocker::failed(target, name, message));
                    }
                    // A call that made progress does not count.
                    self.calls -= 1;
                    if !is_committed {
                        return Ok(TurnResult::Ended(CallResult::Deferred));
                    }
                    let effects = without_marks(effects);
                    let ended = self.more(generation, target, entry, effects, next).await?;
                    if let Some(result) = ended {
                        return Ok(TurnResult::Ended(result));
                    }
                }
                Err(message) => return blocked(Blocker::failed(target, name, &message)),
            }
        }
    }

    /// Commits the effects of a preparer that is not done yet. Returns `None` if it may continue.
    async fn more(
        &mut self,
        generation: Generation,
        target: &Identifier,
        entry: &Handler<dyn Preparer>,
        effects: Vec<Effect>,
        progress: Value,
    ) -> Result<Option<CallResult>> {
        let next = self
            .progress
            .with(generation, target, &entry.name, progress);
        let mut step = self.step(generation);
        step.effects = effects;
        step.progress = Some(next.to_value());
        Ok(match self.commit(step).await? {
            StepResult::Committed => {
                self.progress = next;
                None
            }
            StepResult::Moved => Some(CallResult::Moved),
            StepResult::Refused(error) => {
                let preparers = std::slice::from_ref(entry);
                let blocker = Blocker::refused(target, preparers, &refusal(&error));
                Some(CallResult::Blocked(blocker))
            }
        })
    }

    /// One call, within its time limit unless it limits itself. The error completes "preparer NAME
    /// failed: …".
    async fn ask(&self, preparer: &dyn Preparer, call: PrepareCall<'_>) -> Result<Answer, String> {
        let (deployment, resource) = (&self.id, call.target);
        let limit = (!preparer.limits_itself()).then_some(self.context.settings.timeout);
        match guarded(&*self.context.clock, limit, self.prepared(preparer, call)).await {
            Ok(Ok(Answer::Done { effects, .. } | Answer::More { effects, .. }))
                if effects.len() > MAX_EFFECTS =>
            {
                Err(format!(
                    "answered {} effects at once; split them into steps of at most {MAX_EFFECTS}",
                    effects.len()
                ))
            }
            Ok(answer) => answer.map_err(|error| error.chain()),
            Err(failure) => {
                if let CallFailure::Panicked(panic) = &failure {
                    tracing::error!(%deployment, %resource, panic, "a preparer panicked");
                }
                Err(failure.to_string())
            }
        }
    }
}
