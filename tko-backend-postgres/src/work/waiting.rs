//! Waiting for something to become due.

use std::time::Duration;
use tokio::sync::watch;

/// Wakes all who wait; each looks for itself.
#[derive(Debug)]
pub(crate) struct Waiting(watch::Sender<u64>);

impl Default for Waiting {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

/// Hears of every wake from when it was made.
pub(super) struct Ear(watch::Receiver<u64>);

impl Waiting {
    /// Something may be due now, or earlier than was thought.
    pub(crate) fn wake(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn ear(&self) -> Ear {
        Ear(self.0.subscribe())
    }
}

impl Ear {
    /// Forgets what was heard.
    pub(super) fn clear(&mut self) {
        self.0.mark_unchanged();
    }

    /// Until something is heard, or so much time has passed.
    pub(super) async fn listen(&mut self, most: Duration) {
        let _ = tokio::time::timeout(most, self.0.changed()).await;
    }
}
