//! Ctrl-C and SIGTERM while a command reads a source: the programs that read it end, and its
//! temporary files are removed.
//!
//! tokio replaces the default effect of a signal for the life of the process. So the signals must
//! also end a command that has read its sources.

use anyhow::Context;
use std::fmt;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Number of sources that are being read.
static READING: AtomicUsize = AtomicUsize::new(0);

/// Starts the task that ends the process between two reads.
static WATCHING: Once = Once::new();

/// A signal ended the command.
#[derive(Debug)]
pub(crate) struct Interrupted {
    /// The exit code: 128 and the number of the signal, as shells have it.
    pub(crate) code: u8,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted by a signal")
    }
}

impl std::error::Error for Interrupted {}

/// Awaits `read`. If Ctrl-C or SIGTERM comes first, drops it.
///
/// Only for commands that have no other reaction to signals.
///
/// # Errors
/// [`Interrupted`]: a signal came.
pub(crate) async fn unless_interrupted<T>(read: impl Future<Output = T>) -> anyhow::Result<T> {
    let mut signals = EndSignals::listen()?;
    let watch = EndSignals::listen()?;
    let _reading = Reading::begin();
    WATCHING.call_once(|| {
        tokio::spawn(watch.end_process());
    });
    tokio::select! {
        biased;
        code = signals.next() => Err(Interrupted { code }.into()),
        done = read => Ok(done),
    }
}

/// Counts a source while it is being read.
struct Reading;

impl Reading {
    fn begin() -> Self {
        READING.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        READING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The signals that end a command.
struct EndSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl EndSignals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot receive signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal. Returns the exit code.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }

    /// Ends the process at a signal, unless a source is being read.
    async fn end_process(mut self) {
        loop {
            let code = self.next().await;
            if READING.load(Ordering::SeqCst) == 0 {
                std::process::exit(code.into());
            }
        }
    }
}
