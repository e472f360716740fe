//! A started program, its process group, and its end.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// How long a killed program may take to be gone; longer only if the kernel itself hangs.
const REAP: Duration = Duration::from_secs(5);

/// A started program. Dropped before it was waited for, it is killed with its group.
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) group: Pid,
}

impl Running {
    pub(super) fn start(mut command: Command) -> io::Result<Self> {
        let child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .expect("a process that was not waited for has an id");
        Ok(Self { child, group })
    }

    /// Kills the group. Only before the leader was waited for is the number sure to be its own.
    pub(super) fn kill(&self) {
        if self.child.id().is_some() {
            send(self.group, Signal::KILL);
        }
    }

    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        timeout(REAP, self.child.wait()).await?
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ready when the process has ended, which it then still holds its number for: it is not waited
/// for yet.
pub(super) async fn exited(process: Pid) -> io::Result<()> {
    // Before the first look, so that no end comes between look and listening.
    let mut ends = signal(SignalKind::child())?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while waitid(WaitId::Pid(process), options)?.is_none() {
        if ends.recv().await.is_none() {
            return Err(io::Error::other("no more signals are received"));
        }
    }
    Ok(())
}

pub(super) fn send(group: Pid, signal: Signal) {
    // It fails only if none of the group is left.
    let _ = kill_process_group(group, signal);
}
