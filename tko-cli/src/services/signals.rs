//! Being told to end: SIGTERM or Ctrl-C, once to end in order, twice to end at once.

use anyhow::{Context, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears signals from the moment it is made, so that none falls between two waits.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts to listen: from now on the signals do not kill the process.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals to stop");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Lets the end take its time, unless a signal comes meanwhile.
    ///
    /// # Errors
    /// One did: what was still in flight is left to its lease.
    pub(crate) async fn unless_again<T>(
        &mut self,
        end: impl Future<Output = T>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            ended = end => Ok(ended),
            () = self.next() => bail!("told to stop twice: ended at once, and work in flight is left to its lease"),
        }
    }
}
