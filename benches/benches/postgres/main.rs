//! The PostgreSQL backend against the raw limits of its server, the gRPC server against the
//! backend, and a whole fleet of processes. Each is one run:
//! `cargo bench --package tko-benches --bench postgres -- --help`.
//!
//! Compare ratios and buffers; rates depend on the machine and the hour.

mod backend;
mod fleet;
mod growth;
mod jobs;
mod memory;
mod pages;
mod plots;
mod profile;
mod raw;
mod remote;
mod report;
mod role;
mod sites;

use clap::{Parser, ValueEnum};
use report::Report;
use role::Role;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Measures TKO on PostgreSQL, on a private server that is removed afterwards.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench --package tko-benches --bench postgres --")]
struct Arguments {
    /// Measure this
    #[arg(long, value_enum, default_value_t = Mode::Grpc)]
    mode: Mode,
    /// Number of deployments; several sizes are measured one after the other in the same run
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [10_000, 100_000])]
    size: Vec<usize>,
    /// Fleet: time that the simulated plugins take for each deployment and each site, in ms
    #[arg(long, value_name = "MS", default_value_t = 5)]
    latency: u64,
    /// Fleet: number of preparers, and of schedulers
    #[arg(long, value_name = "N", default_value_t = 2)]
    workers: usize,
    /// Fleet: also print where the time goes: by statement, by call and by process
    #[arg(long)]
    profile: bool,
    /// Write figures (JSON) and plots (SVG) into this folder
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// Role of this process in a fleet; it reads its partner's address from standard input.
    #[arg(long, hide = true, value_enum)]
    role: Option<Role>,
}

/// A set of jobs to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// The backend alone, against raw limits
    Backend,
    /// The backend, then the same jobs through a gRPC server
    Grpc,
    /// Data server, preparers and schedulers as processes, on one topology
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
        role.play(latency, arguments.profile).await;
        return ExitCode::SUCCESS;
    }
    let server = tko_benches::postgres_server();
    let mut report = Report::default();
    match arguments.mode {
        Mode::Backend | Mode::Grpc => {
            let through = arguments.mode == Mode::Grpc;
            growth::measure(&server, &arguments.size, through, &mut report).await;
        }
        Mode::Fleet => {
            let fleet = fleet::Fleet {
                workers: arguments.workers,
                latency,
                profile: arguments.profile,
            };
            fleet.measure(&server, &arguments.size, &mut report).await;
        }
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
