//! Joins steps of workers: steps that are committed while others are in flight share a call.
//!
//! A step is sent at once and alone if no other is in flight, so a single worker never waits. A
//! server that does not know the shared call gets each step alone.

use super::Client;
use super::call::garbled;
use crate::proto::v1alpha2 as wire;
use crate::proto::v1alpha2::commit_steps_request::Step;
use crate::proto::v1alpha2::commit_steps_request::step::Step as Packed;
use crate::status;
use prost::Message;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tko_core::{Error, Result};
use tokio::sync::oneshot;

const ACTION: &str = "commit steps of workers";

/// Steps of more bytes are sent alone.
const MAX_OF_ONE: usize = 256 << 10;

/// Limits of one call, in steps and in bytes; the last step may exceed it.
const MAX_STEPS: usize = 100;
const MAX_BYTES: usize = 2 << 20;

/// Maximum number of shared calls at the same time.
const CALLS: usize = 2;

/// Queue of steps that wait for a shared call.
#[derive(Default)]
pub(super) struct StepQueue {
    alone: AtomicUsize,
    /// Whether the server does not know the shared call.
    is_unknown: AtomicBool,
    state: Mutex<StepQueueState>,
}

#[derive(Default)]
struct StepQueueState {
    waiting: Vec<WaitingStep>,
    running: usize,
}

struct WaitingStep {
    step: Packed,
    bytes: usize,
    answer: oneshot::Sender<StepAnswer>,
}

enum StepAnswer {
    Ended(Result<u64>),
    /// It was not sent: send it alone.
    Alone(Box<Packed>),
}

/// Counts a step until it is dropped.
struct AloneStep<'a>(&'a AtomicUsize);

impl Drop for AloneStep<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl StepQueue {
    fn lock(&self) -> MutexGuard<'_, StepQueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next steps whose callers still wait. If there are none, the task ends.
    fn next(&self) -> Vec<WaitingStep> {
        let mut state = self.lock();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        for of in std::mem::take(&mut state.waiting) {
            if taken.len() < MAX_STEPS && bytes < MAX_BYTES {
                if !of.answer.is_closed() {
                    bytes += of.bytes;
                    taken.push(of);
                }
            } else {
                state.waiting.push(of);
            }
        }
        if taken.is_empty() {
            state.running -= 1;
        }
        taken
    }
}

impl Client {
    /// Commits a step. Returns the generation of its deployment; 0 for a step of a site.
    pub(super) async fn commit_step(&self, step: Packed) -> Result<u64> {
        let queue = &self.steps;
        let bytes = match &step {
            Packed::Prepared(step) => step.encoded_len(),
            Packed::Placed(step) => step.encoded_len(),
        };
        if bytes > MAX_OF_ONE || queue.is_unknown.load(Ordering::SeqCst) {
            return self.commit_alone(step).await;
        }
        let answered = {
            let mut state = queue.lock();
            if state.running == 0 && queue.alone.load(Ordering::SeqCst) == 0 {
                queue.alone.fetch_add(1, Ordering::SeqCst);
                Err(step)
            } else {
                let (answer, answered) = oneshot::channel();
                state.waiting.push(WaitingStep {
                    step,
                    bytes,
                    answer,
                });
                if state.running < CALLS {
                    state.running += 1;
                    // A task: callers may stop polling, and others must not wait for them.
                    let running = RunningSteps {
                        client: self.clone(),
                        has_ended: false,
                    };
                    tokio::spawn(running.run());
                }
                Ok(answered)
            }
        };
        match answered {
            Err(step) => {
                let _counted = AloneStep(&queue.alone);
                self.commit_alone(step).await
            }
            Ok(answered) => match answered.await {
                Ok(StepAnswer::Ended(result)) => result,
                Ok(StepAnswer::Alone(step)) => self.commit_alone(*step).await,
                Err(closed) => Err(Error::unavailable(ACTION, closed)),
            },
        }
    }

    async fn commit_alone(&self, step: Packed) -> Result<u64> {
        match step {
            Packed::Prepared(request) => self
                .work(
                    "commit a step of preparation",
                    self.settings.timeout,
                    request,
                    |mut controller, request| async move {
                        controller.commit_prepared(request).await
                    },
                )
                .await
                .map(|answer| answer.generation),
            // The server commits a large step in chunks.
            Packed::Placed(request) => self
                .work(
                    "commit a step of scheduling",
                    self.settings.bulk_timeout,
                    request,
                    |mut controller, request| async move { controller.commit_placed(request).await },
                )
                .await
                .map(|_| 0),
        }
    }

    /// Commits steps by one call, and answers each.
    async fn commit_steps(&self, waiting: Vec<WaitingStep>) {
        let steps = waiting.iter().map(|of| Step {
            step: Some(of.step.clone()),
        });
        let request = wire::CommitStepsRequest {
            steps: steps.collect(),
        };
        let answer = self
            .work(
                ACTION,
                self.settings.bulk_timeout,
                request,
                |mut controller, request| async move { controller.commit_steps(request).await },
            )
            .await;
        let results: Vec<Result<u64>> = match answer {
            Ok(answer) if answer.results.len() == waiting.len() => {
                answer.results.into_iter().map(result).collect()
            }
            Ok(answer) => {
                let count = answer.results.len();
                let all = waiting.len();
                let short = || {
                    let why = format!("the server answered {count} of {all}");
                    Err(Error::unavailable(ACTION, why))
                };
                waiting.iter().map(|_| short()).collect()
            }
            Err(Error::NotImplemented(_)) => {
                self.steps.is_unknown.store(true, Ordering::SeqCst);
                for of in waiting {
                    let _ = of.answer.send(StepAnswer::Alone(Box::new(of.step)));
                }
                return;
            }
            Err(error) => waiting.iter().map(|_| Err(copy(&error))).collect(),
        };
        for (of, result) in waiting.into_iter().zip(results) {
            // The caller may be gone.
            let _ = of.answer.send(StepAnswer::Ended(result));
        }
    }
}

fn result(result: wire::commit_steps_response::Result) -> Result<u64> {
    use wire::commit_steps_response::result::Result as Packed;
    match result.result {
        // The generation 0 of a site's step may be left out.
        None => Ok(0),
        Some(Packed::Generation(generation)) => Ok(generation),
        Some(Packed::Error(error)) => Err(status::unpack(error).map_err(garbled)?),
    }
}

/// A copy of an error, without its source.
fn copy(error: &Error) -> Error {
    status::unpack(status::pack(error)).unwrap_or_else(garbled)
}

/// A task that sends shared calls. Dropping the last such task while steps wait makes them fail.
struct RunningSteps {
    client: Client,
    has_ended: bool,
}

impl RunningSteps {
    async fn run(mut self) {
        loop {
            let next = self.client.steps.next();
            if next.is_empty() {
                self.has_ended = true;
                return;
            }
            self.client.commit_steps(next).await;
        }
    }
}

impl Drop for RunningSteps {
    fn drop(&mut self) {
        if !self.has_ended {
            let mut state = self.client.steps.lock();
            state.running -= 1;
            if state.running == 0 {
                state.waiting.clear();
            }
        }
    }
}
