//! One process of a worker: a task that owns its pipes and its calls.

use super::PROTOCOL;
use super::end::{EndReason, ProcessEnd};
use super::frame::{self, Frame, FrameError};
use super::pool::PluginPool;
use super::process_log::ProcessLog;
use crate::lines::Lines;
use crate::log::{CHUNK, LogSubject};
use crate::process::LINGER;
use crate::process::running::{Running, exited};
use crate::stderr::Tail;
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// Frames that are read ahead.
const AHEAD: usize = 4;

/// Bytes that are read from stdout at a time.
const BUFFER: usize = 64 * 1024;

/// A process, as its pool knows it. Without it, the process is stopped.
#[derive(Debug)]
pub(super) struct ProcessHandle {
    pub(super) orders: mpsc::UnboundedSender<WorkerOrder>,
    pub(super) slots: Arc<Slots>,
}

/// How many calls a process has, and may have.
#[derive(Debug)]
pub(super) struct Slots {
    load: AtomicUsize,
    /// Maximum calls in flight; 0 until the process is ready.
    capacity: AtomicUsize,
    /// Calls that the process may still get.
    remaining: AtomicU64,
}

/// What a process is told.
#[derive(Debug)]
pub(super) enum WorkerOrder {
    Call {
        id: u64,
        document: Arc<[u8]>,
        subject: Arc<LogSubject>,
        reply: oneshot::Sender<CallEnd>,
    },
    Cancel(u64),
}

/// How a call ended.
#[derive(Debug)]
pub(super) enum CallEnd {
    Answered(Answered),
    Ended(Arc<ProcessEnd>),
}

/// The answer of a call, not yet decoded.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) body: Vec<u8>,
    pub(super) stderr: Tail,
    pub(super) last_line: Option<String>,
}

/// The body of a worker's hello. Unknown keys are ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkerHello {
    protocol: u32,
    #[serde(default)]
    types: Option<Vec<String>>,
    #[serde(default)]
    in_flight: Option<usize>,
}

impl Slots {
    pub(super) fn new(calls: u64) -> Self {
        Self {
            load: AtomicUsize::new(0),
            capacity: AtomicUsize::new(0),
            remaining: AtomicU64::new(calls),
        }
    }

    pub(super) fn load(&self) -> usize {
        self.load.load(Ordering::Acquire)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.capacity.load(Ordering::Acquire) > 0
    }

    pub(super) fn is_free(&self) -> bool {
        self.load() < self.capacity.load(Ordering::Acquire)
    }

    /// Takes a slot; false if it was the last call of the process. Only the pool takes slots, under
    /// its lock.
    pub(super) fn take(&self) -> bool {
        self.load.fetch_add(1, Ordering::AcqRel);
        self.remaining.fetch_sub(1, Ordering::AcqRel) > 1
    }

