//! Signals that stop a server: SIGTERM and Ctrl-C. The first stops it gracefully, the second at
//! once.

use anyhow::{Context, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receives signals. No signal is lost between two waits.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts to receive signals; from now on they do not kill the process.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot receive signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Awaits `end`, unless another signal comes first.
    ///
    /// # Errors
    /// Another signal came: work in flight is left until its lease expires.
    pub(crate) async fn unless_repeated<T>(
        &mut self,
        end: impl Future<Output = T>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            ended = end => Ok(ended),
            () = self.next() => bail!("stopped at once by a second signal; work in flight is left until its lease expires"),
        }
    }
}
