//! The processes of a running server, and their end.
//!
//! A server must not outlive the process that uses it, not even one that is killed or that ends
//! without dropping what is `static`. So it is the child of a small shell that reads its standard
//! input, a pipe whose other end is here and nowhere else (it is closed on exec): the pipe ends when
//! this process does, and then the shell stops the server. Being its parent, the shell cannot
//! mistake another process for it. (A signal at the death of the parent, as Linux has it, would come at
//! the end of the *thread* that started the server, and be there on Linux only.)
//!
//! The standard output of the server is a pipe, too, to here. Nothing is written to it, but all
//! processes of the server inherit it, so it ends when the last of them is gone.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Runs the server, carries out orders, and ends when the server has ended and no more can come.
///
/// - With the end of the pipe it is to end at once. SIGQUIT does that, but is ignored (the shell
///   sees to that) until the server has set its handlers; SIGTERM comes first and ends a server
///   that is not so far.
/// - KILL is for all processes, at once as in a crash of the machine. While the first is stopped it
///   reaps no child, so that the numbers are theirs.
/// - A killed server leaves its lock file, and in its seventh line the number of a segment of shared
///   memory, which would stay until the next start from these data.
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

/// How to end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    /// In order: sessions are ended, and everything is written.
    Fast,
    /// At once; the next start recovers.
    Immediate,
    /// By SIGKILL, all of them.
    Kill,
}

/// A server and the shell that watches over it.
#[derive(Debug)]
pub(crate) struct Processes {
    runner: Child,
    /// None when it has ended.
    orders: Option<ChildStdin>,
    /// Never says anything; disconnected when all processes of the server are gone.
    gone: Receiver<()>,
}

impl Processes {
    /// Starts `postgres` with these arguments, by a command that runs a shell where the data are.
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
        // In a process group of its own, which no Ctrl-C reaches.
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
            // It ends either way.
            let _ = io::copy(&mut open, &mut io::sink());
            drop(here);
        });
        Ok(Self {
            runner,
            orders,
            gone,
        })
    }

    /// Waits so long at most, and says whether all processes of the server are gone.
    pub(crate) fn gone(&self, within: Duration) -> bool {
        self.gone.recv_timeout(within) == Err(RecvTimeoutError::Disconnected)
    }

    /// Gives an order and waits so long at most; says whether all processes are gone.
    pub(crate) fn end(&mut self, order: Order, within: Duration) -> io::Result<bool> {
        // Nobody is left to send a signal to if it has ended by itself.
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