    fn release(&self) {
        self.load.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A call in flight.
struct PendingCall {
    subject: Arc<LogSubject>,
    reply: oneshot::Sender<CallEnd>,
    last_line: Option<String>,
    /// When the process is killed, if the call was cancelled.
    kill_at: Option<Instant>,
}

/// The state of a process, by the frame that it owes.
enum Phase {
    /// It must say hello.
    Starting { until: Instant },
    /// Nothing is due.
    Ready { check_at: Instant },
    /// It must answer a health check.
    Checking { until: Instant },
    /// It must end.
    Stopping { until: Instant },
}

struct ProcessActor {
    pool: Weak<PluginPool>,
    slots: Arc<Slots>,
    pending: HashMap<u64, PendingCall>,
    output: Option<mpsc::UnboundedSender<Vec<u8>>>,
    log: Arc<ProcessLog>,
    phase: Phase,
    is_retired: bool,
    /// When the last call ended.
    idle_since: Instant,
    process: Option<u32>,
    /// Copies of the settings, for when the pool is gone.
    grace: Duration,
    health: Duration,
    idle: Duration,
    memory: u64,
    in_flight: usize,
}

/// Runs a process until it ends or its handle is dropped. Dropping the future kills it.
pub(super) async fn run(
    pool: Weak<PluginPool>,
    slots: Arc<Slots>,
    mut running: Running,
    mut orders: mpsc::UnboundedReceiver<WorkerOrder>,
) {
    let Some(owner) = pool.upgrade() else {
        return;
    };
    let _measured = owner.stats.process();
    let settings = &owner.settings;
    let log = Arc::new(ProcessLog::new(owner.plugin.clone(), owner.call.log));
    let (output, frames_out) = mpsc::unbounded_channel();
    let (frames_in, mut frames) = mpsc::channel(AHEAD);
    let mut pipes = JoinSet::new();
    let mut errors = JoinSet::new();
    if let (Some(stdin), Some(stdout), Some(stderr)) = (
        running.child.stdin.take(),
        running.child.stdout.take(),
        running.child.stderr.take(),
    ) {
        pipes.spawn(write(stdin, frames_out));
        pipes.spawn(read(stdout, owner.call.output, frames_in));
        errors.spawn(follow(stderr, log.clone()));
    }
    let now = Instant::now();
    let mut actor = ProcessActor {
        pool,
        slots,
        pending: HashMap::new(),
        output: Some(output),
        log,
        phase: Phase::Starting {
            until: now + settings.start,
        },
        is_retired: false,
        idle_since: now,
        process: running.child.id(),
        grace: owner.call.grace,
        health: settings.health,
        idle: settings.idle,
        memory: settings.memory,
        in_flight: settings.in_flight.get(),
    };
    let hello = json!({
        "protocol": PROTOCOL,
        "plugin": owner.plugin,
        "type": owner.plugin_type.as_str(),
        "inFlight": settings.in_flight,
        "maximumBytes": owner.call.output,
    });
    let (wanted, start) = (owner.plugin_type.as_str(), settings.start);
    // The task must not keep the pool alive: its end stops the process.
    drop(owner);
    actor.send("hello", 0, hello.to_string().as_bytes());
    let reason = {
        let mut gone = pin!(exited(running.group));
        loop {
            let due = sleep_until(actor.due());
            tokio::select! {
                biased;
                frame = frames.recv() => match frame {
                    Some(Ok(frame)) => if let Err(reason) = actor.frame(frame, wanted) {
                        break reason;
                    },
                    Some(Err(error)) => break EndReason::Garbage(error.to_string()),
                    None => {
                        // Usually it ends at once; a worker without stdout is of no use.
                        let ended = timeout(LINGER, &mut gone).await.is_ok();
                        let closed = "it closed its stdout".to_owned();
                        break if ended { EndReason::Exited(None) } else { EndReason::Garbage(closed) };
                    }
                },
                order = orders.recv(), if !actor.is_stopping() => match order {
                    Some(order) => actor.order(order),
                    None => actor.stop(),
                },
                _ = &mut gone => {
                    // Its last frames may still be in the pipe.
                    while let Ok(Some(Ok(frame))) = timeout(LINGER, frames.recv()).await {
                        if actor.frame(frame, wanted).is_err() {
                            break;
                        }
                    }
                    break EndReason::Exited(None);
                }
                () = due => if let Err(reason) = actor.overdue(start) {
                    break reason;
                },
            }
        }
    };
    running.kill();
    let status = running.wait().await.ok();
    // What it wrote last says why it ended.
    let _ = timeout(LINGER, errors.join_next()).await;
    let reason = match reason {
        EndReason::Exited(_) if actor.is_stopping() => EndReason::Stopped,
        EndReason::Exited(_) => EndReason::Exited(status),
        other => other,
    };
    actor.end(reason, orders);
}

impl ProcessActor {
    fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping { .. })
    }

    fn send(&self, kind: &str, id: u64, body: &[u8]) {
        if let Some(output) = &self.output {
            // A process that reads no more ends soon, and its calls with it.
            let _ = output.send(frame::encode(kind, id, body));
        }
    }

    /// The next instant at which something is overdue.
    fn due(&self) -> Instant {
        let phase = match self.phase {
            Phase::Starting { until } | Phase::Checking { until } | Phase::Stopping { until } => {
                until
            }
            Phase::Ready { check_at } => check_at,
        };
        let kills = self.pending.values().filter_map(|call| call.kill_at);
        kills.fold(phase, Instant::min)
    }

