//! The processes of one plugin, and the choice of a free process for each call.

use super::end::{EndReason, ProcessEnd};
use super::frame::{PROTOCOL, WORKER_VARIABLE};
use super::order::{Answered, CallEnd, WorkerOrder};
use super::process;
use super::settings::WorkerPoolSettings;
use super::slots::{ProcessHandle, Slots};
use crate::call::{Input, PluginAnswer, PluginCall, SentPackage, Target};
use crate::environment;
use crate::failure::Failure;
use crate::handler::{CallRunner, PluginReply, aside, limits};
use crate::log::LogSubject;
use crate::metrics::PluginStats;
use crate::process::running::Running;
use crate::program::Program;
use crate::settings::CommandSettings;
use async_trait::async_trait;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tko_core::{Identifier, PluginType};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// First and longest pause after processes that failed to start.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// The processes of one plugin.
#[derive(Debug)]
pub(super) struct PluginPool {
    pub(super) plugin: String,
    pub(super) plugin_type: PluginType,
    program: Program,
    pub(super) call: Arc<CommandSettings>,
    pub(super) settings: WorkerPoolSettings,
    pub(super) stats: Arc<PluginStats>,
    tasks: Arc<Mutex<JoinSet<()>>>,
    state: Mutex<PoolState>,
    /// A call may find a free process now, or start one.
    changed: Notify,
    next_id: AtomicU64,
}

#[derive(Debug, Default)]
struct PoolState {
    /// The processes that may get calls, including those that are starting.
    processes: Vec<ProcessHandle>,
    /// Set if the last process failed to start: no process is started before the pause has passed.
    failed: Option<FailedStart>,
    /// The number of failed starts since the last successful one.
    failures: u32,
    is_closed: bool,
}

impl PoolState {
    fn is_any_ready(&self) -> bool {
        self.processes
            .iter()
            .any(|process| process.slots.is_ready())
    }
}

#[derive(Debug)]
struct FailedStart {
    until: Instant,
    end: Arc<ProcessEnd>,
}

/// The result of looking for a free process.
enum Checkout {
    Free(mpsc::UnboundedSender<WorkerOrder>),
    Wait,
    Failed(Arc<ProcessEnd>),
}

impl PluginPool {
    pub(super) fn new(
        plugin: String,
        plugin_type: PluginType,
        program: Program,
        call: Arc<CommandSettings>,
        settings: WorkerPoolSettings,
        stats: Arc<PluginStats>,
        tasks: Arc<Mutex<JoinSet<()>>>,
    ) -> Self {
        Self {
            plugin,
            plugin_type,
            program,
            call,
            settings,
            stats,
            tasks,
            state: Mutex::default(),
            changed: Notify::new(),
            next_id: AtomicU64::new(1),
        }
    }

