//! The limits of the PostgreSQL server, measured without TKO.

use futures_util::TryStreamExt;
use sqlx::{Connection, Executor, PgPool};
use std::time::{Duration, Instant};
use tko_benches::speed::{CALLERS, Speed, speed};

/// How long each job is measured in a round.
pub(crate) const TIME: Duration = Duration::from_secs(5);

/// Number of rounds of creations.
pub(crate) const CREATES: usize = 3;

/// Number of rounds of claims.
pub(crate) const CLAIMS: usize = 3;

/// Number of rounds of streams.
pub(crate) const STREAMS: usize = 5;

/// Vacuums and writes a checkpoint, so that neither disturbs the next measurement.
pub(crate) async fn settle(pool: &PgPool) {
    pool.execute("VACUUM ANALYZE")
        .await
        .expect("it is vacuumed");
    pool.execute("CHECKPOINT").await.expect("it is written");
}

/// Inserts one integer in each transaction.
pub(crate) async fn tiny_commits(pool: &PgPool) -> Speed {
    pool.execute("CREATE TABLE IF NOT EXISTS raw_tiny (i bigint)")
        .await
        .expect("a table");
    speed(CALLERS, TIME, |_, count| async move {
        sqlx::query("INSERT INTO raw_tiny VALUES ($1)")
            .bind(i64::try_from(count).expect("small"))
            .execute(pool)
            .await
            .expect("inserted");
        1
    })
    .await
}

/// Inserts an id and 2 KB in each transaction.
pub(crate) async fn inserts(pool: &PgPool) -> Speed {
    pool.execute("CREATE TABLE IF NOT EXISTS raw_row (id uuid PRIMARY KEY, body bytea)")
        .await
        .expect("a table");
    let body: Vec<u8> = (0..2_060_u32).map(|i| (i * 7 % 251) as u8).collect();
    let body = &body;
    speed(CALLERS, TIME, |_, _| async move {
        sqlx::query("INSERT INTO raw_row VALUES ($1, $2)")
            .bind(uuid::Uuid::now_v7())
            .bind(body)
            .execute(pool)
            .await
            .expect("inserted");
        1
    })
    .await
}

/// Inserts the same rows with COPY.
pub(crate) async fn copy_in(pool: &PgPool) -> Speed {
    pool.execute("CREATE TABLE IF NOT EXISTS raw_copy (id uuid PRIMARY KEY, body bytea)")
        .await
        .expect("a table");
    let bytes = (0..2_060_u32).map(|i| format!("{:02x}", i * 7 % 251));
    let body = bytes.collect::<Vec<_>>().concat();
    let body = &body;
    speed(1, TIME, |_, _| async move {
        let mut connection = pool.acquire().await.expect("a connection");
        let mut copy = connection
            .copy_in_raw("COPY raw_copy FROM STDIN")
            .await
            .expect("it copies");
        for _ in 0..100 {
            let line = |_| format!("{}\t\\\\x{body}\n", uuid::Uuid::now_v7());
            let lines = (0..100).map(line).collect::<Vec<_>>().concat();
            copy.send(lines.as_bytes()).await.expect("sent");
        }
        copy.finish().await.expect("copied");
        10_000
    })
    .await
}

/// Reads all rows of deployments with COPY, in the order of their ids.
pub(crate) async fn copy_out(pool: &PgPool) -> Speed {
    let mut connection = pool.acquire().await.expect("a connection");
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM entity WHERE kind = 2")
        .fetch_one(&mut *connection)
        .await
        .expect("counted");
    connection.ping().await.expect("alive");
    let start = Instant::now();
    let columns = "id, version, generation, created, updated, body_at, skeleton, deleting, \
         prepared, approved, template, site, parent, place, body, metadata, rest";
    let sql = format!(
        "COPY (SELECT {columns} FROM entity WHERE kind = 2 ORDER BY kind, id) TO STDOUT (FORMAT binary)"
    );
    let stream = connection.copy_out_raw(&sql).await.expect("it copies");
    let bytes: usize = stream
        .try_fold(0, |sum, bytes| async move { Ok(sum + bytes.len()) })
        .await
        .expect("copied");
    assert!(bytes > 0, "something was copied");
    Speed::of(usize::try_from(count).expect("small"), start.elapsed())
}

/// The size of each table, in bytes for each deployment.
pub(crate) async fn sizes(pool: &PgPool) -> Vec<(String, f64)> {
    settle(pool).await;
    sqlx::query_as(
        "SELECT c.relname::text, pg_total_relation_size(c.oid)::float8 / \
         (SELECT count(*) FROM entity WHERE kind = 2) FROM pg_class c \
         WHERE c.relkind = 'r' AND c.relname IN ('entity', 'facet', 'body', 'event') \
         ORDER BY 2 DESC",
    )
    .fetch_all(pool)
    .await
    .expect("sizes")
}
