//! The log lines of a process that serves many calls.

use crate::lines::Sink;
use crate::log::{self, LogSubject, MIN_COST, Stream};
use crate::stderr::{Tail, printable};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Logs the lines of one process, with the one call in flight as their subject, if there is exactly
/// one. Each call begins a new byte budget.
#[derive(Debug)]
pub(super) struct ProcessLog {
    /// The subject of lines that belong to no call.
    plugin: Arc<LogSubject>,
    budget: usize,
    state: Mutex<LogState>,
}

#[derive(Debug)]
struct LogState {
    current: Arc<LogSubject>,
    left: usize,
    dropped: usize,
    tail: Tail,
}

impl ProcessLog {
    pub(super) fn new(plugin: String, budget: usize) -> Self {
        let plugin = Arc::new(LogSubject {
            plugin,
            ..LogSubject::default()
        });
        Self {
            state: Mutex::new(LogState {
                current: plugin.clone(),
                left: budget,
                dropped: 0,
                tail: Tail::default(),
            }),
            plugin,
            budget,
        }
    }

    /// Begins a call. If it is the only one, it is the subject, and the tail of stderr is cleared.
    pub(super) fn begin(&self, subject: &Arc<LogSubject>, is_only: bool) {
        let mut state = self.state();
        self.settle(&mut state);
        if is_only {
            state.current = subject.clone();
            state.tail = Tail::default();
        } else {
            state.current = self.plugin.clone();
        }
    }

    /// Ends the last call in flight.
    pub(super) fn idle(&self) {
        self.settle(&mut self.state());
    }

    /// Keeps the bytes of stderr for error messages.
    pub(super) fn keep(&self, bytes: &[u8]) {
        self.state().tail.push(bytes);
    }

    /// The end of stderr.
    pub(super) fn tail(&self) -> Tail {
        self.state().tail.clone()
    }

    /// Logs a text of a call, or of none, line by line. Returns the last line.
    pub(super) fn text(&self, subject: Option<&LogSubject>, text: &[u8]) -> Option<String> {
        let mut last = None;
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.trim_ascii().is_empty() {
                let shown = printable(&line[..line.len().min(crate::lines::MAX_LINE)]);
                self.event(subject, Stream::Log, &shown);
                last = Some(shown);
            }
        }
        last
    }

    fn event(&self, subject: Option<&LogSubject>, stream: Stream, text: &str) {
        let mut state = self.state();
        let cost = text.len().max(MIN_COST);
        if let Some(left) = state.left.checked_sub(cost) {
            state.left = left;
            let subject = subject.unwrap_or(&state.current);
            log::event(subject, stream, text);
        } else {
            state.left = 0;
            state.dropped += 1;
        }
    }

    /// Reports dropped lines and begins a new budget.
    fn settle(&self, state: &mut LogState) {
        if state.dropped > 0 {
            let text = format!(
                "(the plugin wrote too much: {} more lines were dropped)",
                state.dropped
            );
            log::event(&state.current, Stream::Log, &text);
        }
        state.dropped = 0;
        state.left = self.budget;
    }

    fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Receives the lines of stderr.
impl Sink for &ProcessLog {
    fn line(&self, bytes: &[u8], dropped: usize) {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if bytes.trim_ascii().is_empty() {
            return;
        }
        let mut text = printable(bytes);
        if dropped > 0 {
            text = format!("{text}… ({dropped} bytes more)");
        }
        self.event(None, Stream::Stderr, &text);
    }
}
