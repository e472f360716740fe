//! The signal that work may be due, within a process.

use std::time::Duration;
use tokio::sync::watch;

/// Wakes all waiting claims. Each of them looks for work itself.
#[derive(Debug)]
pub(crate) struct WorkSignal(watch::Sender<u64>);

impl Default for WorkSignal {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

/// Receives every signal since it was created or [cleared](Self::clear).
pub(super) struct WorkListener(watch::Receiver<u64>);

impl WorkSignal {
    /// Signals that work may be due, or due earlier than expected.
    pub(crate) fn wake(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn listener(&self) -> WorkListener {
        WorkListener(self.0.subscribe())
    }
}

impl WorkListener {
    /// Discards the signals so far.
    pub(super) fn clear(&mut self) {
        self.0.mark_unchanged();
    }

    /// Waits for a signal, but not longer than this.
    pub(super) async fn wait(&mut self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.0.changed()).await;
    }
}
