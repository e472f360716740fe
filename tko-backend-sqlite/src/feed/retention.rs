//! Deletion of old changes, and of modifications that expired long ago.

use crate::arena::signed;
use crate::connect::SqliteParts;
use sqlx::{Row, SqliteConnection};
use std::time::Duration;
use tko_core::{Result, Timestamp};

/// The pause between two searches for old changes.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// The number of changes that are deleted in one transaction.
const BATCH: i64 = 1_000;

/// How long an expired modification is remembered.
const REMEMBERED: Duration = Duration::from_hours(24);

/// The position of the feed, and the revision before the oldest change to keep after one batch.
/// Parameters: `$1` changes to keep, `$2` the time after which all are kept, `$3` batch.
pub(crate) const RANGE: &str = "SELECT oldest, min(\
    max(oldest, revision - $1), oldest + $3, \
    coalesce((SELECT min(revision) - 1 FROM change \
        WHERE revision > oldest AND revision <= oldest + $3 AND at > $2), oldest + $3)) FROM head";

/// Forgets the changes after `$1` up to `$2`, with the packages that nothing else names.
const FORGET: &str = "\
UPDATE body SET refs = refs - d.n FROM \
    (SELECT body_before AS hash, count(*) AS n FROM change \
     WHERE revision > $1 AND revision <= $2 AND body_before IS NOT NULL GROUP BY body_before) d \
    WHERE body.hash = d.hash; \
DELETE FROM body WHERE refs <= 0 AND hash IN \
    (SELECT body_before FROM change WHERE revision > $1 AND revision <= $2); \
DELETE FROM change WHERE revision > $1 AND revision <= $2; \
UPDATE head SET oldest = $2; \
DELETE FROM modification WHERE latest = 0 AND until < $3;";

/// Deletes one batch of old changes. Returns whether there may be more.
pub(crate) async fn trim(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    now: Timestamp,
) -> Result<bool> {
    let fault = shared.file.fault("delete old changes");
    let (oldest, until) = range(&mut *connection, shared, now).await.map_err(&fault)?;
    if until <= oldest {
        return Ok(false);
    }
    sqlx::query(FORGET)
        .bind(oldest)
        .bind(until)
        .bind(before(now, REMEMBERED))
        .execute(connection)
        .await
        .map_err(&fault)?;
    Ok(until == oldest + BATCH)
}

/// The revision before the oldest change that is kept, and what it becomes after one batch.
pub(crate) async fn range(
    executor: impl sqlx::SqliteExecutor<'_>,
    shared: &SqliteParts,
    now: Timestamp,
) -> Result<(i64, i64), sqlx::Error> {
    let settings = &shared.file.settings;
    let row = sqlx::query(RANGE)
        .bind(signed(settings.history))
        .bind(before(now, settings.history_time))
        .bind(BATCH)
        .fetch_one(executor)
        .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// The time that is `by` before `now`.
pub(crate) fn before(now: Timestamp, by: Duration) -> i64 {
    now.0
        .saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
}
