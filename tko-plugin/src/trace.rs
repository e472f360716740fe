//! Traces: one span for each call of a plugin.
//!
//! The span `plugin_call` has the level DEBUG and the target `tko_plugin::call`. It lasts as long as
//! the call, with all of its attempts. Its fields:
//!
//! | field | value |
//! |---|---|
//! | `plugin` | id of the plugin, such as `prepare\|gateway` |
//! | `executor` | `command` or `worker` |
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

/// The span of a call. Dropped before its end, it records that nobody waited.
pub(crate) struct CallSpan {
    span: Span,
    start: Instant,
    has_ended: bool,
}

impl CallSpan {
    /// Starts the span of a call.
    pub(crate) fn start(subject: &LogSubject, executor: &'static str) -> Self {
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

    /// The span, to make the call in it.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Records the end of the call.
    pub(crate) fn end(
        mut self,
        plugin_type: PluginType,
        reply: &Result<PluginReply, Failure>,
        took: Duration,
    ) {
        self.has_ended = true;
        match reply {
            Ok(PluginReply { answer, .. }) if !answer.errors.is_empty() => {
                self.span.record("error", answer.errors.join("; "));
                self.record("refused", took);
            }
            Ok(PluginReply { answer, .. }) => self.record(
                match plugin_type {
                    PluginType::Prepare if answer.prepared => "prepared",
                    PluginType::Prepare => "not-yet",
                    PluginType::Validate => "valid",
                    _ => "scheduled",
                },
                took,
            ),
            Err(failure) => {
                self.span.record("error", tko_core::error::chain(failure));
                let is_late =
                    matches!(failure, Failure::Timeout { .. } | Failure::Cancelled { .. });
                self.record(if is_late { "timed-out" } else { "failed" }, took);
            }
        }
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
