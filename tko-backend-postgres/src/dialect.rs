//! What only PostgreSQL has, and why it is used.

use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use sqlx::PgConnection;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
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

/// What statements see, how they are planned, and what is stopped. Others plan by rules of their
/// own, and take hints in the statement, if any.
pub(crate) const SESSION: [(&str, &str); 8] = [
    // Whatever else is usual in this database: each sees what was committed before it, and what it
    // locks as it is then.
    ("default_transaction_isolation", "read committed"),
    // Statements are small: compiling or spreading one costs more than it brings.
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
    // Every read walks an index in its order and stops. A planner that knows little of a table, as
    // after a bulk load, must not think of reading all of it and sorting.
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    // What is joined is few with many: each of the few looks up its own by an index. A plan made
    // while a table was empty must not read all of it later.
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    // What runs for a client that is gone is stopped.
    ("client_connection_check_interval", "500"),
];

/// Instead, for what holds whole tables against one another: each is gone through once, however
/// long that takes.
pub(crate) const SCANNING: [(&str, &str); 5] = [
    ("enable_seqscan", "on"),
    ("enable_hashjoin", "on"),
    ("enable_mergejoin", "on"),
    ("enable_nestloop", "off"),
    ("statement_timeout", "0"),
];

/// Which database this is: a physical copy has the same, and nothing else has. Everybody may ask,
/// a standby too. Where copies are the store's own business, as in all distributed ones, ask it for
/// a follower's read instead of having replicas.
pub(crate) const IDENTITY: &str = "SELECT \
     (SELECT system_identifier FROM pg_control_system()) AS system, \
     (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS database";

/// Whether it follows another server, and takes no writes itself.
pub(crate) const IS_STANDBY: &str = "SELECT pg_is_in_recovery()";

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

/// Sends all rows of a query, each in a message, decoded by [`Columns`](crate::columns::Columns):
/// less to do for whoever reads very many than with the answer of a query. Nothing can be bound to
/// it. Others: the query itself.
pub(crate) fn copy_out(query: &str) -> String {
    format!("COPY ({query}) TO STDOUT (FORMAT binary)")
}

/// A text that was [set] in the same transaction, by its number.
pub(crate) fn setting(number: usize) -> String {
    format!("current_setting('tko.setting_{number}')")
}

/// A query of one row that begins with this also sets so many texts, which are bound to it, until
/// the transaction ends: a pooler may give the next one to another session.
pub(crate) fn set(query: &str, count: usize) -> String {
    let set =
        (1..=count).map(|number| format!(", set_config('tko.setting_{number}', ${number}, true)"));
    query.to_owned() + &set.collect::<String>()
}

/// What housekeeping locks. Advisory locks are of one database.
const HOUSEKEEPING: i64 = 0x74_6b_70;

/// Where the head of the feed is told.
const CHANNEL: &str = "tko";

/// Locks what only housekeeping locks, to the end of the transaction; false: another process is at
/// it.
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
