//! Programs, run within limits: git, and the programs of inventories.

use crate::settings::CatalogSettings;
use std::io::{self, ErrorKind};
use std::process::Stdio;
use std::time::Duration;
use tko_core::{Error, Result};
use tko_plugin::channel::Channel;
use tko_plugin::log::LogSubject;
use tko_plugin::process::{self, Bounds, Program};
use tko_plugin::{Failure, LogChannel};
use tko_source::{program_not_started, run_program};
use tokio::process::Command;

/// Maximum number of bytes of standard error that are logged for one run of an inventory's program.
const MAX_LOG: usize = 1 << 20;

/// The standard output of a program that ended with 0, at most `most` bytes.
///
/// The program has no standard input. Its process group is killed if the future is dropped.
///
/// # Errors
/// - `NotImplemented`: the program is not installed.
/// - `Unavailable`: it failed; the source has the beginning and the end of its standard error.
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
    run_program(command, what, most).await?.success(what)
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
            Err(program_not_started(&program.path, source))
        }
        Err(failure @ Failure::TooMuch { .. }) => Err(Error::bad(what, failure.to_string())),
        Err(failure) => Err(Error::unavailable(what, failure)),
    }
}
