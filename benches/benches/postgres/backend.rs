//! Jobs of the backend alone.

use super::jobs::Work;
use super::memory::Watched;
use super::report::{Bar, Report};
use super::{jobs, pages, raw};
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_benches::speed::in_turn;
use tko_core::Backend;
use tko_postgres_server::PostgresServer;

/// An empty database, and the backend that uses it.
pub(crate) struct World {
    pub(crate) url: String,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) pool: PgPool,
}

impl World {
    pub(crate) async fn new(server: &PostgresServer) -> Self {
        let database = server.create_database().expect("a database");
        let url = server.url(&database);
        server
            .psql(&database, "CREATE EXTENSION pg_stat_statements")
            .expect("statements are counted");
        let postgres = Postgres::connect(PostgresSettings::new(&url)).await;
        Self {
            backend: Arc::new(postgres.expect("a store")),
            pool: PgPool::connect(&url).await.expect("a connection"),
            url,
        }
    }
}

/// Measures every job with `size` deployments in the database, `due` of which are due.
pub(crate) async fn measure(world: &World, size: usize, due: usize, report: &mut Report) {
    let World { backend, pool, .. } = world;
    raw::settle(pool).await;
    let create = || jobs::create(backend);
    let (insert, alone) = in_turn(raw::CREATES, || raw::inserts(pool), create).await;
    report.speed("raw: insert id and body, 8 connections", &insert, None);
    let bar = Bar::least("of raw insert", insert.rate(), 0.30);
    report.speed(jobs::CREATE, &alone, Some(bar));
    report.growth(jobs::CREATE, 0.8);
    let bare = || jobs::create_without_feed(backend, pool);
    let (alone, bare) = in_turn(raw::CREATES, create, bare).await;
    let bar = Bar::most("of create", alone.rate(), 1.0 / 0.85);
    report.speed("create, without a feed", &bare, Some(bar));
    let batch = || jobs::create_in_batches(backend);
    let (copy, batch) = in_turn(raw::CREATES, || raw::copy_in(pool), batch).await;
    report.speed("raw: COPY in, 10,000 a transaction", &copy, None);
    let bar = Bar::least("of raw COPY", copy.rate(), 0.20);
    report.speed(jobs::BATCHES, &batch, Some(bar));
    for page in pages::measure(backend, pool, size).await {
        report.page(&page);
    }
    let watched = Watched::new(pool).await;
    let stream = || jobs::stream(|list| backend.clone().pages(list));
    let (out, stream) = in_turn(raw::STREAMS, || raw::copy_out(pool), stream).await;
    let grown = watched.grown();
    report.speed("raw: COPY BINARY out in id order", &out, None);
    let bar = Bar::least("of COPY BINARY", out.rate(), 0.75);
    report.speed(jobs::STREAM, &stream, Some(bar));
    report.memory("memory of a stream", &grown);
    let mixed = jobs::mixed(backend).await;
    report.speed("mixed, 8 callers", &mixed, None);
    // Measured before the claims, which leave dead rows in the table of due work.
    report.bytes(&raw::sizes(pool).await);

    let work = Work(due / 5);
    let claim = || work.done_by_workers(backend);
    let (tiny, claims) = in_turn(raw::CLAIMS, || raw::tiny_commits(pool), claim).await;
    report.speed("raw: tiny commits, 8 connections", &tiny, None);
    // The requirement is 50,000 claims a second on a machine with 18,000 tiny commits.
    let bar = Bar::least("of tiny commits", tiny.rate(), 50.0 / 18.0);
    report.speed("claim and settle, 8 workers, 100 each", &claims, Some(bar));
    let held = work.done_under_snapshot(backend, pool).await;
    let bar = Bar::least("of that", claims.rate(), 0.6);
    report.speed("the same, a snapshot held", &held, Some(bar));
    let news = jobs::news(backend).await;
    let lag = jobs::lag(backend, news).await;
    report.lag("commit to watcher, 1,000 writes/s", &lag, Duration::ZERO);
}
