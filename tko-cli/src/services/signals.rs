//! Signals that stop a server: SIGTERM, Ctrl-C, and SIGHUP of a terminal that is closed. The first
//! stops it gracefully. SIGTERM or Ctrl-C after it stops it at once; SIGHUP does not, because a
//! closed terminal often sends it twice.

use anyhow::{Context, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receives signals. No signal is lost between two waits.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// `None` if the process ignores it.
    hangup: Option<Signal>,
}

impl Signals {
    /// Starts to receive signals; from now on they do not kill the process.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot receive signals");
        Ok(Self {
            hangup: listen_to_hangup()?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        let Self {
            terminate,
            interrupt,
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
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = hung_up => {}
        }
    }

    /// Awaits `end`, unless SIGTERM or Ctrl-C comes first.
    ///
    /// # Errors
    /// Such a signal came: work in flight is left until its lease expires.
    pub(crate) async fn unless_repeated<T>(
        &mut self,
        end: impl Future<Output = T>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            ended = end => return Ok(ended),
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        bail!("stopped at once by a second signal; work in flight is left until its lease expires")
    }
}

/// Starts to receive SIGHUP. `None` if the process ignores it: under `nohup` it must stay ignored.
pub(crate) fn listen_to_hangup() -> anyhow::Result<Option<Signal>> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if ignores_hangup(&status) {
        return Ok(None);
    }
    let hangup = signal(SignalKind::hangup()).context("cannot receive signals")?;
    Ok(Some(hangup))
}

/// Whether a process ignores SIGHUP, by the text of its `/proc/PID/status`. Where that does not
/// exist, the answer is yes: the signal then keeps its effect.
fn ignores_hangup(status: &str) -> bool {
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Bit 0 is signal 1, SIGHUP.
    ignored.is_none_or(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::ignores_hangup;

    #[test]
    fn an_ignored_hangup_stays_ignored() {
        for (mask, ignored) in [
            ("0000000000001000", false),
            ("0000000000001001", true),
            ("0000000000000002", false),
        ] {
            let status = format!("Name:\ttko\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\n");
            assert_eq!(ignores_hangup(&status), ignored, "{mask}");
        }
        // Not Linux.
        assert!(ignores_hangup(""));
    }
}
