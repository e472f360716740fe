//! Runs one program within limits and leaves no process behind.
//!
//! The program leads its own process group. However the call ends, the group is killed before its
//! leader is reaped, while the group number cannot belong to another process yet. Processes that left
//! the group, as daemons do with `setsid`, are found by a mark in their environment and killed, too.
//! Dropping a call kills all of them at once.
//!
//! The whole run is one future: no task or thread outlives it.

use crate::channel::Channel;
use crate::failure::Failure;
use crate::log::{LineLog, LogSubject, Stream};
pub use crate::program::Program;
use crate::stderr::Tail;
use rustix::process::{Pid, Signal};
use std::future::Future;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::{sleep, timeout};

mod daemons;
mod pipes;
pub(crate) mod running;

use pipes::{TooMuch, collect, feed, follow, pump};
use running::{Running, exited, send};

/// How long pipes may stay open after the program has ended, because one of its children holds
/// them.
pub(crate) const LINGER: Duration = Duration::from_millis(100);

/// Programs at a time in this process, of all callers of [`place`] together. Preparers work on more
/// deployments at a time than a machine may have memory for programs: helm alone takes some 50 MB.
const PROGRAMS: usize = 32;

static PLACES: Semaphore = Semaphore::const_new(PROGRAMS);

/// One of the places for programs in this process, free again when this is dropped.
#[derive(Debug)]
pub struct ProgramPlace {
    _permit: Option<SemaphorePermit<'static>>,
}

/// Waits until this process may start another program, in order of the calls.
///
/// Time limits of programs start afterwards. `limit` bounds the wait, so that programs that hang
/// cannot keep all their callers waiting; give it the time limit of the program.
///
/// # Errors
/// [`Failure::NoProcess`]: there was no place within `limit`.
pub async fn place(program: &str, limit: Duration) -> Result<ProgramPlace, Failure> {
    let permit = timeout(limit, PLACES.acquire()).await;
    let permit = permit.map_err(|_| Failure::NoProcess {
        program: program.to_owned(),
        after: limit,
        remedy: "run more controllers, because each runs at most 32 programs at a time",
    })?;
    Ok(ProgramPlace {
        // It fails only when the semaphore is closed, which nothing does.
        _permit: permit.ok(),
    })
}

/// Limits of one run.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Time limit from start to end.
    pub timeout: Duration,
    /// Time between SIGTERM and SIGKILL after the time limit.
    pub grace: Duration,
    /// Maximum bytes of stdout.
    pub output: usize,
    /// Maximum bytes of log events, for stderr and for the log channel each.
    pub log: usize,
}

/// The output of a run that ended by itself.
#[derive(Clone, Debug)]
pub struct Output {
    /// The whole of stdout, at most [`Bounds::output`] bytes.
    pub stdout: Vec<u8>,
    /// The end of stderr, at most [`Tail::MOST`] bytes.
    pub stderr: Tail,
}

/// Runs a program: `input` goes to stdin, stdout is returned, stderr and the channel go to the log.
///
/// `command` starts the program; [`environment::command`](crate::environment::command) makes it. A
/// program that does not read its stdin is not an error.
///
/// # Errors
/// See [`Failure`]. In every case the program and its process group are gone.
pub async fn run(
    program: &Program,
    command: io::Result<Command>,
    input: &[u8],
    bounds: &Bounds,
    channel: Channel,
    subject: &LogSubject,
) -> Result<Output, Failure> {
    let (code, output) = run_to_exit(program, command, input, bounds, channel, subject).await?;
    if code == 0 {
        return Ok(output);
    }
    Err(Failure::Exit {
        program: program.path.clone(),
        code,
        stderr: output.stderr,
    })
}

/// Runs a program as [`run`] does; returns its exit code, 0 to 255, with its output.
///
/// It is for programs whose output counts also when they exit with another code than 0.
///
/// # Errors
/// As [`run`], but never [`Failure::Exit`].
pub async fn run_to_exit(
    program: &Program,
    command: io::Result<Command>,
    input: &[u8],
    bounds: &Bounds,
    channel: Channel,
    subject: &LogSubject,
) -> Result<(i32, Output), Failure> {
    let started = command.and_then(Running::start);
    let mut running = started.map_err(|error| Failure::start(&program.path, error))?;
    let mut stdout = Vec::new();
    let mut stderr = Tail::default();
    let end = {
        let log = LineLog::new(subject, Stream::Log, bounds.log);
        let errors = LineLog::new(subject, Stream::Stderr, bounds.log);
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
        Exit::TooMuch => Err(Failure::TooMuch {
            program,
            limit: bounds.output,
            stderr,
        }),
        Exit::Late => Err(Failure::Timeout {
            program,
            after: bounds.timeout,
            stderr,
        }),
        Exit::Exited => {
            let status = status.map_err(Failure::here("learn how the program ended"))?;
            match (status.code(), status.signal()) {
                (Some(code), _) => Ok((code, Output { stdout, stderr })),
                (None, signal) => Err(Failure::Signal {
                    program,
                    signal: signal.unwrap_or_default(),
                    stderr,
                }),
            }
        }
    }
}

enum Exit {
    Exited,
    Late,
    TooMuch,
}

/// Waits for the program while the pump runs, then for what is left in the pipes.
async fn supervise(
    group: Pid,
    mut pump: Pin<&mut impl Future<Output = Result<(), TooMuch>>>,
    close: oneshot::Sender<()>,
    bounds: &Bounds,
) -> io::Result<Exit> {
    let mut exited = pin!(exited(group));
    let mut late = pin!(sleep(bounds.timeout));
    let mut pumping = true;
    let mut end = Exit::Exited;
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
                    return Ok(Exit::TooMuch);
                }
            }
            () = &mut late => {
                if matches!(end, Exit::Late) {
                    break;
                }
                // During the grace period the program may still write why it took so long.
                end = Exit::Late;
                send(group, Signal::TERM);
                late.set(sleep(bounds.grace));
            }
        }
    }
    if matches!(end, Exit::Late) {
        send(group, Signal::KILL);
    }
    drop(close);
    if !pumping {
        return Ok(end);
    }
    match timeout(LINGER, pump).await {
        Ok(Err(TooMuch)) if matches!(end, Exit::Exited) => Ok(Exit::TooMuch),
        // Either everything was read, or a child holds the pipes open and the program's own output
        // was read.
        _ => Ok(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn programs_wait_for_a_place_within_their_time_limit() {
        let limit = Duration::from_secs(30);
        let mut places = Vec::new();
        for _ in 0..PROGRAMS {
            places.push(place("fn", limit).await.expect("free"));
        }
        let failure = place("fn", limit).await.expect_err("none is free");
        let words = failure.to_string();
        assert!(words.contains("no process was free within 30 s"), "{words}");
        assert!(words.contains(&format!("at most {PROGRAMS} ")), "{words}");
        let mut next = pin!(place("fn", limit));
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        places.pop();
        assert!(futures_util::poll!(next).is_ready());
    }
}
