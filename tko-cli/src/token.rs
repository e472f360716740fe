//! `tko token`: makes tokens of callers.

use crate::console::Console;
use anyhow::Context;
use clap::Subcommand;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tko_core::Error;
use tko_grpc::server::{caller_line, new_token};

/// Make tokens of callers
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token, print it once, and print its line for the server's file of callers
    New {
        /// Name of the caller, as history and logs show it
        name: String,
        /// Role: viewer, operator, author, worker or admin; may be restricted, such as
        /// operator(site=india/**,metadata.region=south); may be repeated
        #[arg(long = "role", value_name = "ROLE", required = true)]
        roles: Vec<String>,
        /// Append the line to this file instead of printing it; running servers read it again
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

impl TokenCommand {
    /// Prints the token alone on standard output if the line goes to a file; otherwise the line.
    pub(crate) fn run(&self, console: &Console<'_>) -> anyhow::Result<()> {
        let Self::New { name, roles, file } = self;
        let token = new_token()?;
        let line = caller_line(name, &token, roles)?;
        let mut out = std::io::stdout();
        if let Some(file) = file {
            append(file, &line)?;
            writeln!(out, "{token}")?;
            console.done(&format!("added {name} to {}", file.display()));
        } else {
            writeln!(out, "token: {token}")?;
            writeln!(out, "line: {line}")?;
        }
        Ok(())
    }
}

/// Appends a line to a file that only its owner can read if it is new.
fn append(path: &Path, line: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let context = || format!("cannot write the file of callers {}", path.display());
    let mut file = options.open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied => {
            Error::bad("file", format!("{}: {error}", path.display())).into()
        }
        _ => anyhow::Error::from(error),
    })?;
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_string(&mut text))
        .with_context(context)?;
    // One write, so that a server that reads meanwhile sees whole lines.
    let separator = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    file.write_all(format!("{separator}{line}\n").as_bytes())
        .with_context(context)
}
