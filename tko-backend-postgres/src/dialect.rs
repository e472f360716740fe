//! Features that only PostgreSQL has, and the reason to use each.

use crate::codes::Stages;
use crate::database::Database;
use crate::metrics::{Instrument, Purpose};
use sqlx::PgConnection;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use std::fmt::Display;
use std::time::Duration;
use tko_core::Result;
use tokio::time::Instant;

/// Waits until every transaction that is now running in this database has ended. Returns false if
/// that takes until `end`.
///
/// A transaction locks its virtual id from before its first snapshot until it ends, even if it only
/// reads; `CREATE INDEX CONCURRENTLY` relies on the same locks. A serializable store needs no wait:
/// it aborts the later of two contradicting transactions.
pub(crate) async fn older_transactions_ended(
    database: &Database,
    end: Instant,
    pause: Duration,
) -> Result<bool> {
    const RUNNING: &str = "SELECT l.virtualtransaction FROM pg_locks l \
         JOIN pg_stat_activity a ON a.pid = l.pid AND a.datname = current_database() \
         WHERE l.locktype = 'virtualxid' AND l.pid <> pg_backend_pid()";
    let running = || async {
        sqlx::query_scalar::<_, String>(RUNNING)
            .fetch_all(&database.pool)
            .sent(&database.metrics, Purpose::AwaitOlder)
            .await
    };
    let mut older = running().await?;
    while !older.is_empty() {
        if Instant::now() + pause >= end {
            tracing::warn!(
                count = older.len(),
                "a deletion ended because older transactions are still open; find them in \
                 pg_stat_activity and end them"
            );
            return Ok(false);
        }
        tokio::time::sleep(pause).await;
        let now = running().await?;
        older.retain(|transaction| now.contains(transaction));
    }
    Ok(true)
}

/// Session settings: isolation, planning, and cancellation.
///
/// Other databases plan by rules of their own, or take hints in the statement.
pub(crate) const SESSION: [(&str, &str); 9] = [
    // A statement must see all earlier commits, and rows in the state in which it locks them. The
    // database may have another default.
    ("default_transaction_isolation", "read committed"),
    // Statements are small: compilation and parallel workers cost more than they gain.
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
    // Every read follows an index and stops early. Without statistics, as after a bulk load, the
    // planner would read and sort the whole table.
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    // Joins combine few rows with many: each of the few uses an index. A plan from the time when a
    // table was empty must not read all of it later.
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    // The text of a statement determines its plan, and not its values. So it is planned only once
    // for each connection: planning takes several times as long as execution.
    ("plan_cache_mode", "force_generic_plan"),
    // Cancels the statements of disconnected clients.
    ("client_connection_check_interval", "500"),
];

/// Session settings for statements that compare whole tables: they read each table once, without a
/// time limit.
pub(crate) const SCANNING: [(&str, &str); 5] = [
    ("enable_seqscan", "on"),
    ("enable_hashjoin", "on"),
    ("enable_mergejoin", "on"),
    ("enable_nestloop", "off"),
    ("statement_timeout", "0"),
];

/// Selects the identity of a database, which only its physical copies share. Every role may run it,
/// also on a standby. Distributed stores have follower reads instead of replicas.
pub(crate) const IDENTITY: &str = "SELECT \
     (SELECT system_identifier FROM pg_control_system()) AS system, \
     (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS database";

/// Selects whether the server is a standby.
pub(crate) const IS_STANDBY: &str = "SELECT pg_is_in_recovery()";

/// Selects a [`DatabaseStatus`](crate::monitor::DatabaseStatus).
///
/// The cost has a bound: it reads the start of indexes, and the server's memory. A role without
/// access to the age of other roles' transactions still sees their effect on the vacuum.
pub(crate) const STATUS: &str = "SELECT h.revision, h.oldest, \
     (SELECT count(*) FROM (SELECT 1 FROM pending LIMIT 10000) p) AS pending, \
     coalesce((SELECT greatest(now_us() - p.at, 0) FROM pending p \
         ORDER BY p.change_set, p.ordinal LIMIT 1), 0) AS waited, \
     s.transaction, s.horizon FROM head h CROSS JOIN ( \
         SELECT coalesce(max(extract(epoch FROM clock_timestamp() - a.xact_start)), 0)::float8 AS transaction, \
         coalesce(max(greatest(age(a.backend_xid), age(a.backend_xmin))), 0)::bigint AS horizon \
         FROM pg_stat_activity a WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() \
         AND (a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL) \
         AND a.backend_type IS DISTINCT FROM 'autovacuum worker') s";

/// Selects the applications of the sessions of other TKO processes in this database.
pub(crate) const OTHER_PROCESSES: &str = "SELECT DISTINCT a.application_name FROM pg_stat_activity a \
     WHERE a.datname = current_database() AND a.backend_type = 'client backend' \
     AND a.application_name LIKE 'tko%' AND a.application_name <> $1 ORDER BY 1";

