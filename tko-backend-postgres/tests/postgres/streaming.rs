//! Whole listings while connections are killed return every row once, or an error.

use crate::sites::{fill, site};
use futures_util::StreamExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_core::{Backend, ErrorKind, Kind, List, Select};
use tko_postgres_server::PostgresServer;

/// More than one statement's rows.
const SITES: usize = 40_000;

/// The number of listings that must complete although connections were killed.
const WHOLE: usize = 5;

/// Kills connections of this database repeatedly.
async fn kill(server: &PostgresServer, database: &str, ended: &AtomicBool, kills: &AtomicU64) {
    let pool = sqlx::PgPool::connect(&server.url("postgres")).await;
    let pool = pool.expect("a pool");
    while !ended.load(Ordering::SeqCst) {
        let killed: i64 = sqlx::query_scalar(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = $1 AND state = 'active'",
        )
        .bind(database)
        .fetch_one(&pool)
        .await
        .expect("the server runs");
        kills.fetch_add(killed.unsigned_abs(), Ordering::SeqCst);
        tokio::time::sleep(std::time::Duration::from_millis(15)).await;
    }
}

/// Lists everything with small pages. Returns whether the listing completed.
async fn list_all(store: &Arc<Postgres>, limit: usize) -> bool {
    let mut pages = store
        .clone()
        .pages(List::new(Select::all(Kind::Site)).limit(limit));
    let mut listed = 0;
    let mut last = false;
    while let Some(page) = pages.next().await {
        assert!(!last, "nothing comes after the last page");
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                assert!(pages.next().await.is_none(), "an error ends it");
                return false;
            }
        };
        for record in page.items {
            assert_eq!(record.entity.key, site(listed));
            listed += 1;
        }
        last = page.next.is_none();
    }
    assert!(last, "it says what the last page is");
    assert_eq!(listed, SITES);
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_listing_survives_lost_connections_or_fails() {
    let server = tko_postgres_server::shared();
    let database = server.create_database().expect("a database");
    let url = server.url(&database);
    let mut settings = PostgresSettings::new(&url);
    settings.connections = 6;
    let store = Arc::new(Postgres::connect(settings).await.expect("a store"));
    fill(&store, 0..SITES).await;
    let (ended, kills) = (AtomicBool::new(false), AtomicU64::new(0));
    let lists = async {
        let mut whole = 0;
        // Pages that end with a statement, and pages that do not.
        for limit in [7, 250, 1_000].into_iter().cycle().take(200) {
            let before = kills.load(Ordering::SeqCst);
            if list_all(&store, limit).await && kills.load(Ordering::SeqCst) > before {
                whole += 1;
            }
            if whole == WHOLE {
                break;
            }
        }
        ended.store(true, Ordering::SeqCst);
        assert_eq!(whole, WHOLE, "{kills:?} connections were killed");
    };
    tokio::join!(lists, kill(server, &database, &ended, &kills));
}
