//! What existing clients do, through the compatible service of a real `tko` on PostgreSQL, with one
//! and with eight clients: `cargo bench --package tko-benches --bench compatible -- --help`.
//!
//! Commits, WAL syncs and buffers are the server's own counters. Sessions report their counts when
//! they end, so each job has a separate service; what an idle one costs in the same time is
//! subtracted. These figures do not depend on the machine; times do.

mod jobs;
mod purge;
mod rest;
mod service;
mod table;

use clap::Parser;
use jobs::Job;
use service::{Counters, Service};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use table::{Figures, Table};
use tko_postgres_server::PostgresServer;

/// Measures calls of existing clients on PostgreSQL, on a private server that is removed afterwards.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench --package tko-benches --bench compatible --")]
struct Arguments {
    /// The `tko` to measure
    #[arg(long, value_name = "PATH", default_value = "target/release/tko")]
    tko: PathBuf,
    /// Measure this `tko` too, in alternating rounds: the version before
    #[arg(long, value_name = "PATH")]
    against: Option<PathBuf>,
    /// Number of deployments; at least 10,000, so that every list has 5,000
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    size: usize,
    /// Numbers of clients at once
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 8])]
    clients: Vec<usize>,
    /// Number of rounds
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Calls of each client in a round, except for lists, which are fewer
    #[arg(long, value_name = "N", default_value_t = 100)]
    calls: usize,
    /// Also purge this many deployments that are placed, each on its own site
    #[arg(long, value_name = "N", default_value_t = 0)]
    purge: usize,
    /// Also deploy this many, one after the other: the time of each step while nothing else is to do
    #[arg(long, value_name = "N", default_value_t = 0)]
    rest: usize,
    /// Only jobs whose name contains this; "none" for none
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One version, and its database.
struct Version {
    name: &'static str,
    tko: PathBuf,
    database: String,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let server = tko_benches::postgres_server();
    let extension = "CREATE EXTENSION pg_stat_statements";
    server.psql("postgres", extension).expect("it is preloaded");
    let paths = [
        arguments.against.clone().map(|path| ("before", path)),
        Some(("now", arguments.tko.clone())),
    ];
    let mut versions = Vec::new();
    for (name, tko) in paths.into_iter().flatten() {
        let database = server.create_database().expect("a database");
        let version = Version {
            name,
            tko,
            database,
        };
        let service = Service::start(&version.tko, &server.url(&version.database)).await;
        jobs::fill(&service, arguments.size.max(10_000)).await;
        service.stop(&server, &version.database).await;
        versions.push(version);
    }
    let analyze = |version: &Version| server.psql(&version.database, "VACUUM ANALYZE");
    versions
        .iter()
        .for_each(|version| drop(analyze(version).expect("it runs")));
    let mut table = Table::default();
    for clients in &arguments.clients {
        let jobs = Job::all().into_iter();
        for job in jobs.filter(|job| job.name().contains(&arguments.only)) {
            for _ in 0..arguments.rounds {
                for version in &versions {
                    let calls = job.calls(arguments.calls);
                    let figures = measure(&server, version, job, *clients, calls).await;
                    table.add(*clients, &job.name(), version.name, figures);
                }
            }
            eprintln!("{} with {clients}: done", job.name());
        }
    }
    for _ in 0..arguments.rounds.min(arguments.purge) {
        for version in &versions {
            let figures = purge::measure(&server, &version.tko, arguments.purge).await;
            table.add(
                1,
                "purge, for each placed deployment",
                version.name,
                figures,
            );
        }
    }
    for _ in 0..arguments.rounds.min(arguments.rest) {
        for version in &versions {
            for (step, figures) in rest::measure(&server, &version.tko, arguments.rest).await {
                table.add(1, step, version.name, figures);
            }
        }
    }
    println!("{table}");
}

/// Measures one job once: its calls, less an idle service in the same time.
async fn measure(
    server: &PostgresServer,
    version: &Version,
    job: Job,
    clients: usize,
    calls: usize,
) -> Figures {
    let url = server.url(&version.database);
    let inputs = if job.takes_inputs() {
        let service = Service::start(&version.tko, &url).await;
        let inputs = jobs::inputs(&service, clients * calls).await;
        service.stop(server, &version.database).await;
        inputs
    } else {
        Vec::new()
    };
    let start = Counters::read(server, &version.database);
    let service = Service::start(&version.tko, &url).await;
    jobs::warm(&service, job, clients).await;
    let begun = Instant::now();
    let times: Vec<Duration> = jobs::run(&service, job, clients, calls, inputs).await;
    let took = begun.elapsed();
    service.stop(server, &version.database).await;
    let busy = Counters::read(server, &version.database);
    let service = Service::start(&version.tko, &url).await;
    jobs::warm(&service, job, clients).await;
    tokio::time::sleep(took).await;
    service.stop(server, &version.database).await;
    let idle = Counters::read(server, &version.database);
    Figures::of(times, (busy - start) - (idle - busy))
}
