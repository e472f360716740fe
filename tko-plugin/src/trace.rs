//! Traces: one span for each call of a plugin.
//!
//! The span `plugin_call` has the level DEBUG and the target `tko_plugin::call`. It lasts as long as
//! the call, with all of its attempts. Its fields:
//!
//! | field | value |
//! |---|---|
//! | `plugin` | id of the plugin, such as `prepare\|gateway` |
//! | `executor` | name of the executor, such as `worker` |
//! | `deployment`, `site`, `resource` | subject of the call, as in its log lines |
//! | `outcome` | `prepared`, `not-yet`, `valid`, `scheduled`, `refused` (the plugin reported an error), `failed`, `timed-out`, or `dropped` if nobody waited for the end |
//! | `milliseconds` | duration of the call |
//! | `retries` | times that a worker's call was made again |
//! | `error` | what failed, in the plugin's words |
//!
//! At the end of a call, an event in the span has the outcome and the duration, for logs that show
//! events only.

use crate::failure::Failure;
use crate::handler::PluginReply;
use crate::log::LogSubject;
use std::time::{Duration, Instant};
use tko_core::PluginType;
use tracing::Span;
use tracing::field::Empty;

/// The span of a call. If it is dropped before the end of the call, it records that nobody waited
/// for the end.
pub(crate) struct CallSpan {
    span: Span,
    start: Instant,
    has_ended: bool,
}

impl CallSpan {
    /// Starts the span of a call.
    pub(crate) fn start(subject: &LogSubject, executor: &str) -> Self {
        let span = tracing::debug_span!(
            target: "tko_plugin::call",
            "plugin_call",
            plugin = subject.plugin,
            executor,
            deployment = subject.deployment,
            site = subject.site,
            resource = subject.resource,
            outcome = Empty,
            milliseconds = Empty,
            retries = Empty,
            error = Empty,
        );
        Self {
            span,
            start: Instant::now(),
            has_ended: false,
        }
    }

    /// The span, in which the call is made.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Records the end of the call.
    pub(crate) fn end(mut self, outcome: &'static str, error: Option<&str>, took: Duration) {
        self.has_ended = true;
        if let Some(error) = error {
            self.span.record("error", error);
        }
        self.record(outcome, took);
    }

    fn record(&self, outcome: &'static str, took: Duration) {
        let milliseconds = took.as_secs_f64() * 1000.0;
        self.span.record("outcome", outcome);
        self.span.record("milliseconds", milliseconds);
        self.span.in_scope(|| {
            tracing::debug!(target: "tko_plugin::call", outcome, milliseconds, "plugin call ended");
        });
    }
}

impl Drop for CallSpan {
    fn drop(&mut self) {
        if !self.has_ended {
            self.record("dropped", self.start.elapsed());
        }
    }
}

/// The outcome of a program's call, and its error.
pub(crate) fn outcome(
    plugin_type: PluginType,
    reply: &Result<PluginReply, Failure>,
) -> (&'static str, Option<String>) {
    match reply {
        Ok(PluginReply { answer, .. }) if !answer.errors.is_empty() => {
            ("refused", Some(answer.errors.join("; ")))
        }
        Ok(PluginReply { answer, .. }) => (good(plugin_type, answer.prepared), None),
        Err(failure @ (Failure::Timeout { .. } | Failure::Cancelled { .. })) => {
            ("timed-out", Some(tko_core::error::chain(failure)))
        }
        Err(failure) => ("failed", Some(tko_core::error::chain(failure))),
    }
}

/// The outcome of a call without errors. Only preparers may be not ready.
pub(crate) fn good(plugin_type: PluginType, is_ready: bool) -> &'static str {
    match plugin_type {
        PluginType::Prepare if is_ready => "prepared",
        PluginType::Prepare => "not-yet",
        PluginType::Validate => "valid",
        _ => "scheduled",
    }
}
