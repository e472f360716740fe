//! [`PluginCalls`]: how often a plugin was called, as the services of this process count it.

use std::fmt;
use tko_core::PluginId;

/// The calls of one plugin in this process, since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PluginCalls {
    /// Calls that have ended, failed ones included.
    pub ended: u64,
    /// Calls that failed, other than by their time limit.
    pub failed: u64,
    /// Calls that reached their time limit.
    pub timed_out: u64,
    /// Calls in flight.
    pub running: u64,
}

impl PluginCalls {
    /// Counts of zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the calls that have ended.
    #[must_use]
    pub fn ended(self, ended: u64) -> Self {
        Self { ended, ..self }
    }

    /// Sets the calls that failed.
    #[must_use]
    pub fn failed(self, failed: u64) -> Self {
        Self { failed, ..self }
    }

    /// Sets the calls that reached their time limit.
    #[must_use]
    pub fn timed_out(self, timed_out: u64) -> Self {
        Self { timed_out, ..self }
    }

    /// Sets the calls in flight.
    #[must_use]
    pub fn running(self, running: u64) -> Self {
        Self { running, ..self }
    }
}

/// Reads the calls of a plugin; `None` if nothing in this process has called it.
pub(crate) type CallCounter = Box<dyn Fn(&PluginId) -> Option<PluginCalls> + Send + Sync>;

/// Formats the counts for people.
impl fmt::Display for PluginCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} since this process started", self.ended)?;
        for (count, what) in [
            (self.failed, "failed"),
            (self.timed_out, "over their time limit"),
            (self.running, "in flight"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::PluginCalls;

    #[test]
    fn only_what_happened_is_said() {
        let calls = PluginCalls::new().ended(1_204);
        assert_eq!(calls.to_string(), "1204 since this process started");
        let calls = calls.failed(3).timed_out(1).running(2);
        assert_eq!(
            calls.to_string(),
            "1204 since this process started, 3 failed, 1 over their time limit, 2 in flight"
        );
    }
}
