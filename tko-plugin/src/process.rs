//! Runs one program: input in, output out, within limits, and leaving nothing behind.
//!
//! The program leads a process group of its own. However the call ends, the group is killed before
//! its leader is waited for, so that its number cannot have become another's; whoever wants to
//! outlive the call must leave the group (`setsid`). A call that is dropped kills the group at
//! once.
//!
//! Everything happens in the one future: no task or thread outlives it.

use crate::channel::Channel;
use crate::failure::Failure;
use crate::log::{Log, Stream, Subject};
use crate::stderr::Tail;
use rustix::process::{Pid, Signal};
use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::iter;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

mod pipes;
mod running;

use pipes::{TooMuch, collect, feed, follow, pump};
use running::{Running, exited, send};

/// How long pipes may stay open after their program has ended, because a child of it holds them.
const LINGER: Duration = Duration::from_millis(100);

/// What is run.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// A path, or a name to be found in `PATH`. Relative paths count from the current directory.
    pub path: String,
    /// In order, as they are: no shell sees them.
    pub arguments: Vec<String>,
}

/// What a run may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From its start to its end.
    pub timeout: Duration,
    /// From SIGTERM to SIGKILL once its time is over.
    pub grace: Duration,
    /// Most bytes of stdout.
    pub output: usize,
    /// Most bytes of log events, of stderr and of the log each.
    pub log: usize,
}

/// What a run came to that ended with exit code 0.
#[derive(Clone, Debug)]
pub struct Output {
    /// All of it.
    pub stdout: Vec<u8>,
    /// Its end.
    pub stderr: Tail,
}

impl Program {
    /// A command with this environment: that of this process; for `*.py` programs with the `bin`
    /// of the Python environment, if it is there, first in `PATH`.
    fn command(&self, python_env: Option<&Path>) -> io::Result<Command> {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments);
        if let Some(path) = self.search_path(python_env)? {
            command.env("PATH", path);
        }
        Ok(command)
    }

    fn search_path(&self, python_env: Option<&Path>) -> io::Result<Option<OsString>> {
        let is_python = Path::new(&self.path)
            .extension()
            .is_some_and(|extension| extension == "py");
        let bin = match python_env.map(|env| env.join("bin")) {
            Some(bin) if is_python && bin.is_dir() => bin,
            _ => return Ok(None),
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let rest = std::env::split_paths(&path).filter(|part| !part.as_os_str().is_empty());
        std::env::join_paths(iter::once(bin).chain(rest))
            .map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    }
}

/// Runs a program: `input` to its stdin (a program that does not read it is no error), stdout to
/// the caller, stderr and the channel to the log.
///
/// # Errors
/// As [`Failure`] tells. Whatever happened, the program is gone, and so is its process group.
pub async fn run(
    program: &Program,
    python_env: Option<&Path>,
    input: &[u8],
    bounds: &Bounds,
    channel: Channel,
    subject: &Subject,
) -> Result<Output, Failure> {
    let command = program.command(python_env);
    let started = command.and_then(Running::start);
    let mut running = started.map_err(|error| Failure::start(&program.path, error))?;
    let mut stdout = Vec::new();
    let mut stderr = Tail::default();
    let end = {
        let log = Log::new(subject, Stream::Log, bounds.log);
        let errors = Log::new(subject, Stream::Stderr, bounds.log);
        let (close, closing) = oneshot::channel();
        let pump = pin!(pump(
            collect(running.child.stdout.take(), &mut stdout, bounds.output),
            async {
                let log_lines = channel.read(closing, &log);
                let pipes = (running.child.stdin.take(), running.child.stderr.take());
                let feed = feed(pipes.0, input);
                let follow = follow(pipes.1, &errors, &mut stderr);
                tokio::join!(log_lines, feed, follow);
            },
        ));
        supervise(running.group, pump, close, bounds).await
    };
    running.kill();
    let status = running.wait().await;
    let program = program.path.clone();
    match end.map_err(Failure::here("watch the program"))? {
        End::TooMuch => Err(Failure::TooMuch {
            program,
            limit: bounds.output,
            stderr,
        }),
        End::Late => Err(Failure::Timeout {
            program,
            after: bounds.timeout,
            stderr,
        }),
        End::Exited => {
            let status = status.map_err(Failure::here("learn how the program ended"))?;
            match (status.code(), status.signal()) {
                (Some(0), _) => Ok(Output { stdout, stderr }),
                (Some(code), _) => Err(Failure::Exit {
                    program,
                    code,
                    stderr,
                }),
                (None, signal) => Err(Failure::Signal {
                    program,
                    signal: signal.unwrap_or_default(),
                    stderr,
                }),
            }
        }
    }
}

enum End {
    Exited,
    Late,
    TooMuch,
}

/// Waits for the program, while the pump runs, and for what is left in the pipes.
async fn supervise(
    group: Pid,
    mut pump: Pin<&mut impl Future<Output = Result<(), TooMuch>>>,
    close: oneshot::Sender<()>,
    bounds: &Bounds,
) -> io::Result<End> {
    let mut exited = pin!(exited(group));
    let mut late = pin!(sleep(bounds.timeout));
    let mut pumping = true;
    let mut end = End::Exited;
    loop {
        tokio::select! {
            biased;
            gone = &mut exited => {
                gone?;
                break;
            }
            pumped = &mut pump, if pumping => {
                pumping = false;
                if pumped.is_err() {
                    return Ok(End::TooMuch);
                }
            }
            () = &mut late => {
                if matches!(end, End::Late) {
                    break;
                }
                // Asked to end, it may still say why it took so long.
                end = End::Late;
                send(group, Signal::TERM);
                late.set(sleep(bounds.grace));
            }
        }
    }
    if matches!(end, End::Late) {
        send(group, Signal::KILL);
    }
    drop(close);
    if !pumping {
        return Ok(end);
    }
    match timeout(LINGER, pump).await {
        Ok(Err(TooMuch)) if matches!(end, End::Exited) => Ok(End::TooMuch),
        // All was read, or a child holds the pipes open: what the program wrote was read.
        _ => Ok(end),
    }
}
