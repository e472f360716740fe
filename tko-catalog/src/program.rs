//! Programs, run within limits.

use std::io::ErrorKind;
use std::process::Stdio;
use tko_core::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// Maximum number of bytes of standard error that an error shows.
const MAX_ERRORS: usize = 4 << 10;

/// The standard output of a program that ended with 0, at most `most` bytes.
///
/// The program has no standard input, and is killed if the future is dropped.
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
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| not_started(&name, error))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let failed = |error| Error::unavailable(what.to_owned(), error);
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
    let status = child.wait().await.map_err(failed)?;
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
) -> std::io::Result<bool> {
    let Some(pipe) = pipe else { return Ok(true) };
    let most = most as u64;
    pipe.take(most + 1).read_to_end(into).await?;
    Ok(into.len() as u64 <= most)
}

/// The error of a program that cannot be started.
pub(crate) fn not_started(name: &str, error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::NotImplemented(
            format!("the program {name:?} is not installed; install it").into(),
        ),
        _ => Error::internal(format!("start {name}"), error),
    }
}
