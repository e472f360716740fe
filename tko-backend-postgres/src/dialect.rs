//! What only PostgreSQL has, and why it is used.

use crate::fault::fault;
use sqlx::PgPool;
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
