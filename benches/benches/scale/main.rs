//! What does it cost to have more? All backends at two sizes, one table: `cargo bench`.
//!
//! Sizes are given by `-- --size 10000,1000000`, or by `TKO_BENCH_SIZES` with the same text.
//! PostgreSQL is a private server that this program starts and removes. SQLite is a file in the folder
//! for temporary files, and SQLite alone creates one row of the size of a deployment in one table:
//! what the disk and the library allow.

mod jobs;
mod raw_sqlite;
mod table;

use clap::Parser;
use jobs::{JOBS, Job, measure};
use std::sync::Arc;
use table::Table;
use tko_backend_memory::Memory;
use tko_backend_postgres::Postgres;
use tko_backend_sqlite::{Sqlite, SqliteSettings};
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
    /// Measure only this backend
    #[arg(long, value_name = "BACKEND", value_parser = ["memory", "sqlite", "postgresql"])]
    backend: Option<String>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() {
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
            one(&backend, "SQLite", *size, &mut table).await;
            for job in [Job::Create, Job::Batch] {
                let rate = raw_sqlite::creations(folder.path(), job, *size).await;
                table.add(job, "SQLite alone", *size, rate);
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

/// Fills an empty backend and measures all jobs on it.
async fn one(backend: &Arc<dyn Backend>, name: &'static str, size: usize, table: &mut Table) {
    eprintln!(
        "{name}: filling it with {size} deployments, then {} jobs",
        JOBS.len()
    );
    sample::templates(backend).await;
    sample::load(backend, 0..size).await;
    for job in JOBS {
        let speed = measure(job, backend, size).await;
        table.add(job, name, size, speed.rate());
    }
}