/// Wraps a query in `COPY`, which sends each row in one message for
/// [`RowColumns`](crate::columns::RowColumns).
///
/// That is cheaper for the reader of very many rows. Values cannot be bound; see [`setting`]. Other
/// databases use the query itself.
pub(crate) fn copy_out(query: &str) -> String {
    format!("COPY ({query}) TO STDOUT (FORMAT binary)")
}

/// An expression for the text with this number that the transaction [set](select_and_set).
pub(crate) fn setting(number: usize) -> String {
    format!("current_setting('tko.setting_{number}')")
}

/// Extends a select list so that the query also sets this many texts, bound to it as `$1` and so on.
///
/// The settings last until the transaction ends, because a pooler may use another session then.
pub(crate) fn select_and_set(query: &str, count: usize) -> String {
    let set =
        (1..=count).map(|number| format!(", set_config('tko.setting_{number}', ${number}, true)"));
    query.to_owned() + &set.collect::<String>()
}

/// The key of the advisory lock for housekeeping. Advisory locks belong to one database.
const HOUSEKEEPING: i64 = 0x74_6b_70;

/// The channel on which processes announce new revisions.
const CHANNEL: &str = "tko";

/// Locks housekeeping until the transaction ends. Returns false if another process has the lock.
pub(crate) async fn lock_housekeeping(
    database: &Database,
    transaction: &mut PgConnection,
) -> Result<bool> {
    sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)")
        .bind(HOUSEKEEPING)
        .fetch_one(transaction)
        .sent(&database.metrics, Purpose::LockHousekeeping)
        .await
}

/// An expression that notifies all processes of the last revision, or of due work if it is NULL,
/// once the transaction commits.
///
/// Only numbering uses it, which holds the head of the feed: a notifying transaction takes a
/// server-wide lock when it commits.
pub(crate) fn notify(revision: &str) -> String {
    format!("pg_notify('{CHANNEL}', coalesce(({revision})::text, ''))")
}

/// An expression: whether no change set with an id from `low` up to, but not including, `own` waits
/// for a numbering pass.
///
/// It is a volatile function, which sees what was committed until it is called, and not only what was
/// committed when the statement began. A store in which every statement sees one state would need a
/// second statement in the transaction.
pub(crate) fn none_waits(low: impl Display, own: &str) -> String {
    format!("none_waits({low}, {own})")
}

/// The transactions that are writing now, by their numbers, which only rise. A transaction gets its
/// number with the first row that it locks or writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunningTransactions {
    /// The first that has not ended.
    pub(crate) oldest: i64,
    /// The one after the last that has ended. Running transactions may have later numbers.
    pub(crate) next: i64,
}

/// Reads which transactions are writing now. Those that only read have no numbers.
pub(crate) async fn running_transactions(database: &Database) -> Result<RunningTransactions> {
    let (oldest, next) = sqlx::query_as(
        "SELECT pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint \
         FROM pg_current_snapshot() s",
    )
    .fetch_one(&database.pool)
    .sent(&database.metrics, Purpose::FindRunning)
    .await?;
    Ok(RunningTransactions { oldest, next })
}

/// A notification of numbered changes, or of due work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FeedNotice {
    /// The last revision.
    pub(crate) revision: Option<u64>,
    /// The stages whose work may be due.
    pub(crate) stages: Stages,
    /// The process that sent it, if it has woken its own claims.
    pub(crate) process: String,
}

impl FeedNotice {
    /// Reads a notification. Without a number, other work may be due, for example when a test
    /// advances the clock.
    pub(crate) fn of(text: &str) -> Self {
        let mut words = text.split(' ');
        let revision = words.next().and_then(|word| word.parse().ok());
        let stages = words.next().and_then(|word| word.parse().ok());
        Self {
            revision,
            stages: stages.map_or(Stages::ALL, Stages::of_bits),
            process: words.next().unwrap_or_default().to_owned(),
        }
    }

    /// The end of the text, after the revision.
    pub(crate) fn suffix(stages: Stages, process: &str) -> String {
        format!(" {} {process}", stages.bits())
    }
}

/// Opens a connection that receives notifications. They only save time: every process also polls.
pub(crate) async fn listener(options: &PgConnectOptions) -> Result<PgListener, sqlx::Error> {
    // A separate pool, because the listener keeps its connection.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(options.clone())
        .await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::FeedNotice;
    use crate::codes::Stages;
    use tko_core::Stage;

    #[test]
    fn notices_are_read_back() {
        let stages = Stages::from_iter([Stage::Delete]);
        let text = format!("7{}", FeedNotice::suffix(stages, "me"));
        let notice = FeedNotice::of(&text);
        assert_eq!((notice.revision, notice.stages), (Some(7), stages));
        assert_eq!(notice.process, "me");
        let of_pass = FeedNotice::of("7");
        assert_eq!((of_pass.revision, of_pass.stages), (Some(7), Stages::ALL));
        for other in ["", "x", "7 x", "-1 900 a b"] {
            assert_eq!(FeedNotice::of(other).stages, Stages::ALL, "{other}");
        }
    }
}
