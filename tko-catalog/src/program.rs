//! Programs, run within limits.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io::{self, ErrorKind};
use std::process::Stdio;
use tko_core::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// Environment variables that the programs of inventories inherit, the same as those of plugins. A
/// final `*` matches any ending. Others may be secrets of this process.
const INHERITED: [&str; 14] = [
    "HOME",
    "KUBECONFIG",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "LOGNAME",
    "PATH",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_*",
];

/// Maximum number of bytes of standard error that an error shows.
const MAX_ERRORS: usize = 4 << 10;

/// A program with a clean environment: it inherits the variables [`INHERITED`], and those that `also`
/// lists.
pub(crate) fn clean(program: &str, also: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for (name, value) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| is_inherited(name, &INHERITED) || is_inherited(name, also))
        {
            command.env(name, value);
        }
    }
    command
}

fn is_inherited(name: &str, patterns: &[&str]) -> bool {
    patterns
        .iter()
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == *pattern,
        })
}

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

    /// Waits until the program has ended, and kills the processes that it left in its group. The
    /// program is not reaped yet, so it still holds the number of the group.
    async fn end(&mut self) -> io::Result<()> {
        if let Some(program) = self.number() {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let wait = move || waitid(WaitId::Pid(program), options).map(|_| ());
            tokio::task::spawn_blocking(wait).await??;
        }
        self.kill();
        Ok(())
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
    command: Command,
    what: &str,
    most: usize,
) -> Result<Vec<u8>> {
    run(command, what, most, false).await
}

/// As [`output`]. At the end, the processes that the program left in its group are killed.
///
/// # Errors
/// As [`output`].
pub(crate) async fn output_of_group(
    mut command: Command,
    what: &str,
    most: usize,
) -> Result<Vec<u8>> {
    command.stdin(Stdio::null());
    run(command, what, most, true).await
}

async fn run(mut command: Command, what: &str, most: usize, ends_group: bool) -> Result<Vec<u8>> {
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
    if ends_group {
        group.end().await.map_err(failed)?;
    }
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

/// The error of a program that cannot be started.
pub(crate) fn not_started(name: &str, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::NotImplemented(
            format!("the program {name:?} is not installed; install it").into(),
        ),
        _ => Error::internal(format!("start {name}"), error),
    }
}

#[cfg(test)]
mod tests {
    use super::{INHERITED, is_inherited};

    #[test]
    fn programs_inherit_no_secret() {
        for (name, expected) in [
            ("PATH", true),
            ("PATHS", false),
            ("LC_ALL", true),
            ("TKO_BACKEND_CONNECTION", false),
            ("ANSIBLE_CONFIG", false),
        ] {
            assert_eq!(is_inherited(name, &INHERITED), expected, "{name}");
        }
        assert!(is_inherited("ANSIBLE_CONFIG", &["ANSIBLE_*"]));
    }
}
