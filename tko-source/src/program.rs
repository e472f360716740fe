//! Programs that read sources, run within limits.

use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{self, ErrorKind};
use std::process::{ExitStatus, Stdio};
use tko_core::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// Maximum number of bytes of standard error that are kept.
const MAX_ERRORS: usize = 4 << 10;

/// A running program, the leader of a process group. If this is dropped before the program was
/// reaped, the whole group is killed: the programs that it started would otherwise go on.
struct ProgramGroup(Child);

impl ProgramGroup {
    /// The number of the group; `None` once the program was reaped, because the number may then
    /// belong to another group.
    fn number(&self) -> Option<Pid> {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        id.and_then(Pid::from_raw)
    }
}

impl Drop for ProgramGroup {
    fn drop(&mut self) {
        if let Some(group) = self.number() {
            // This fails only if no process of the group is left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The output of a program that has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProgramOutput {
    /// The name of the program.
    pub name: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub output: Vec<u8>,
    /// The first 4 KiB of its standard error, without white space around them.
    pub errors: String,
}

impl ProgramOutput {
    /// The standard output, if the program ended with 0. `what` says what it did.
    ///
    /// # Errors
    /// `Unavailable`: it failed; the source has its standard error.
    pub fn success(self, what: &str) -> Result<Vec<u8>> {
        let Self {
            name,
            status,
            output,
            errors,
        } = self;
        if status.success() {
            return Ok(output);
        }
        let why = if errors.is_empty() {
            format!("{name} ended with {status}")
        } else {
            format!("{name} ended with {status}: {errors}")
        };
        Err(Error::unavailable(what.to_owned(), why))
    }
}

/// Runs a program that prints at most `most` bytes. `what` says what it does, for errors.
///
/// The program leads a process group of its own, so Ctrl-C on a terminal does not reach it. If the
/// future is dropped, the group is killed.
///
/// # Errors
/// - `NotImplemented`: the program is not installed.
/// - `BadArgument`: its output is too large.
/// - `Unavailable`: its output cannot be read.
pub async fn run_program(mut command: Command, what: &str, most: usize) -> Result<ProgramOutput> {
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
    let mut group = ProgramGroup(child.map_err(|error| program_not_started(&name, error))?);
    let (stdout, stderr) = (group.0.stdout.take(), group.0.stderr.take());
    let failed = |error: io::Error| Error::unavailable(what.to_owned(), error);
    let read = async {
        let mut output = Vec::new();
        let is_whole = drain(stdout, &mut output, most).await.map_err(failed)?;
        if is_whole {
            return Ok(output);
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
    let (output, errors) = tokio::try_join!(read, errors)?;
    let status = group.0.wait().await.map_err(failed)?;
    let errors = String::from_utf8_lossy(&errors).trim().to_owned();
    Ok(ProgramOutput {
        name,
        status,
        output,
        errors,
    })
}

/// Reads at most `most` bytes and one more. Returns whether the stream ended within the limit.
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

/// The error of a program that cannot be started.
pub fn program_not_started(name: &str, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::NotImplemented(
            format!("the program {name:?} is not installed; install it").into(),
        ),
        _ => Error::internal(format!("start {name}"), error),
    }
}

#[cfg(test)]
mod tests {
    use super::run_program;
    use std::io::Read;
    use std::time::Duration;
    use tokio::process::Command;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn output_is_limited_and_a_failure_has_the_messages_of_the_program() {
        let run = run_program(shell("echo 12345"), "count", 6).await;
        let output = run.and_then(|run| run.success("count"));
        assert_eq!(output.expect("an output"), b"12345\n");
        let error = run_program(shell("yes"), "count", 6).await;
        let error = error.expect_err("it prints too much");
        assert!(error.to_string().contains("more than 6 bytes"), "{error}");
        let script = "yes error | head -c 1000000 >&2; exit 3";
        let run = run_program(shell(script), "count", 6).await;
        let run = run.expect("it ran");
        assert!(run.errors.len() <= 4_097, "{}", run.errors.len());
        let error = run.success("count").expect_err("it failed").chain();
        assert!(error.contains("exit status: 3: error"), "{error}");
    }

    #[tokio::test]
    async fn the_processes_of_a_dropped_program_are_killed() {
        // The program and the one that it starts hold the pipe open.
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = shell("sh -c 'echo started >&0; exec sleep 100'; true");
        command.stdin(writer);
        let started = tokio::task::spawn_blocking(move || {
            let mut line = [0; 8];
            reader.read_exact(&mut line).map(|()| reader)
        });
        let mut reader = tokio::select! {
            started = started => started.expect("no panic").expect("a line"),
            ended = run_program(command, "wait", 1) => panic!("it ended: {ended:?}"),
        };
        let ended = tokio::task::spawn_blocking(move || reader.read_to_end(&mut Vec::new()));
        let ended = tokio::time::timeout(Duration::from_mins(1), ended).await;
        let rest = ended.expect("all processes end").expect("no panic");
        assert_eq!(rest.expect("the end of the pipe"), 0);
    }
}
