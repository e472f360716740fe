//! The processes of a running server, and how they are stopped.
//!
//! A server must not outlive the process that uses it, even if that process is killed or ends
//! without dropping its statics. So the server is the child of a small shell. The shell reads its
//! standard input, a pipe from this process that no other process holds (it is closed on exec).
//! When this process ends, the pipe ends, and the shell stops the server. As its parent, the shell
//! cannot confuse it with another process. (Linux can send a signal at the death of a parent, but
//! it comes at the end of the *thread* that started the server.)
//!
//! The standard output of the server is a pipe to this process as well. Nothing is written to it,
//! but all processes of the server inherit it. So it ends with the last of them.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Runs the server, follows orders, and ends when the server has ended and no order can follow.
///
/// - When the pipe ends, the server has to end at once. SIGQUIT does that, but the server ignores it (the shell makes sure of that) until its handlers are set. SIGTERM comes first, and ends a server that has not set them.
/// - KILL is for all processes at once, as in a crash of the machine. While the first process is stopped, it reaps no child, so the process ids stay valid.
/// - A killed server leaves a lock file. Its seventh line has the number of a shared memory segment, which would stay until the next start with the same data.
const RUNNER: &str = r#"
lock=$1
shift
"$@" </dev/null &
server=$!
trap '' HUP INT TERM
exec >/dev/null
while read -r order; do
    children=
    if test "$order" = KILL; then
        kill -s STOP "$server"
        read -r children <"/proc/$server/task/$server/children"
    fi
    kill -s "$order" "$server" $children
done
kill -s TERM "$server"
kill -s QUIT "$server"
wait "$server"
if test -e "$lock"; then
    ipcrm -m "$(sed -n '7s/.* //p' "$lock")"
fi
"#;

/// How to end a server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    /// Ends all sessions, and writes all data.
    Fast,
    /// Ends at once; the next start recovers.
    Immediate,
    /// Ends all processes with SIGKILL.
    Kill,
}

/// A server, and the shell that controls it.
#[derive(Debug)]
pub(crate) struct Processes {
    runner: Child,
    /// `None` after the end.
    orders: Option<ChildStdin>,
    /// Receives nothing; it is disconnected when all processes of the server have ended.
    gone: Receiver<()>,
}

impl Processes {
    /// Starts `postgres` with these arguments. `shell` is a command that runs a shell with access
    /// to the data.
    pub(crate) fn start(
        mut shell: Command,
        postgres: &Path,
        data: &Path,
        parameters: &[String],
        log: File,
    ) -> io::Result<Self> {
        shell
            .args(["-c", RUNNER, "runner"])
            .arg(data.join("postmaster.pid"))
            .arg(postgres)
            .arg("-D")
            .arg(data);
        for parameter in parameters {
            shell.arg("-c").arg(parameter);
        }
        // In its own process group, so that Ctrl-C does not reach it.
        let mut runner = shell
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let orders = runner.stdin.take();
        let mut open = runner.stdout.take().expect("it is piped");
        let (here, gone) = channel::<()>();
        thread::spawn(move || {
            // An error means the end as well.
            let _ = io::copy(&mut open, &mut io::sink());
            drop(here);
        });
        Ok(Self {
            runner,
            orders,
            gone,
        })
    }

    /// Waits up to this long for the end of all processes of the server. Returns whether they have
    /// ended.
    pub(crate) fn gone(&self, within: Duration) -> bool {
        self.gone.recv_timeout(within) == Err(RecvTimeoutError::Disconnected)
    }

    /// Gives an order, and waits up to this long. Returns whether all processes have ended.
    pub(crate) fn end(&mut self, order: Order, within: Duration) -> io::Result<bool> {
        // If the server ended by itself, no process is left to signal.
        if !self.gone(Duration::ZERO) {
            let word = match order {
                Order::Fast => "INT\n",
                Order::Immediate => "QUIT\n",
                Order::Kill => "KILL\n",
            };
            let orders = self.orders.as_mut().expect("it is taken last");
            orders.write_all(word.as_bytes())?;
            if !self.gone(within) {
                return Ok(false);
            }
        }
        drop(self.orders.take());
        self.runner.wait()?;
        Ok(true)
    }
}
