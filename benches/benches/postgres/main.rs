//! The PostgreSQL backend against the raw limits of the server that it runs on, the gRPC server
//! against the backend, and a whole fleet of processes, each measured in one run:
//! `cargo bench --package tko-benches --bench postgres -- --help`.
//!
//! Ratios and buffers count; rates are of this machine, of this moment.

mod backend;
mod fleet;
mod growth;
mod jobs;
mod memory;
mod pages;
mod plots;
mod raw;
mod remote;
mod report;
mod role;
mod sample;
mod sites;

use clap::{Parser, ValueEnum};
use report::Report;
use role::Role;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tko_postgres_server::{Server, Settings};

/// Measures TKO on PostgreSQL, on a server of its own that is gone afterwards.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench --package tko-benches --bench postgres --")]
struct Arguments {
    /// What is measured
    #[arg(long, value_enum, default_value_t = Mode::Grpc)]
    mode: Mode,
    /// How many deployments there are, one size after the other in the same run
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [10_000, 100_000])]
    size: Vec<usize>,
    /// Fleet: how long the simulated plugins take for a deployment, and for a site, in ms
    #[arg(long, value_name = "MS", default_value_t = 5)]
    latency: u64,
    /// Write figures (JSON) and plots (SVG) into this folder
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
    /// What a process of the fleet does: with whom it works is said on its standard input.
    #[arg(long, hide = true, value_enum)]
    role: Option<Role>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// The backend alone, against raw limits
    Backend,
    /// The backend, then the same jobs through a gRPC server
    Grpc,
    /// Data server, 2 preparers and 2 schedulers as processes, on one topology
    Fleet,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Grpc => "grpc",
            Self::Fleet => "fleet",
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    arguments.size.sort_unstable();
    arguments.size.dedup();
    let latency = Duration::from_millis(arguments.latency);
    if let Some(role) = arguments.role {
        role.play(latency).await;
        return ExitCode::SUCCESS;
    }
    let server = server();
    let mut report = Report::default();
    match arguments.mode {
        Mode::Backend | Mode::Grpc => {
            let through = arguments.mode == Mode::Grpc;
            growth::measure(&server, &arguments.size, through, &mut report).await;
        }
        Mode::Fleet => fleet::measure(&server, &arguments.size, latency, &mut report).await,
    }
    report.print();
    if let Some(folder) = arguments.output
        && let Err(error) = plots::write(&folder, arguments.mode.name(), &report)
    {
        eprintln!("cannot write into {}: {error}", folder.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// As one is set up for work, on a disk that keeps its word.
fn server() -> Server {
    let options = [
        ("shared_preload_libraries", "pg_stat_statements"),
        ("max_wal_size", "4GB"),
    ];
    Server::start(Settings {
        durable: true,
        shared_buffers: "2GB".to_owned(),
        options: options
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Settings::default()
    })
    .expect("a server of its own")
}
