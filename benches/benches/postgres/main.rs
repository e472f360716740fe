//! The PostgreSQL backend against the raw limits of the server that it runs on, and the gRPC server
//! against the backend, measured in the same run: `cargo bench --package tko-benches --bench postgres -- [--size N]`.
//!
//! Ratios and buffers count; rates are of this machine, of this moment.

mod fleet;
mod jobs;
mod raw;
mod remote;
mod report;

use report::Report;
use std::sync::Arc;
use std::time::Duration;
use tko_backend_postgres::{Postgres, Settings};
use tko_core::{Backend, Data};
use tko_postgres_server::Server;

#[tokio::main]
async fn main() {
    let mut size = 100_000_usize;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--size" => {
                let text = arguments.next().unwrap_or_default();
                size = text.parse().expect("--size takes a number of deployments");
            }
            // What `cargo bench` adds.
            "--bench" => {}
            other => panic!("{other} is not known; use --size N"),
        }
    }
    let server = Server::start(tko_postgres_server::Settings {
        durable: true,
        shared_buffers: "2GB".to_owned(),
        options: vec![
            (
                "shared_preload_libraries".to_owned(),
                "pg_stat_statements".to_owned(),
            ),
            ("max_wal_size".to_owned(), "4GB".to_owned()),
        ],
        ..tko_postgres_server::Settings::default()
    })
    .expect("a server of its own");
    let database = server.create_database().expect("a database");
    let url = server.url(&database);
    server
        .psql(&database, "CREATE EXTENSION pg_stat_statements")
        .expect("statements are counted");
    let postgres = Postgres::connect(Settings::new(&url)).await;
    let backend: Arc<dyn Backend> = Arc::new(postgres.expect("a store"));
    let pool = sqlx::PgPool::connect(&url).await.expect("a connection");

    let mut report = Report::new(size);
    let small = 10_000.min(size);
    fleet::templates(&backend).await;
    fleet::load(&backend, 0..small).await;
    let first = jobs::create(&backend).await;
    report.rate("create, 8 callers, 10 k there", first, None);
    fleet::load(&backend, small..size).await;
    raw::settle(&pool).await;

    let tiny = raw::tiny_commits(&pool).await;
    report.rate("raw: tiny commits, 8 connections", tiny, None);
    let insert = raw::inserts(&pool).await;
    report.rate("raw: insert id and body, 8 connections", insert, None);
    let copy = raw::copy_in(&pool).await;
    report.rate("raw: COPY in, 10,000 a transaction", copy, None);
    let create = jobs::create(&backend).await;
    report.rate(
        "create, 8 callers",
        create,
        Some(("of raw insert", insert, 0.30)),
    );
    report.ratio("create at this size against 10 k", create / first, 0.8);
    let batch = jobs::create_in_batches(&backend).await;
    report.rate(
        "create in batches of 100, 1 caller",
        batch,
        Some(("of raw COPY", copy, 0.20)),
    );
    for page in jobs::pages(&backend, &pool, size).await {
        report.page(&page);
    }
    let out = raw::copy_out(&pool).await;
    report.rate("raw: COPY BINARY out in id order", out, None);
    let stream = jobs::stream(|list| backend.clone().pages(list)).await;
    report.rate("stream of all", stream, Some(("of COPY BINARY", out, 0.75)));
    // Before what follows fills the table of due work with what is dead.
    report.bytes(&raw::sizes(&pool).await);
    let share = size * 2 / 5;
    let claims = jobs::claims(&backend, share).await;
    report.rate(
        "claim and settle, 8 workers, 100 each",
        claims,
        Some(("of tiny commits", tiny, 2.7)),
    );
    let held = jobs::claims_under_snapshot(&backend, &pool, share).await;
    report.rate(
        "the same, a snapshot held",
        held,
        Some(("of that", claims, 0.6)),
    );
    let news = jobs::news(&backend).await;
    let lag = jobs::lag(&backend, news).await;
    report.lag("commit to watcher, 1,000 writes/s", &lag, Duration::ZERO);

    let (client, shutdown) = remote::serve(&backend).await;
    let of = "of the backend's";
    let rate = remote::create(&client).await;
    report.rate("gRPC: create, 8 callers", rate, Some((of, create, 0.5)));
    let rate = remote::create_in_batches(&client).await;
    report.rate(
        "gRPC: create in batches of 100, 1 caller",
        rate,
        Some((of, batch, 0.5)),
    );
    let store = remote::store(&backend);
    for (name, select) in remote::selects() {
        let alone = remote::page(&store, select.clone()).await;
        let through = remote::page(&*client, select).await;
        report.times(name, through, alone, 3.0);
    }
    let rate = jobs::stream(|list| client.clone().pages(list)).await;
    report.rate("gRPC: stream of all", rate, Some((of, stream, 0.35)));
    let news = remote::news(&client).await;
    let through = jobs::lag(&backend, news).await;
    let more = Duration::from_millis(10);
    report.lag("gRPC: commit to watcher, 1,000 writes/s", &through, more);
    shutdown.cancel();
    report.print();
    pool.close().await;
    drop(backend);
}
