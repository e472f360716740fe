//! Values that workers share.

use crate::arena::signed;
use crate::connect::SqliteParts;
use crate::feed::retention::before;
use sqlx::SqliteConnection;
use std::time::Duration;
use tko_core::{ContentHash, Result, SharedLimits, Timestamp};

/// Shares `$2` under `$1` from `$3` on, and deletes values beyond the limits: `$4` values, `$5`
/// bytes, and those shared until `$6`. It reads only the index. Once there are too many, an eighth
/// is deleted, because sorting out the oldest takes much longer than counting them.
const PUT: &str = "\
INSERT INTO shared_value (key, at, size, value) VALUES ($1, $3, length($2), $2) \
    ON CONFLICT (key) DO UPDATE SET at = $3, size = length($2), value = $2; \
DELETE FROM shared_value WHERE at <= $6 OR key IN \
    (SELECT key FROM (SELECT key, sum(size) OVER newest AS bytes, row_number() OVER newest AS place \
     FROM shared_value WHERE (SELECT count(*) > $4 OR sum(size) > $5 FROM shared_value) \
     WINDOW newest AS (ORDER BY at DESC, key DESC ROWS UNBOUNDED PRECEDING)) \
     WHERE place > $4 - $4 / 8 OR bytes > $5 - $5 / 8);";

/// Shares a value that fits within the limits.
pub(crate) async fn put(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    key: ContentHash,
    value: Vec<u8>,
    limits: SharedLimits,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(PUT)
        .bind(key.0.to_vec())
        .bind(value)
        .bind(now.0)
        .bind(i64::try_from(limits.values).unwrap_or(i64::MAX))
        .bind(signed(limits.bytes))
        .bind(before(now, limits.age))
        .execute(connection)
        .await
        .map_err(shared.file.fault("share a value"))?;
    Ok(())
}

/// Reads a value that was shared less than `age` ago.
pub(crate) async fn find(
    shared: &SqliteParts,
    key: ContentHash,
    age: Duration,
) -> Result<Option<Vec<u8>>> {
    sqlx::query_scalar("SELECT value FROM shared_value WHERE key = $1 AND at > $2")
        .bind(key.0.to_vec())
        .bind(before(shared.clock.now(), age))
        .fetch_optional(&shared.file.pool)
        .await
        .map_err(shared.file.fault("read a shared value"))
}