    /// Handles a frame.
    fn frame(&mut self, frame: Frame, wanted: &str) -> Result<(), EndReason> {
        match frame.kind.as_str() {
            "hello" => self.hello(&frame.body, wanted)?,
            "answer" => self.answer(frame),
            "log" => {
                let call = self.pending.get_mut(&frame.id);
                let subject = call.as_ref().map(|call| call.subject.clone());
                let last = self.log.text(subject.as_deref(), &frame.body);
                if let (Some(call), Some(last)) = (call, last) {
                    call.last_line = Some(last);
                }
            }
            "pong" => {
                if let Phase::Checking { .. } = self.phase {
                    self.phase = self.checked();
                }
            }
            // Later versions may have more.
            _ => {}
        }
        Ok(())
    }

    fn checked(&self) -> Phase {
        Phase::Ready {
            check_at: Instant::now() + self.health,
        }
    }

    fn hello(&mut self, body: &[u8], wanted: &str) -> Result<(), EndReason> {
        let hello: WorkerHello = serde_json::from_slice(body)
            .map_err(|error| EndReason::Garbage(format!("its hello is invalid: {error}")))?;
        if hello.protocol != PROTOCOL {
            let why = format!(
                "speaks version {} of the worker protocol, and this controller version {PROTOCOL}; upgrade one of them",
                hello.protocol
            );
            return Err(EndReason::Unsuitable(why));
        }
        if let Some(types) = hello
            .types
            .filter(|types| !types.iter().any(|t| t == wanted))
        {
            let offered: Vec<String> = types.iter().take(3).map(|t| format!("{t:?}")).collect();
            let why = format!(
                "does not serve {wanted} plugins; it serves {}; register it as that type",
                offered.join(", ")
            );
            return Err(EndReason::Unsuitable(why));
        }
        if let Phase::Starting { .. } = self.phase {
            self.phase = self.checked();
            self.idle_since = Instant::now();
            let accepted = hello.in_flight.unwrap_or(1).max(1);
            let capacity = accepted.min(self.in_flight);
            self.slots.capacity.store(capacity, Ordering::Release);
            if let Some(pool) = self.pool.upgrade() {
                pool.ready();
            }
        }
        Ok(())
    }

    fn answer(&mut self, frame: Frame) {
        let Some(call) = self.pending.remove(&frame.id) else {
            tracing::debug!(
                id = frame.id,
                "a worker answered a call that it does not have"
            );
            return;
        };
        // A caller that is gone needs no answer.
        let _ = call.reply.send(CallEnd::Answered(Answered {
            body: frame.body,
            stderr: self.log.tail(),
            last_line: call.last_line,
        }));
        self.slots.release();
        if self.pending.is_empty() {
            self.idle_since = Instant::now();
            self.log.idle();
        }
        if !self.is_retired && self.is_large() {
            self.is_retired = true;
            if let Some(pool) = self.pool.upgrade() {
                pool.stats.recycled();
                // Without its handle, the process is stopped when its calls are answered.
                pool.remove(&self.slots);
            }
        } else if let Some(pool) = self.pool.upgrade() {
            pool.released();
        }
        if self.is_stopping() && self.pending.is_empty() {
            self.stop_now();
        }
    }

    /// Whether the process uses more memory than it may.
    fn is_large(&self) -> bool {
        let resident = self.process.and_then(resident_mib);
        resident.is_some_and(|mib| mib > self.memory)
    }

    fn order(&mut self, order: WorkerOrder) {
        match order {
            WorkerOrder::Call {
                id,
                document,
                subject,
                reply,
            } => {
                self.log.begin(&subject, self.pending.is_empty());
                self.send("call", id, &document);
                let call = PendingCall {
                    subject,
                    reply,
                    last_line: None,
                    kill_at: None,
                };
                self.pending.insert(id, call);
            }
            WorkerOrder::Cancel(id) => {
                if let Some(call) = self.pending.get_mut(&id) {
                    call.kill_at = Some(Instant::now() + self.grace);
                    self.send("cancel", id, &[]);
                }
            }
        }
    }

