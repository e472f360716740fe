//! Calling the preparers of one resource, and committing what they answer.

use super::{Halt, Pass, Step, package_of, words};
use crate::blocker::Blocker;
use crate::progress::Progress;
use futures_util::FutureExt;
use serde_json::Value;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tko_core::annotation::{self, PREPARED};
use tko_core::api::MAX_EFFECTS;
use tko_core::registry::Handler;
use tko_core::{
    Answer, Effect, Generation, Identifier, Key, Package, PrepareCall, Preparer, Record,
    Subscription,
};

/// What calling for a resource came to.
pub(super) enum Called {
    /// It was committed.
    Changed,
    /// Something moved: read again.
    Moved,
    /// It stays as it is, and why.
    Blocker(Blocker),
    /// It is well as it is.
    Nothing,
}

/// What one part's turn came to.
enum Turn {
    Next(Package, Vec<Effect>),
    Ends(Called),
}

impl Pass<'_> {
    /// Calls all parts, each on what the last one left, and commits what they made of it in one
    /// step. Parts that answer `More` are called until they are done, each answer committed with
    /// its progress.
    pub(super) async fn call(
        &mut self,
        record: &Record,
        pending: &[Identifier],
        target: &Identifier,
        parts: &[Handler<dyn Preparer>],
    ) -> Result<Called, Halt> {
        let before = package_of(record);
        let mut package = before.clone();
        let mut effects = Vec::new();
        for part in parts {
            // By the rule of references: a part may have set a namespace.
            let Ok(Some(resource)) = package.resolve(target) else {
                break;
            };
            let at = resource.identifier().clone();
            match self.turn(record, &package, pending, &at, part).await? {
                Turn::Next(next, more) => {
                    package = next;
                    effects.extend(more);
                }
                Turn::Ends(called) => return Ok(called),
            }
        }
        let marked = match package.resolve(target) {
            Ok(Some(resource)) => annotation::is_true(resource, PREPARED),
            _ => true,
        };
        if package == before && effects.is_empty() {
            if marked {
                return Ok(Called::Nothing);
            }
            let message = "it answered that it is done, but changed nothing and did not mark the \
                           resource prepared (nephio.org/prepared: \"true\")";
            let name = &parts[parts.len() - 1].name;
            return Ok(Called::Blocker(Blocker::failed(
                target,
                name,
                message.to_owned(),
            )));
        }
        let mut step = self.step(record.entity.generation);
        step.package = (package != before).then_some(package);
        step.effects = effects;
        // This one is done, and what others said was said of the package before.
        step.progress = (!self.progress.is_empty()).then_some(Value::Null);
        match self.commit(step).await? {
            Step::Done => {
                self.progress = Progress::default();
                Ok(Called::Changed)
            }
            Step::Moved => Ok(Called::Moved),
            Step::Refused(error) => Ok(Called::Blocker(refused(target, parts, &words(&error)))),
        }
    }

    /// Calls one part until it is done.
    async fn turn(
        &mut self,
        record: &Record,
        package: &Package,
        pending: &[Identifier],
        target: &Identifier,
        part: &Handler<dyn Preparer>,
    ) -> Result<Turn, Halt> {
        let name = &part.name;
        let failed = |message| {
            Ok(Turn::Ends(Called::Blocker(Blocker::failed(
                target, name, message,
            ))))
        };
        let preparer = match &part.handler {
            Ok(preparer) => preparer,
            Err(why) => {
                return Ok(Turn::Ends(Called::Blocker(Blocker::unable(
                    target, name, why,
                ))));
            }
        };
        let generation = record.entity.generation;
        loop {
            self.calls += 1;
            let progress = self.progress.get(generation, target, name);
            let call = PrepareCall {
                deployment: record,
                package,
                target,
                pending,
                progress,
                data: &*self.shared.data,
                ids: &*self.shared.ids,
            };
            match self.ask(preparer, call).await {
                Ok(Answer::Done { package, effects }) => return Ok(Turn::Next(package, effects)),
                Ok(Answer::NotYet { reason, waits_for }) => {
                    return Ok(Turn::Ends(Called::Blocker(Blocker::waits(
                        target, reason, waits_for,
                    ))));
                }
                Ok(Answer::More {
                    effects,
                    progress: said,
                }) => {
                    if effects.is_empty() && progress == Some(&said) {
                        return failed("it makes no headway: it asks to be called again with the progress that it was given".to_owned());
                    }
                    let called = self.more(generation, target, part, effects, said).await?;
                    if let Some(called) = called {
                        return Ok(Turn::Ends(called));
                    }
                    // Headway is no loop.
                    self.calls -= 1;
                }
                Err(message) => return failed(message),
            }
        }
    }

    /// Commits what a part wants to have done before it goes on; `None` if that is done.
    async fn more(
        &mut self,
        generation: Generation,
        target: &Identifier,
        part: &Handler<dyn Preparer>,
        effects: Vec<Effect>,
        said: Value,
    ) -> Result<Option<Called>, Halt> {
        let next = self.progress.with(generation, target, &part.name, said);
        let mut step = self.step(generation);
        step.effects = effects;
        step.progress = Some(next.to_value());
        Ok(match self.commit(step).await? {
            Step::Done => {
                self.progress = next;
                None
            }
            Step::Moved => Some(Called::Moved),
            Step::Refused(error) => {
                let parts = std::slice::from_ref(part);
                Some(Called::Blocker(refused(target, parts, &words(&error))))
            }
        })
    }

    /// One call, within its time, whatever becomes of it.
    async fn ask(
        &self,
        preparer: &Arc<dyn Preparer>,
        call: PrepareCall<'_>,
    ) -> Result<Answer, String> {
        let target = call.target.clone();
        let timeout = self.shared.settings.timeout;
        let answer = AssertUnwindSafe(preparer.prepare(call)).catch_unwind();
        let answer = tokio::select! {
            biased;
            answer = answer => answer,
            () = self.shared.clock.sleep(timeout) => {
                return Err(format!("it did not answer within {timeout:?} and was stopped"));
            }
        };
        match answer {
            Ok(Ok(Answer::Done { effects, .. } | Answer::More { effects, .. }))
                if effects.len() > MAX_EFFECTS =>
            {
                Err(format!(
                    "it wants {} things done in one step; at most {MAX_EFFECTS} are possible: it should answer in several",
                    effects.len()
                ))
            }
            Ok(Ok(Answer::NotYet { reason, waits_for })) => Ok(Answer::NotYet {
                reason: if reason.is_empty() {
                    "its preparer says not yet, without a reason".to_owned()
                } else {
                    reason
                },
                waits_for,
            }),
            Ok(answer) => answer.map_err(|error| error.chain()),
            Err(panic) => {
                let message = panic_message(&*panic);
                tracing::error!(deployment = %self.id, resource = %target, panic = message, "a preparer panicked");
                Err(format!(
                    "it panicked, which is a fault of its program: {message}"
                ))
            }
        }
    }

    /// What these wait for besides this deployment itself, whose change always makes it due.
    pub(super) fn interests(&self, open: &[Blocker]) -> Vec<Subscription> {
        let own = Subscription::Entity(Key::from(&self.id));
        let mut interests: Vec<Subscription> = Vec::new();
        for interest in open.iter().flat_map(|open| &open.waits_for) {
            if *interest != own && !interests.contains(interest) {
                interests.push(interest.clone());
            }
        }
        interests
    }
}

fn refused(target: &Identifier, parts: &[Handler<dyn Preparer>], violations: &str) -> Blocker {
    let names: Vec<&str> = parts.iter().map(|part| &*part.name).collect();
    let message = format!(
        "what preparer {} made of it was refused: {violations}",
        names.join(", ")
    );
    Blocker::invalid(Some(target), message)
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
