//! Log lines and stderr of plugins as structured events.
//!
//! Each line becomes one [`tracing`] event at level INFO with target `tko_plugin::log`. The line is
//! the message; the fields are `plugin`, `deployment` or `site`, `resource` and `stream`.

use crate::lines::{Lines, Sink};
use crate::stderr::printable;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Minimum cost of a line against the budget: an event is larger than its text.
pub(crate) const MIN_COST: usize = 100;
pub(crate) const CHUNK: usize = 16 * 1024;

/// The subject of a call, as the fields of its events.
#[derive(Clone, Debug, Default)]
pub struct LogSubject {
    /// The plugin's id, such as `prepare|gateway`.
    pub plugin: String,
    /// Id of the deployment being prepared.
    pub deployment: Option<String>,
    /// Id of the site being scheduled.
    pub site: Option<String>,
    /// The resource that triggered the call, such as `NetworkAttachmentDefinition n3`.
    pub resource: Option<String>,
}

/// The origin of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The log channel.
    Log,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Returns the value of the field `stream`: `log` or `stderr`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Stderr => "stderr",
        }
    }
}

/// Turns the lines of one stream of one call into events, within a byte budget. Reports at the end
/// how many lines were dropped.
#[derive(Debug)]
pub struct LineLog<'a> {
    subject: &'a LogSubject,
    stream: Stream,
    left: AtomicUsize,
    dropped: AtomicUsize,
}

impl<'a> LineLog<'a> {
    /// Creates a log with a budget of `budget` bytes; a short line counts as 100.
    pub fn new(subject: &'a LogSubject, stream: Stream, budget: usize) -> Self {
        Self {
            subject,
            stream,
            left: AtomicUsize::new(budget),
            dropped: AtomicUsize::new(0),
        }
    }

    /// Reads to the end and passes every chunk to `see` first. A read error counts as the end.
    pub async fn follow(&self, mut from: impl AsyncRead + Unpin, mut see: impl FnMut(&[u8])) {
        let mut lines = Following::new(self);
        let mut chunk = vec![0; CHUNK];
        while let Ok(read @ 1..) = from.read(&mut chunk).await {
            see(&chunk[..read]);
            lines.push(&chunk[..read]);
        }
    }

    fn event(&self, text: &str) {
        event(self.subject, self.stream, text);
    }
}

/// Logs one line of a plugin.
pub(crate) fn event(subject: &LogSubject, stream: Stream, text: &str) {
    let LogSubject {
        plugin,
        deployment,
        site,
        resource,
    } = subject;
    tracing::info!(
        plugin,
        deployment,
        site,
        resource,
        stream = stream.as_str(),
        "{text}"
    );
}

impl Sink for LineLog<'_> {
    fn line(&self, bytes: &[u8], dropped: usize) {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if bytes.trim_ascii().is_empty() {
            return;
        }
        let cost = bytes.len().max(MIN_COST);
        let paid = self
            .left
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(cost)
            });
        if paid.is_err() {
            self.left.store(0, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        } else if dropped > 0 {
            self.event(&format!("{}… ({dropped} bytes more)", printable(bytes)));
        } else {
            self.event(&printable(bytes));
        }
    }
}

impl Drop for LineLog<'_> {
    fn drop(&mut self) {
        let dropped = *self.dropped.get_mut();
        if dropped > 0 {
            self.event(&format!(
                "(the plugin wrote too much: {dropped} more lines were dropped)"
            ));
        }
    }
}

/// Lines on their way to the log. Dropping it flushes an unfinished last line.
struct Following<'a> {
    lines: Lines,
    log: &'a LineLog<'a>,
}

impl<'a> Following<'a> {
    fn new(log: &'a LineLog<'a>) -> Self {
        let lines = Lines::default();
        Self { lines, log }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.lines.push(bytes, self.log);
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.lines.finish(self.log);
    }
}
