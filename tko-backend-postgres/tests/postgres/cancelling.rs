//! Cancelling a request stops its statement in the server.

use futures_core::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_core::{Ack, Backend, ChangeSet, Key, Kind, List, Pattern, Put, Require, Select, Want};

/// A store in a new database, and other connections to the database.
async fn connected() -> (Arc<Postgres>, sqlx::PgPool) {
    let server = tko_postgres_server::shared();
    let database = server.create_database().expect("a database");
    let url = server.url(&database);
    let store = Postgres::connect(PostgresSettings::new(&url)).await;
    let pool = sqlx::PgPool::connect(&url).await.expect("a pool");
    (Arc::new(store.expect("a store")), pool)
}

/// Waits until this many sessions of the database wait for a lock on entities.
async fn waiting(pool: &sqlx::PgPool, count: i64) {
    let sessions = "SELECT count(*) FROM pg_locks WHERE NOT granted \
                    AND relation = 'entity'::regclass AND database = \
                    (SELECT oid FROM pg_database WHERE datname = current_database())";
    until(pool, sessions, count).await;
}

/// Waits until this many deletions are announced.
async fn announced(pool: &sqlx::PgPool, count: i64) {
    until(pool, "SELECT count(*) FROM going", count).await;
}

/// Waits until a query finds this number.
async fn until(pool: &sqlx::PgPool, query: &'static str, count: i64) {
    let found = async {
        loop {
            let found: i64 = sqlx::query_scalar(query)
                .fetch_one(pool)
                .await
                .expect("it is counted");
            if found == count {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    // Before `lock_timeout` cancels the sessions.
    tokio::time::timeout(Duration::from_secs(7), found)
        .await
        .unwrap_or_else(|_| panic!("{query}: it should be {count}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_a_request_stops_its_statement() {
    let (store, pool) = connected().await;
    let mut lock = pool.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE entity IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *lock)
        .await
        .expect("locked");
    let list = List::new(Select::all(Kind::Site)).limit(10);
    let mut judged = Select::all(Kind::Site);
    let value = Pattern::value("*a").expect("a pattern");
    judged.metadata.insert("key".to_owned(), value);
    let reads: [BoxFuture<'static, ()>; 5] = [
        read_with(&store, {
            let list = list.clone();
            move |s| async move { drop(s.list(&list).await) }
        }),
        read_with(&store, move |s| async move {
            drop(s.count(&judged, 10, Want::ROW).await);
        }),
        read_with(&store, |s| async move {
            drop(s.count(&Select::all(Kind::Site), 10, Want::ROW).await);
        }),
        read_with(&store, |s| async move {
            let key = Key::new(Kind::Site, "s").expect("a key");
            drop(s.get(&[key], Want::ROW).await);
        }),
        read_with(
            &store,
            move |s| async move { drop(s.pages(list).next().await) },
        ),
    ];
    for read in reads {
        let task = tokio::spawn(read);
        waiting(&pool, 1).await;
        task.abort();
        waiting(&pool, 0).await;
    }
    lock.rollback().await.expect("unlocked");
    let count = store.count(&Select::all(Kind::Site), 10, Want::ROW).await;
    assert_eq!(count.expect("it goes on").found, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_a_deletion_withdraws_its_announcement() {
    let (store, pool) = connected().await;
    let key = Key::new(Kind::Site, "s").expect("a key");
    let new = ChangeSet::new()
        .require(Require::Absent(key.clone()))
        .put(Put::new(key.clone()));
    store.commit(new, Ack::Durable).await.expect("a site");
    // A deletion waits for older transactions.
    let mut older = pool.begin().await.expect("a transaction");
    sqlx::query("SELECT FROM entity")
        .execute(&mut *older)
        .await
        .expect("read");
    let delete = ChangeSet::new()
        .require(Require::Exists(key.clone()))
        .require(Require::Unreferenced(key.clone()))
        .delete(key.clone());
    let deleting = store.clone();
    let task = tokio::spawn(async move {
        drop(deleting.commit(delete, Ack::Durable).await);
    });
    announced(&pool, 1).await;
    task.abort();
    announced(&pool, 0).await;
    older.rollback().await.expect("ended");
    let found = store.get(&[key], Want::ROW).await.expect("read");
    assert!(found[0].is_some(), "it was not deleted");
}

fn read_with<F: Future<Output = ()> + Send + 'static>(
    store: &Arc<Postgres>,
    read: impl FnOnce(Arc<Postgres>) -> F,
) -> BoxFuture<'static, ()> {
    read(store.clone()).boxed()
}