    /// The handle is gone: the process ends when its calls are answered.
    fn stop(&mut self) {
        self.phase = Phase::Stopping {
            // Their own time limits end the calls.
            until: Instant::now() + Duration::from_hours(24),
        };
        if self.pending.is_empty() {
            self.stop_now();
        }
    }

    /// Tells the process to end: by a frame, and by the end of its stdin.
    fn stop_now(&mut self) {
        self.phase = Phase::Stopping {
            until: Instant::now() + self.grace,
        };
        self.send("stop", 0, &[]);
        self.output = None;
    }

    /// Acts on the instant of [`due`](Self::due).
    fn overdue(&mut self, start: Duration) -> Result<(), EndReason> {
        let now = Instant::now();
        let mut kills = self.pending.values().filter_map(|call| call.kill_at);
        if kills.any(|kill_at| kill_at <= now) {
            return Err(EndReason::Hung);
        }
        match self.phase {
            Phase::Starting { until } if until <= now => Err(EndReason::Silent(start)),
            Phase::Checking { until } if until <= now => Err(EndReason::Unhealthy(self.health)),
            Phase::Stopping { until } if until <= now => Err(EndReason::Stopped),
            Phase::Ready { check_at } if check_at <= now => {
                // A worker that does one thing at a time cannot answer during a call.
                if !self.pending.is_empty() {
                    self.phase = self.checked();
                } else if now >= self.idle_since + self.idle {
                    // The handle goes, and orders that are on their way still come.
                    self.phase = self.checked();
                    if let Some(pool) = self.pool.upgrade() {
                        pool.remove(&self.slots);
                    }
                } else {
                    self.phase = Phase::Checking {
                        until: now + self.health,
                    };
                    self.send("ping", 0, &[]);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Tells everyone that the process has ended.
    fn end(self, reason: EndReason, mut orders: mpsc::UnboundedReceiver<WorkerOrder>) {
        let expected = matches!(reason, EndReason::Stopped);
        let end = Arc::new(ProcessEnd {
            reason,
            stderr: self.log.tail(),
        });
        if let Some(pool) = self.pool.upgrade() {
            if !expected {
                pool.stats.restarted();
            }
            if self.slots.is_ready() {
                pool.remove(&self.slots);
            } else {
                pool.failed(&self.slots, &end);
            }
        }
        for call in self.pending.into_values() {
            // A caller that is gone needs no answer.
            let _ = call.reply.send(CallEnd::Ended(end.clone()));
        }
        // Orders that were on their way never reached the process.
        orders.close();
        let lost = Arc::new(ProcessEnd::early(EndReason::Stopped));
        while let Ok(order) = orders.try_recv() {
            if let WorkerOrder::Call { reply, .. } = order {
                let _ = reply.send(CallEnd::Ended(lost.clone()));
            }
        }
    }
}

/// The resident memory of a process in MiB; `None` where `/proc` does not tell.
fn resident_mib(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib >> 10)
}

async fn read(stdout: ChildStdout, limit: usize, to: mpsc::Sender<Result<Frame, FrameError>>) {
    let mut from = BufReader::with_capacity(BUFFER, stdout);
    while let Some(frame) = frame::read(&mut from, limit).await.transpose() {
        let is_last = frame.is_err();
        if to.send(frame).await.is_err() || is_last {
            return;
        }
    }
}

async fn write(mut stdin: ChildStdin, mut frames: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(frame) = frames.recv().await {
        if stdin.write_all(&frame).await.is_err() {
            // The process has closed its stdin; it ends, or its calls reach their time limits.
            return;
        }
    }
}

async fn follow(mut stderr: ChildStderr, log: Arc<ProcessLog>) {
    let mut lines = Lines::default();
    let mut chunk = vec![0; CHUNK];
    while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
        log.keep(&chunk[..read]);
        lines.push(&chunk[..read], &&*log);
    }
    lines.finish(&&*log);
}
