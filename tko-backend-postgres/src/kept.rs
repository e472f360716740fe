//! Values that workers keep for one another.

use crate::codes::micros;
use crate::database::Database;
use crate::metrics::{Instrument, Purpose};
use std::time::Duration;
use tko_core::{ContentHash, KeepLimits, Result};

const KEEP: &str = "INSERT INTO kept (key, at, size, value) \
     VALUES ($1, now_us(), octet_length($2), $2) \
     ON CONFLICT (key) DO UPDATE SET at = excluded.at, size = excluded.size, value = excluded.value";

/// Forgets what is beyond `$1` values and `$2` bytes, or older than `$3`. The index has all that it
/// reads.
const FORGET: &str = "DELETE FROM kept WHERE at <= now_us() - $3 OR key IN \
     (SELECT key FROM (SELECT key, sum(size) OVER newest AS bytes, row_number() OVER newest AS place \
      FROM kept WINDOW newest AS (ORDER BY at DESC, key DESC ROWS UNBOUNDED PRECEDING)) k \
      WHERE place > $1 OR bytes > $2)";

/// Keeps a value, and forgets what is beyond the limits.
pub(crate) async fn keep(
    database: &Database,
    key: ContentHash,
    value: &[u8],
    limits: KeepLimits,
) -> Result<()> {
    let Database { pool, metrics, .. } = database;
    if !limits.admit(value.len()) {
        return Ok(());
    }
    sqlx::query(KEEP)
        .bind(key.0.as_slice())
        .bind(value)
        .execute(pool)
        .sent(metrics, Purpose::Keep)
        .await?;
    sqlx::query(FORGET)
        .bind(i64::try_from(limits.values).unwrap_or(i64::MAX))
        .bind(i64::try_from(limits.bytes).unwrap_or(i64::MAX))
        .bind(micros(limits.age))
        .execute(pool)
        .sent(metrics, Purpose::ForgetKept)
        .await
        .map(drop)
}

/// Reads a value that was kept less than `age` ago.
pub(crate) async fn find(
    database: &Database,
    key: ContentHash,
    age: Duration,
) -> Result<Option<Vec<u8>>> {
    sqlx::query_scalar("SELECT value FROM kept WHERE key = $1 AND at > now_us() - $2")
        .bind(key.0.as_slice())
        .bind(micros(age))
        .fetch_optional(&database.pool)
        .sent(&database.metrics, Purpose::ReadKept)
        .await
}
