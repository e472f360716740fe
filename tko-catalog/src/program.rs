//! Programs, run within limits: git, and the programs of inventories.

use crate::settings::CatalogSettings;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{self, ErrorKind};
use std::process::Stdio;
use std::time::Duration;
use tko_core::{Error, Result};
use tko_plugin::channel::Channel;
use tko_plugin::log::LogSubject;
use tko_plugin::process::{self, Bounds, Program};
use tko_plugin::{Failure, LogChannel};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// Maximum number of bytes of standard error that are logged for one run of an inventory's program.
const MAX_LOG: usize = 1 << 20;

/// Maximum number of bytes of standard error that an error shows.
const MAX_ERRORS: usize = 4 << 10;

/// A running program, the leader of a process group. If this is dropped before the program was
/// reaped, the whole group is killed: the programs that a shell started would otherwise go on.
struct ProgramGroup(Child);

impl ProgramGroup {
    /// The number of the group; `None` once the program was reaped, because the number may then
    /// belong to another group.
    fn number(&self) -> Option<Pid> {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        id.and_then(Pid::from_raw)
    }

    fn kill(&self) {
        if let Some(group) = self.number() {
            // This fails only if no process of the group is left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for ProgramGroup {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The standard output of a program that ended with 0, at most `most` bytes.
///
/// The program has no standard input. Its process group is killed if the future is dropped.
///
/// # Errors
/// - `NotImplemented`: the program is not installed.
/// - `Unavailable`: it failed; the source has the end of its standard error.
/// - `BadArgument`: its output is too large.
pub(crate) async fn output(mut command: Command, what: &str, most: usize) -> Result<Vec<u8>> {
    command.stdin(Stdio::null());
    output_with_input(command, what, most).await
}

/// The same, with the standard input that the command has.
///
/// # Errors
/// As [`output`].
pub(crate) async fn output_with_input(
    mut command: Command,
    what: &str,
    most: usize,
) -> Result<Vec<u8>> {
    let name = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let child = command
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut group = ProgramGroup(child.map_err(|error| not_started(&name, error))?);
    let (stdout, stderr) = (group.0.stdout.take(), group.0.stderr.take());
    let failed = |error: io::Error| Error::unavailable(what.to_owned(), error);
    let read = async {
        let mut out = Vec::new();
        let is_whole = drain(stdout, &mut out, most).await.map_err(failed)?;
        if is_whole {
            return Ok(out);
        }
        // The program is killed when it is dropped.
        let why = format!("{name} wrote more than {most} bytes; name a part of the source");
        Err(Error::bad(what.to_owned(), why))
    };
    let errors = async {
        let (mut stderr, mut errors) = (stderr, Vec::new());
        drain(stderr.as_mut(), &mut errors, MAX_ERRORS)
            .await
            .map_err(failed)?;
        if let Some(stderr) = &mut stderr {
            // A full pipe would block the program.
            tokio::io::copy(stderr, &mut tokio::io::sink())
                .await
                .map_err(failed)?;
        }
        Ok(errors)
    };
    let (out, errors) = tokio::try_join!(read, errors)?;
    let status = group.0.wait().await.map_err(failed)?;
    if status.success() {
        return Ok(out);
    }
    let errors = String::from_utf8_lossy(&errors);
    let why = match errors.trim() {
        "" => format!("{name} ended with {status}"),
        errors => format!("{name} ended with {status}: {errors}"),
    };
    Err(Error::unavailable(what.to_owned(), why))
}

/// Reads at most `most` bytes. Returns whether the stream ended within the limit.
async fn drain(
    pipe: Option<impl AsyncRead + Unpin>,
    into: &mut Vec<u8>,
    most: usize,
) -> io::Result<bool> {
    let Some(pipe) = pipe else { return Ok(true) };
    let most = most as u64;
    pipe.take(most + 1).read_to_end(into).await?;
    Ok(into.len() as u64 <= most)
}

/// The standard output of an inventory's program that ended with 0, at most `most` bytes.
///
/// The program has no standard input; lines of its standard error are logged. When this returns or
/// is dropped, all processes that the program started are killed; those that left its process
/// group, only on Linux.
///
/// # Errors
/// - `NotImplemented`: the program is not installed.
/// - `Unavailable`: it failed; the source has the end of its standard error.
/// - `BadArgument`: its output is too large.
pub(crate) async fn inventory_output(
    inventory: &str,
    program: &Program,
    command: io::Result<Command>,
    most: usize,
    settings: &CatalogSettings,
) -> Result<Vec<u8>> {
    let what = format!("run {}", program.path);
    let bounds = Bounds {
        // The whole sync has the same limit. It ends first and drops this call, which kills the
        // program at once, so there is no grace period.
        timeout: settings.timeout,
        grace: Duration::ZERO,
        output: most,
        log: MAX_LOG,
    };
    let subject = LogSubject {
        plugin: format!("inventory|{inventory}"),
        ..LogSubject::default()
    };
    let channel = Channel::open(LogChannel::Stderr)
        .await
        .map_err(|error| Error::internal("open a channel for log lines", error))?;
    let output = process::run(program, command, &[], &bounds, channel, &subject).await;
    match output {
        Ok(output) => Ok(output.stdout),
        Err(Failure::Start { source, .. }) if source.kind() == ErrorKind::NotFound => {
            Err(not_started(&program.path, source))
        }
        Err(failure @ Failure::TooMuch { .. }) => Err(Error::bad(what, failure.to_string())),
        Err(failure) => Err(Error::unavailable(what, failure)),
    }
}

/// The error of a program that cannot be started.
pub(crate) fn not_started(name: &str, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::NotImplemented(
            format!("the program {name:?} is not installed; install it").into(),
        ),
        _ => Error::internal(format!("start {name}"), error),
    }
}
