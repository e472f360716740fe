//! A running program, its process group, and how it ends.

use super::daemons;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// How long a killed program may take to disappear; only a hanging kernel takes longer.
const REAP: Duration = Duration::from_secs(5);

/// A running program. Dropping it before it was reaped kills its process group.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) group: Pid,
    /// The mark of the processes of this run in their environment.
    mark: String,
    /// Whether processes that left the group were killed.
    swept: bool,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        let mark = daemons::mark();
        let child = command
            .env(daemons::VARIABLE, &mark)
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
        Ok(Self {
            child,
            group,
            mark,
            swept: false,
        })
    }

    /// Kills the process group. Safe only before the leader is reaped: later the group number may
    /// belong to another process.
    pub(crate) fn kill(&self) {
        if self.child.id().is_some() {
            send(self.group, Signal::KILL);
        }
    }

    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let ended = timeout(REAP, self.child.wait()).await;
        let mark = self.mark.clone();
        self.swept = tokio::task::spawn_blocking(move || daemons::kill(&mark))
            .await
            .is_ok();
        ended?
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if !self.swept {
            let mark = std::mem::take(&mut self.mark);
            // Reading all processes takes too long for a thread that serves others.
            std::thread::spawn(move || daemons::kill(&mark));
        }
    }
}

/// Ready when the process has ended. The process is not reaped yet, so it still holds its number.
pub(crate) async fn exited(process: Pid) -> io::Result<()> {
    // Subscribe before the first check, so that no exit is missed between check and wait.
    let mut ends = signal(SignalKind::child())?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while waitid(WaitId::Pid(process), options)?.is_none() {
        if ends.recv().await.is_none() {
            return Err(io::Error::other("no more signals are received"));
        }
    }
    Ok(())
}

pub(crate) fn send(group: Pid, signal: Signal) {
    // This fails only if no process of the group is left.
    let _ = kill_process_group(group, signal);
}
