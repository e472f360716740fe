//! Values that workers share.

use crate::codes::micros;
use crate::database::Database;
use crate::metrics::{Instrument, Purpose};
use std::time::Duration;
use tko_core::{ContentHash, Result, SharedLimits};

const PUT: &str = "INSERT INTO shared_value (key, at, size, value) \
     VALUES ($1, now_us(), octet_length($2), $2) \
     ON CONFLICT (key) DO UPDATE SET at = excluded.at, size = excluded.size, value = excluded.value";

/// Deletes values beyond `$1` values and `$2` bytes, or older than `$3`. The index contains
/// everything that the statement needs to decide.
///
/// It skips values that another process is deleting or sharing, so it never waits, and two such
/// statements cannot deadlock. The process that shared a value checks again afterwards.
const FORGET: &str = "WITH last AS MATERIALIZED ( \
         SELECT v.key FROM ( \
             SELECT key, at, sum(size) OVER newest AS bytes, row_number() OVER newest AS place \
             FROM shared_value WINDOW newest AS (ORDER BY at DESC, key DESC ROWS UNBOUNDED PRECEDING)) o \
         JOIN shared_value v ON v.key = o.key AND v.at = o.at \
         WHERE o.place > $1 OR o.bytes > $2 OR o.at <= (SELECT now_us() - $3) \
         FOR UPDATE OF v SKIP LOCKED) \
     DELETE FROM shared_value v USING last l WHERE v.key = l.key";

/// Shares a value, and deletes values beyond the limits.
pub(crate) async fn put(
    database: &Database,
    key: ContentHash,
    value: &[u8],
    limits: SharedLimits,
) -> Result<()> {
    let Database { pool, metrics, .. } = database;
    if !limits.admit(value.len()) {
        return Ok(());
    }
    sqlx::query(PUT)
        .bind(key.0.as_slice())
        .bind(value)
        .execute(pool)
        .sent(metrics, Purpose::PutShared)
        .await?;
    sqlx::query(FORGET)
        .bind(i64::try_from(limits.values).unwrap_or(i64::MAX))
        .bind(i64::try_from(limits.bytes).unwrap_or(i64::MAX))
        .bind(micros(limits.age))
        .execute(pool)
        .sent(metrics, Purpose::ForgetShared)
        .await
        .map(drop)
}

/// Reads a value that was shared less than `age` ago.
pub(crate) async fn find(
    database: &Database,
    key: ContentHash,
    age: Duration,
) -> Result<Option<Vec<u8>>> {
    sqlx::query_scalar("SELECT value FROM shared_value WHERE key = $1 AND at > now_us() - $2")
        .bind(key.0.as_slice())
        .bind(micros(age))
        .fetch_optional(&database.pool)
        .sent(&database.metrics, Purpose::GetShared)
        .await
}
