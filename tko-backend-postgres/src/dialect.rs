//! What only PostgreSQL has, and why it is used.

use crate::fault::fault;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Transaction};
use std::time::Duration;
use tko_core::Result;
use tokio::time::Instant;

/// Waits until every transaction of this database that runs now has ended. False: not by `end`.
///
/// A transaction holds a lock on its virtual id from before its first snapshot until its end,
/// written or not: what `CREATE INDEX CONCURRENTLY` waits for. Other stores say at which time all
/// have ended that began before another, or do without: serializable ones abort the later of two.
pub(crate) async fn older_transactions_ended(
    pool: &PgPool,
    end: Instant,
    pause: Duration,
) -> Result<bool> {
    const RUNNING: &str = "SELECT l.virtualtransaction FROM pg_locks l \
         JOIN pg_stat_activity a ON a.pid = l.pid AND a.datname = current_database() \
         WHERE l.locktype = 'virtualxid' AND l.pid <> pg_backend_pid()";
    let running = || async {
        sqlx::query_scalar::<_, String>(RUNNING)
            .fetch_all(pool)
            .await
            .map_err(fault("look for older transactions"))
    };
    let mut older = running().await?;
    while !older.is_empty() {
        if Instant::now() + pause >= end {
            tracing::warn!(
                count = older.len(),
                "old transactions hold back a deletion; see pg_stat_activity for which"
            );
            return Ok(false);
        }
        tokio::time::sleep(pause).await;
        let now = running().await?;
        older.retain(|transaction| now.contains(transaction));
    }
    Ok(true)
}

/// What passes that number changes lock: `tko` in ASCII. Advisory locks are of one database.
const NUMBERING: i64 = 0x74_6b_6f;

/// What housekeeping locks.
const HOUSEKEEPING: i64 = 0x74_6b_70;

/// Where the head of the feed is told.
const CHANNEL: &str = "tko";

/// Begins a transaction, once no other pass numbers changes; none does until it ends.
///
/// An advisory lock costs no write and goes with its session, whatever becomes of it. Elsewhere:
/// lock a row.
pub(crate) async fn begin_numbering(pool: &PgPool) -> Result<Transaction<'static, Postgres>> {
    let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({NUMBERING})");
    pool.begin_with(AssertSqlSafe(begin))
        .await
        .map_err(fault("wait for another to number changes"))
}

/// To the end of the transaction; false: another process is at it.
pub(crate) async fn lock_housekeeping(transaction: &mut PgConnection) -> Result<bool> {
    sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)")
        .bind(HOUSEKEEPING)
        .fetch_one(transaction)
        .await
        .map_err(fault("see whether another keeps house"))
}

/// An expression that tells all processes that the feed has got so far (NULL: that something is
/// due), once the transaction is committed. Only passes do: a transaction that notifies takes a
/// lock of the whole server when it commits.
pub(crate) fn tell(head: &str) -> String {
    format!("pg_notify('{CHANNEL}', coalesce(({head})::text, ''))")
}

/// A connection that hears it. Nothing depends on it: whoever hears nothing looks now and then.
pub(crate) async fn listener(options: &PgConnectOptions) -> Result<PgListener, sqlx::Error> {
    // A pool of its own, for it keeps its connection.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(options.clone())
        .await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}
