//! One process of a worker: a task that owns its pipes and its calls.

use super::end::{EndReason, ProcessEnd};
use super::frame::{self, Frame, PROTOCOL};
use super::order::{Answered, CallEnd, WorkerOrder};
use super::pipes::{follow, read, resident_mib, write};
use super::pool::PluginPool;
use super::process_log::ProcessLog;
use super::slots::Slots;
use crate::log::LogSubject;
use crate::process::LINGER;
use crate::process::running::{Running, exited};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// Number of frames that are read ahead.
const AHEAD: usize = 4;

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

/// A call in flight.
struct PendingCall {
    subject: Arc<LogSubject>,
    reply: oneshot::Sender<CallEnd>,
    last_line: Option<String>,
    /// When the process is killed, if the call was cancelled.
    kill_at: Option<Instant>,
}

/// The state of a process, by the frame that is expected from it.
enum ProcessPhase {
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
    phase: ProcessPhase,
    is_retired: bool,
    /// When the last call ended.
    idle_since: Instant,
    process: Option<u32>,
    /// Copies of the settings, because the pool may be gone.
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
        phase: ProcessPhase::Starting {
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
                        // Usually it ends at once; a worker without stdout is useless.
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
    // Its last output says why it ended.
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
        matches!(self.phase, ProcessPhase::Stopping { .. })
    }

    fn send(&self, kind: &str, id: u64, body: &[u8]) {
        if let Some(output) = &self.output {
            // A process that no longer reads ends soon, and so do its calls.
            let _ = output.send(frame::encode(kind, id, body));
        }
    }

    /// The next instant at which something is overdue.
    fn due(&self) -> Instant {
        let phase = match self.phase {
            ProcessPhase::Starting { until }
            | ProcessPhase::Checking { until }
            | ProcessPhase::Stopping { until } => until,
            ProcessPhase::Ready { check_at } => check_at,
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
                if let ProcessPhase::Checking { .. } = self.phase {
                    self.phase = self.checked();
                }
            }
            // Later versions may have more frames.
            _ => {}
        }
        Ok(())
    }

    fn checked(&self) -> ProcessPhase {
        ProcessPhase::Ready {
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
        if let ProcessPhase::Starting { .. } = self.phase {
            self.phase = self.checked();
            self.idle_since = Instant::now();
            let accepted = hello.in_flight.unwrap_or(1).max(1);
            let capacity = accepted.min(self.in_flight);
            self.slots.open(capacity);
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

    /// Called when the handle is gone: the process ends when its calls are answered.
    fn stop(&mut self) {
        self.phase = ProcessPhase::Stopping {
            // Their own time limits end the calls.
            until: Instant::now() + Duration::from_hours(24),
        };
        if self.pending.is_empty() {
            self.stop_now();
        }
    }

    /// Tells the process to end: by a frame, and by the end of its stdin.
    fn stop_now(&mut self) {
        self.phase = ProcessPhase::Stopping {
            until: Instant::now() + self.grace,
        };
        self.send("stop", 0, &[]);
        self.output = None;
    }

    /// Acts when the instant of [`due`](Self::due) has come.
    fn overdue(&mut self, start: Duration) -> Result<(), EndReason> {
        let now = Instant::now();
        let mut kills = self.pending.values().filter_map(|call| call.kill_at);
        if kills.any(|kill_at| kill_at <= now) {
            return Err(EndReason::Hung);
        }
        match self.phase {
            ProcessPhase::Starting { until } if until <= now => Err(EndReason::Silent(start)),
            ProcessPhase::Checking { until } if until <= now => {
                Err(EndReason::Unhealthy(self.health))
            }
            ProcessPhase::Stopping { until } if until <= now => Err(EndReason::Stopped),
            ProcessPhase::Ready { check_at } if check_at <= now => {
                // A worker that does one thing at a time cannot answer during a call.
                if !self.pending.is_empty() {
                    self.phase = self.checked();
                } else if now >= self.idle_since + self.idle {
                    // The handle is dropped, but orders in flight still arrive.
                    self.phase = self.checked();
                    if let Some(pool) = self.pool.upgrade() {
                        pool.remove(&self.slots);
                    }
                } else {
                    self.phase = ProcessPhase::Checking {
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
        // Orders in flight never reached the process.
        orders.close();
        let lost = Arc::new(ProcessEnd::early(EndReason::Stopped));
        while let Ok(order) = orders.try_recv() {
            if let WorkerOrder::Call { reply, .. } = order {
                let _ = reply.send(CallEnd::Ended(lost.clone()));
            }
        }
    }
}
