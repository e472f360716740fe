//! Programs that read sources, run within limits.

use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{self, ErrorKind};
use std::process::{ExitStatus, Stdio};
use tko_core::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// Maximum number of bytes of the beginning of standard error in an error, and of its end.
const MAX_ERRORS: usize = 4 << 10;

/// Maximum number of bytes of the beginning of standard error that are kept while the program runs,
/// and of its end. It leaves room for secrets that are masked.
const MAX_KEPT: usize = 64 << 10;

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
    /// Its standard error, without white space around it. A long one is cut to its first and last
    /// 4 KiB, because programs write their reason last.
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
pub async fn run_program(command: Command, what: &str, most: usize) -> Result<ProgramOutput> {
    run_program_with(command, what, most, None).await
}

/// As [`run_program`]; masks a secret in the standard error.
///
/// # Errors
/// As [`run_program`].
pub(crate) async fn run_program_with(
    mut command: Command,
    what: &str,
    most: usize,
    secret: Option<&str>,
) -> Result<ProgramOutput> {
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
    let errors = async { ends(stderr).await.map_err(failed) };
    let (output, errors) = tokio::try_join!(read, errors)?;
    let status = group.0.wait().await.map_err(failed)?;
    let mut errors = String::from_utf8_lossy(&errors).trim().to_owned();
    // Before the text is cut, which could leave a part of the secret.
    if let Some(secret) = secret.filter(|secret| !secret.is_empty()) {
        errors = errors.replace(secret, "***");
    }
    let errors = shortened(errors);
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

/// Reads a stream to its end, because a full pipe would block the program. Keeps at least its first
/// and last [`MAX_KEPT`] bytes.
async fn ends(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let Some(mut pipe) = pipe else {
        return Ok(kept);
    };
    while pipe.read_buf(&mut kept).await? > 0 {
        if kept.len() > 4 * MAX_KEPT {
            kept.drain(MAX_KEPT..kept.len() - MAX_KEPT);
        }
    }
    Ok(kept)
}

/// The first and last [`MAX_ERRORS`] bytes of a text, or the text if it has no more.
fn shortened(text: String) -> String {
    if text.len() <= 2 * MAX_ERRORS {
        return text;
    }
    let first = &text[..text.floor_char_boundary(MAX_ERRORS)];
    let last = &text[text.ceil_char_boundary(text.len() - MAX_ERRORS)..];
    format!("{first}\n…\n{last}")
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
    use super::{MAX_ERRORS, run_program, run_program_with};
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
        let script = "yes error | head -c 1000000 >&2; echo the reason >&2; exit 3";
        let run = run_program(shell(script), "count", 6).await;
        let run = run.expect("it ran");
        assert!(run.errors.len() <= 2 * MAX_ERRORS + 5);
        let error = run.success("count").expect_err("it failed").chain();
        assert!(error.contains("exit status: 3: error"), "{error}");
        assert!(error.ends_with("the reason"), "{error}");
    }

    #[tokio::test]
    async fn a_secret_is_masked_where_the_messages_are_cut() {
        let space = 2 * MAX_ERRORS;
        for before in [MAX_ERRORS - 3, space] {
            let after = space - before + MAX_ERRORS - 3;
            let script = format!("printf '%0{before}dhunter2%0{after}d' 0 0 >&2");
            let run = run_program_with(shell(&script), "print", 6, Some("hunter2")).await;
            let errors = run.expect("it ran").errors;
            assert!(
                !errors.contains("hun") && !errors.contains("er2"),
                "{before}"
            );
        }
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
