//! `tko`: the command line, the servers and the demo of TKO.
//!
//! A reference assembly: arguments are parsed (`cli`), crates are wired together (`services`), and
//! every rule is elsewhere. Data go to standard output, everything else to standard error.

// Doc comments of arguments are their help: printed as they are, not Markdown.
#![allow(clippy::doc_markdown)]

mod cli;
mod connect;
mod console;
mod demo;
mod entity;
mod environment;
mod exit;
mod filter;
mod kube;
mod logging;
mod output;
mod services;
mod source;
mod validate;

use clap::{CommandFactory, FromArgMatches};
use std::process::ExitCode;

/// A store in memory makes and drops very many small things for a long time: the common system
/// allocator then takes ten times as long for each at a million deployments.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The crates that talk TLS leave the choice of its cryptography to the program.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("tko: something else has chosen the cryptography of TLS already");
        return ExitCode::FAILURE;
    }
    let command = environment::with_variables(cli::Cli::command());
    let parsed = command
        .try_get_matches()
        .and_then(|matches| cli::Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        // Prints help to stdout and mistakes to stderr, and exits with 0 or 2.
        Err(error) => error.exit(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tko: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(cli.run());
    // What still runs was told to stop and had its time.
    runtime.shutdown_background();
    exit::code(result)
}