    /// Lets all processes stop; later calls fail.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        // Without a sender of orders, a process is stopped.
        state.processes.clear();
        drop(state);
        self.changed.notify_waiters();
    }

    /// A process is ready for calls.
    pub(super) fn ready(&self) {
        let mut state = self.state();
        state.failed = None;
        state.failures = 0;
        drop(state);
        self.changed.notify_waiters();
    }

    /// A process has one call less.
    pub(super) fn released(&self) {
        self.changed.notify_one();
    }

    /// Stops giving calls to a process.
    pub(super) fn remove(&self, slots: &Arc<Slots>) {
        let mut state = self.state();
        state
            .processes
            .retain(|process| !Arc::ptr_eq(&process.slots, slots));
        drop(state);
        self.changed.notify_waiters();
    }

    /// Records that a process ended before it was ready.
    pub(super) fn failed(&self, slots: &Arc<Slots>, end: &Arc<ProcessEnd>) {
        let mut state = self.state();
        state
            .processes
            .retain(|process| !Arc::ptr_eq(&process.slots, slots));
        Self::pause(&mut state, end);
        drop(state);
        self.changed.notify_waiters();
    }

    fn pause(state: &mut PoolState, end: &Arc<ProcessEnd>) {
        let factor = 1_u32 << state.failures.min(16);
        let pause = PAUSES.0.saturating_mul(factor).min(PAUSES.1);
        state.failures = state.failures.saturating_add(1);
        state.failed = Some(FailedStart {
            until: Instant::now() + pause,
            end: end.clone(),
        });
    }

    /// Waits for a free process, until `deadline` if the call has one already. Otherwise it waits
    /// for at most `limit`, so that a plugin that hangs does not keep all its callers waiting.
    ///
    /// The time before any process is ready does not count, because it has a limit of its own.
    ///
    /// Returns `None` if no process was free in time.
    async fn checkout(
        self: &Arc<Self>,
        limit: Duration,
        deadline: Option<Instant>,
    ) -> Result<Option<mpsc::UnboundedSender<WorkerOrder>>, Arc<ProcessEnd>> {
        let mut until = deadline.unwrap_or_else(|| Instant::now() + self.settings.start + limit);
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on, no change is missed.
            changed.as_mut().enable();
            match self.try_checkout() {
                Checkout::Free(orders) => return Ok(Some(orders)),
                Checkout::Failed(end) => return Err(end),
                Checkout::Wait => {}
            }
            if self.state().is_any_ready() {
                until = until.min(Instant::now() + limit);
            }
            if timeout_at(until, changed).await.is_err() {
                return Ok(None);
            }
        }
    }

    fn try_checkout(self: &Arc<Self>) -> Checkout {
        let mut state = self.state();
        if state.is_closed {
            return Checkout::Failed(Arc::new(ProcessEnd::early(EndReason::Stopped)));
        }
        let free = state.processes.iter().enumerate();
        let free = free.filter(|(_, process)| process.slots.is_free());
        if let Some((at, _)) = free.min_by_key(|(_, process)| process.slots.load()) {
            let orders = state.processes[at].orders.clone();
            if !state.processes[at].slots.take() {
                // This is its last call: it stops when all its calls are answered.
                state.processes.swap_remove(at);
                self.stats.recycled();
                // Another call may start a process in its place.
                self.changed.notify_waiters();
            }
            return Checkout::Free(orders);
        }
        if state.processes.len() >= self.settings.size.get() {
            return Checkout::Wait;
        }
        let any_ready = state.is_any_ready();
        match &state.failed {
            Some(failed) if failed.until > Instant::now() => {
                // A busy process will become free; if there are no processes, there is nothing to
                // wait for.
                return if any_ready {
                    Checkout::Wait
                } else {
                    Checkout::Failed(failed.end.clone())
                };
            }
            _ => {}
        }
        match self.start() {
            Ok(process) => {
                state.processes.push(process);
                Checkout::Wait
            }
            Err(error) => {
                let end = Arc::new(ProcessEnd::early(EndReason::NotStarted(error)));
                Self::pause(&mut state, &end);
                if any_ready {
                    Checkout::Wait
                } else {
                    Checkout::Failed(end)
                }
            }
        }
    }

    fn start(self: &Arc<Self>) -> io::Result<ProcessHandle> {
        let python_env = self.call.python_env.as_deref();
        let mut command = environment::command(&self.program, python_env, &self.call.environment)?;
        command.env(WORKER_VARIABLE, PROTOCOL.to_string());
        let running = Running::start(command)?;
        let slots = Arc::new(Slots::new(self.settings.calls));
        let (orders, receiver) = mpsc::unbounded_channel();
        let run = process::run(Arc::downgrade(self), slots.clone(), running, receiver);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Finished tasks are kept until they are joined.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(run);
        Ok(ProcessHandle { orders, slots })
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one call, and once more if its process ends.
    async fn answer(
        self: &Arc<Self>,
        subject: &Arc<LogSubject>,
        document: Arc<[u8]>,
        timeout: Duration,
    ) -> Result<Answered, Failure> {
        let failure = |end: &ProcessEnd| end.failure(&self.program.path, timeout);
        let mut deadline = None;
        // The end of the last process that had the call.
        let mut last: Option<Arc<ProcessEnd>> = None;
        let mut is_retry = false;
        let mut retries = 0_u32;
        loop {
            let orders = self.checkout(timeout, deadline).await;
            let Some(orders) = orders.map_err(|end| failure(&end))? else {
                return Err(match last {
                    Some(end) => failure(&end),
                    None => Failure::NoProcess {
                        program: self.program.path.clone(),
                        after: timeout,
                        remedy: "make it faster, raise _worker.size, or run more controllers",
                    },
                });
            };
            // The time of waiting for the first free process does not count.
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + timeout);
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            let (reply, mut answer) = oneshot::channel();
            let call = WorkerOrder::Call {
                id,
                document: document.clone(),
                subject: subject.clone(),
                reply,
            };
            if orders.send(call).is_err() {
                // The process ended just before it got this call.
                continue;
            }
            let mut cancel = CancelCall {
                orders: Some(orders),
                id,
            };
            let Ok(ended) = timeout_at(deadline, &mut answer).await else {
                cancel.cancel();
                // The process answers within the grace period, or is killed.
                return match answer.await {
                    Ok(CallEnd::Ended(end)) => Err(failure(&end)),
                    Ok(CallEnd::Answered(Answered { stderr, .. })) => Err(Failure::Cancelled {
                        program: self.program.path.clone(),
                        after: timeout,
                        stderr,
                    }),
                    Err(_) => Err(failure(&ProcessEnd::early(EndReason::Stopped))),
                };
            };
            cancel.orders = None;
            let end = match ended {
                Ok(CallEnd::Ended(end)) => end,
                Ok(CallEnd::Answered(answer)) => return Ok(answer),
                Err(_) => Arc::new(ProcessEnd::early(EndReason::Stopped)),
            };
            let may_retry = end.is_collateral() || !is_retry;
            if !may_retry || Instant::now() >= deadline || self.state().is_closed {
                return Err(failure(&end));
            }
            is_retry |= !end.is_collateral();
            self.stats.retried();
            retries += 1;
            tracing::Span::current().record("retries", retries);
            let error = tko_core::error::chain(&failure(&end));
            tracing::warn!(plugin = self.plugin, error, "retrying the call");
            last = Some(end);
        }
    }
}

