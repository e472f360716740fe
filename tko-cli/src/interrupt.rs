//! Signals that end a command while it reads a source: the programs that read it end, and its
//! temporary files are removed. The signals are Ctrl-C, SIGTERM, SIGQUIT and SIGHUP.
//!
//! tokio replaces the default effect of a signal for the life of the process. So the signals must
//! also end a command that has read its sources.

use crate::services::signals::listen_to_hangup;
use anyhow::Context;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Once};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Number of sources that are being read.
static READING: AtomicUsize = AtomicUsize::new(0);

/// Starts the task that ends the process between two reads.
static WATCHING: Once = Once::new();

/// The exit code of the last signal that the watching task received.
///
/// A read whose listener is registered just after the signal would otherwise miss it, while the task
/// takes that read for one that saw the signal.
static RECEIVED: LazyLock<watch::Sender<Option<u8>>> = LazyLock::new(|| watch::Sender::new(None));

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

/// Awaits `read`. If a signal that ends the command comes first, drops it.
///
/// Only for commands that have no other reaction to signals.
///
/// # Errors
/// [`Interrupted`]: a signal came.
pub(crate) async fn unless_interrupted<T>(read: impl Future<Output = T>) -> anyhow::Result<T> {
    let mut signals = CommandSignals::listen()?;
    let watch = CommandSignals::listen()?;
    let _reading = Reading::begin();
    WATCHING.call_once(|| {
        tokio::spawn(watch.end_process());
    });
    tokio::select! {
        biased;
        code = signals.next() => Err(Interrupted { code }.into()),
        code = received(&RECEIVED) => Err(Interrupted { code }.into()),
        done = read => Ok(done),
    }
}

/// Waits for an exit code, unless there is one.
async fn received(sender: &watch::Sender<Option<u8>>) -> u8 {
    let mut receiver = sender.subscribe();
    loop {
        let code = *receiver.borrow_and_update();
        if let Some(code) = code {
            return code;
        }
        if receiver.changed().await.is_err() {
            // The sender was dropped, so no signal comes.
            std::future::pending::<()>().await;
        }
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
struct CommandSignals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    /// `None` if the process ignores it.
    hangup: Option<Signal>,
}

impl CommandSignals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot receive signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            quit: listen(SignalKind::quit())?,
            hangup: listen_to_hangup()?,
        })
    }

    /// Waits for the next signal. Returns the exit code.
    async fn next(&mut self) -> u8 {
        let Self {
            interrupt,
            terminate,
            quit,
            hangup,
        } = self;
        let hung_up = async move {
            if let Some(hangup) = hangup {
                hangup.recv().await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = hung_up => 129,
            _ = interrupt.recv() => 130,
            _ = quit.recv() => 131,
            _ = terminate.recv() => 143,
        }
    }

    /// Ends the process at a signal, unless a source is being read.
    async fn end_process(mut self) {
        loop {
            let code = self.next().await;
            // Before the count is read: a read that begins later sees the code.
            RECEIVED.send_replace(Some(code));
            if READING.load(Ordering::SeqCst) == 0 {
                std::process::exit(code.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::received;
    use futures_util::FutureExt;
    use tokio::sync::watch;

    #[test]
    fn a_signal_before_the_read_ends_it() {
        let sender = watch::Sender::new(None);
        assert_eq!(received(&sender).now_or_never(), None);
        sender.send_replace(Some(143));
        assert_eq!(received(&sender).now_or_never(), Some(143));
    }
}
