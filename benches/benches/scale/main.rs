//! What does it cost to have more? All backends at two sizes, one table: `cargo bench`.
//!
//! Sizes are given by `-- --size 10000,1000000`, or by `TKO_BENCH_SIZES` with the same text.
//! PostgreSQL is a private server that this program starts and removes. SQLite is a file in the
//! folder for temporary files. Its sizes alternate in rounds with one another and with a table of
//! SQLite without TKO. The bars of SQLite follow the table, and a bar that is missed is an error
//! with `--bars`.

mod jobs;
mod raw_sqlite;
mod sqlite;
mod table;

use clap::Parser;
use jobs::{JOBS, measure};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use table::Table;
use tko_backend_memory::Memory;
use tko_backend_postgres::Postgres;
use tko_benches::speed::Speed;
use tko_benches::{clock, sample};
use tko_core::Backend;
use tko_postgres_server::PostgresServer;

/// Measures all backends at two or more sizes and prints one table with the ratios.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench --")]
struct Arguments {
    /// How many deployments there are, in ascending order
    #[arg(
        long,
        value_name = "N",
        env = "TKO_BENCH_SIZES",
        value_delimiter = ',',
        default_values_t = [5_000, 50_000]
    )]
    size: Vec<usize>,
    /// Measure only these backends
    #[arg(
        long,
        value_name = "BACKEND",
        value_delimiter = ',',
        value_parser = ["memory", "sqlite", "postgresql"]
    )]
    backend: Vec<String>,
    /// How often each job is measured
    #[arg(long, value_name = "N", default_value = "3")]
    rounds: NonZeroUsize,
    /// Fail if SQLite misses a bar
    #[arg(long)]
    bars: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    arguments.size.sort_unstable();
    arguments.size.dedup();
    let wanted = |name: &str| {
        arguments.backend.is_empty() || arguments.backend.iter().any(|only| only == name)
    };
    let rounds = arguments.rounds.get();
    let mut table = Table::new(&arguments.size);
    if wanted("memory") {
        for size in &arguments.size {
            let backend: Arc<dyn Backend> = Arc::new(memory());
            one(&backend, "memory", *size, rounds, &mut table).await;
        }
    }
    if wanted("sqlite") {
        sqlite::sqlite(&arguments.size, rounds, &mut table).await;
    }
    if wanted("postgresql") {
        let server = tko_benches::postgres_server();
        for size in &arguments.size {
            let backend = postgres(&server).await;
            one(&backend, "PostgreSQL", *size, rounds, &mut table).await;
        }
    }
    print!("{table}");
    let bars = table.bars();
    if !bars.is_empty() {
        println!("\nSQLite:");
    }
    for bar in &bars {
        println!("{bar}");
    }
    let is_missed = bars.iter().any(|bar| !bar.is_met());
    ExitCode::from(u8::from(arguments.bars && is_missed))
}

fn memory() -> Memory {
    Memory::new(clock(), tko_backend_memory::MemorySettings::default())
}

/// A backend on an empty database.
async fn postgres(server: &PostgresServer) -> Arc<dyn Backend> {
    let database = server.create_database().expect("a database");
    let settings = tko_backend_postgres::PostgresSettings::new(server.url(&database));
    Arc::new(Postgres::connect(settings).await.expect("a backend"))
}

async fn fill(backend: &Arc<dyn Backend>, size: usize) {
    sample::templates(backend).await;
    sample::load(backend, 0..size).await;
}

/// Fills an empty backend and measures all jobs on it, each in a number of rounds.
async fn one(
    backend: &Arc<dyn Backend>,
    name: &'static str,
    size: usize,
    rounds: usize,
    table: &mut Table,
) {
    eprintln!(
        "{name}: filling it with {size} deployments, then {} jobs",
        JOBS.len()
    );
    fill(backend, size).await;
    for job in JOBS {
        let mut speed = Speed::default();
        for _ in 0..rounds {
            speed.add(measure(job, backend, size).await);
        }
        table.add(job, name, size, speed.rate());
    }
}
