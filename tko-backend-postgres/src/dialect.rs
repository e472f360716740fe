//! What only PostgreSQL has, and why it is used.

use crate::measure::{Purpose, Sending};
use crate::postgres::Shared;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Transaction};
use std::time::Duration;
use tko_core::Result;
use tokio::time::Instant;

/// Waits until every transaction of this database that runs now has ended. False: not by `end`.
///
/// A transaction holds a lock on its virtual id from before its first snapshot until its end,
/// written or not: what `CREATE INDEX CONCURRENTLY` waits for. Other stores say at which time all
/// have ended that began before another, or do without: serializable ones abort the later of two.
pub(crate) async fn older_transactions_ended(
    shared: &Shared,
    end: Instant,
    pause: Duration,
) -> Result<bool> {
    const RUNNING: &str = "SELECT l.virtualtransaction FROM pg_locks l \
         JOIN pg_stat_activity a ON a.pid = l.pid AND a.datname = current_database() \
         WHERE l.locktype = 'virtualxid' AND l.pid <> pg_backend_pid()";
    let running = || async {
        sqlx::query_scalar::<_, String>(RUNNING)
            .fetch_all(&shared.pool)
            .sent(&shared.measures, Purpose::AwaitOlder)
            .await
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

/// What operators watch: the feed, what waits for its revision, and what holds back the vacuum.
///
/// Indexes are read from where they begin and only so far; the rest is in the server's memory.
/// Whoever may not see how old a session's transaction is sees what it keeps from the vacuum.
pub(crate) const WATCHED: &str = "SELECT h.revision, h.oldest, \
     (SELECT count(*) FROM (SELECT 1 FROM pending LIMIT 10000) p) AS pending, \
     coalesce((SELECT greatest(now_us() - p.at, 0) FROM pending p \
         ORDER BY p.change_set, p.ordinal LIMIT 1), 0) AS waited, \
     s.transaction, s.horizon FROM head h CROSS JOIN ( \
         SELECT coalesce(max(extract(epoch FROM clock_timestamp() - a.xact_start)), 0)::float8 AS transaction, \
         coalesce(max(greatest(age(a.backend_xid), age(a.backend_xmin))), 0)::bigint AS horizon \
         FROM pg_stat_activity a WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() \
         AND (a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL) \
         AND a.backend_type IS DISTINCT FROM 'autovacuum worker') s";

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
pub(crate) async fn begin_numbering(shared: &Shared) -> Result<Transaction<'static, Postgres>> {
    let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({NUMBERING})");
    shared
        .pool
        .begin_with(AssertSqlSafe(begin))
        .sent(&shared.measures, Purpose::BeginNumbering)
        .await
}

/// To the end of the transaction; false: another process is at it.
pub(crate) async fn lock_housekeeping(
    shared: &Shared,
    transaction: &mut PgConnection,
) -> Result<bool> {
    sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)")
        .bind(HOUSEKEEPING)
        .fetch_one(transaction)
        .sent(&shared.measures, Purpose::LockHousekeeping)
        .await
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