/// Cancels a call when it is dropped.
struct CancelCall {
    orders: Option<mpsc::UnboundedSender<WorkerOrder>>,
    id: u64,
}

impl CancelCall {
    fn cancel(&mut self) {
        if let Some(orders) = self.orders.take() {
            // A process that is gone has no calls.
            let _ = orders.send(WorkerOrder::Cancel(self.id));
        }
    }
}

impl Drop for CancelCall {
    fn drop(&mut self) {
        self.cancel();
    }
}

#[async_trait]
impl CallRunner for Arc<PluginPool> {
    async fn run(
        &self,
        subject: Arc<LogSubject>,
        target: Option<&Identifier>,
        input: Input,
        timeout: Duration,
    ) -> Result<PluginReply, Failure> {
        let call = PluginCall {
            grpc: self.call.grpc.clone().unwrap_or_default(),
            // Log lines are frames.
            log_file: String::new(),
            log_address_port: String::new(),
            target_resource_identifier: Target::from(target),
            input,
        };
        let resources = match &call.input {
            Input::Prepare {
                deployment_package, ..
            } => Some(deployment_package.clone()),
            _ => None,
        };
        let document = aside("write its input", move || call.encode()).await?;
        let document: Arc<[u8]> = document
            .map_err(io::Error::from)
            .map_err(Failure::here("write its input"))?
            .into();
        let sent = resources.map(|resources| SentPackage::new(resources, document.clone()));
        let Answered {
            body,
            stderr,
            last_line,
        } = self.answer(&subject, document, timeout).await?;
        let most = self.call.output;
        let decode = move || match &sent {
            Some(sent) => PluginAnswer::decode_sharing(&body, sent, &limits(most)),
            None => PluginAnswer::decode(&body, &limits(most)),
        };
        match aside("read its answer", decode).await? {
            Ok(answer) => Ok(PluginReply {
                answer,
                last_line: last_line.or_else(|| stderr.last_line()),
                stderr,
            }),
            Err(error) => Err(Failure::Answer {
                program: self.program.path.clone(),
                why: error.to_string(),
                stderr,
            }),
        }
    }
}
