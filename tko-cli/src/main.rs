//! `tko`: the command line, the servers and the demo of TKO.
//!
//! This crate is a reference assembly. `cli` parses arguments, `services` wires crates together,
//! and every rule is in another crate. Results go to standard output, everything else to standard
//! error.

// Doc comments of arguments are help texts, printed as they are.
#![allow(clippy::doc_markdown)]

mod arguments;
mod audit;
mod cli;
mod connect;
mod console;
mod dashboard;
mod demo;
mod entity;
mod environment;
mod exit;
#[cfg(feature = "catalog")]
mod export;
mod filter;
mod function;
mod interrupt;
mod kube;
mod logging;
mod output;
mod printable;
mod services;
mod source;
mod token;
mod tosca;
mod validate;

use crate::console::to_stderr;
use clap::CommandFactory;
use std::process::ExitCode;
use std::time::Duration;

/// The memory backend allocates and frees many small objects. With the system allocator, each
/// operation takes ten times as long at a million deployments.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The longest wait for tasks that are dropped when the program ends.
const DROPPING: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    // The TLS crates leave the choice of the cryptography provider to the program.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        to_stderr(format_args!(
            "tko: cannot choose the TLS cryptography: it is already chosen"
        ));
        return ExitCode::FAILURE;
    }
    let command = environment::with_variables(cli::Cli::command());
    let line = arguments::CommandLine::new(std::env::args_os(), &command);
    for flag in &line.ignored {
        to_stderr(format_args!(
            "warning: {flag} has no effect; it is accepted for scripts of the original"
        ));
    }
    let parsed = command
        .try_get_matches_from(line.arguments)
        .and_then(|matches| cli::Cli::of_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        // Prints help to stdout and errors to stderr; exits with 0 or 2.
        Err(error) => error.exit(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            to_stderr(format_args!("tko: cannot start the runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(cli.run());
    // Tasks that are still running were cancelled, and their grace period is over. When they are
    // dropped, they kill the processes of plugins.
    runtime.shutdown_timeout(DROPPING);
    exit::code(result)
}
