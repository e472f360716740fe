//! What does it cost to have more? All backends at two sizes, one table: `cargo bench`.
//!
//! Sizes are given by `-- --size 10000,1000000`, or by `TKO_BENCH_SIZES` with the same text.
//! PostgreSQL is a private server that this program starts and removes. SQLite is a file in the folder
//! for temporary files; it alternates in rounds with a table of SQLite without TKO. The bars of SQLite
//! follow the table, and a bar that is missed is an error with `--bars`.

mod jobs;
mod raw_sqlite;
mod table;

use clap::Parser;
use jobs::{JOBS, measure};
use raw_sqlite::RawTable;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use table::Table;
use tko_backend_memory::Memory;
use tko_backend_postgres::Postgres;
use tko_backend_sqlite::{Sqlite, SqliteSettings};
use tko_benches::speed::{Speed, in_turn};
use tko_benches::{clock, sample};
use tko_core::Backend;
use tko_postgres_server::PostgresServer;

/// How often a job is measured.
const ROUNDS: usize = 3;

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
    /// Measure only this backend
    #[arg(long, value_name = "BACKEND", value_parser = ["memory", "sqlite", "postgresql"])]
    backend: Option<String>,
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
    let wanted = |name: &str| arguments.backend.as_ref().is_none_or(|only| only == name);
    let mut table = Table::new(&arguments.size);
    if wanted("memory") {
        for size in &arguments.size {
            let backend: Arc<dyn Backend> = Arc::new(memory());
            one(&backend, "memory", *size, &mut table).await;
        }
    }
    if wanted("sqlite") {
        for size in &arguments.size {
            let folder = tempfile::tempdir().expect("a folder");
            let settings = SqliteSettings::new(folder.path().join("tko.db"));
            let sqlite = Sqlite::open(clock(), settings).await.expect("a backend");
            let backend: Arc<dyn Backend> = Arc::new(sqlite);
            eprintln!("SQLite: filling it, and a table without TKO, with {size} rows");
            fill(&backend, *size).await;
            table.bytes(
                *size,
                bytes(folder.path()) / u64::try_from(*size).expect("few"),
            );
            let raw = RawTable::filled(folder.path(), *size).await;
            for job in JOBS {
                let with = || measure(job, &backend, *size);
                let (with, without) = in_turn(ROUNDS, with, || raw.measure(job)).await;
                table.add(job, "SQLite", *size, with.rate());
                table.add(job, "SQLite alone", *size, without.rate());
            }
        }
    }
    if wanted("postgresql") {
        let server = tko_benches::postgres_server();
        for size in &arguments.size {
            let backend = postgres(&server).await;
            one(&backend, "PostgreSQL", *size, &mut table).await;
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

/// Bytes of the files of a SQLite store.
fn bytes(folder: &Path) -> u64 {
    let sizes = ["tko.db", "tko.db-wal"].map(|name| std::fs::metadata(folder.join(name)));
    sizes.into_iter().flatten().map(|file| file.len()).sum()
}

async fn fill(backend: &Arc<dyn Backend>, size: usize) {
    sample::templates(backend).await;
    sample::load(backend, 0..size).await;
}

/// Fills an empty backend and measures all jobs on it.
async fn one(backend: &Arc<dyn Backend>, name: &'static str, size: usize, table: &mut Table) {
    eprintln!(
        "{name}: filling it with {size} deployments, then {} jobs",
        JOBS.len()
    );
    fill(backend, size).await;
    for job in JOBS {
        let mut speed = Speed::default();
        for _ in 0..ROUNDS {
            speed.add(measure(job, backend, size).await);
        }
        table.add(job, name, size, speed.rate());
    }
}
