//! Retention: deletes old changes.
//!
//! The newest change of an existing entity is kept at any age, without the row before it: it holds
//! the revision of the entity. It is deleted once a later change becomes old.

use crate::codes::{micros, signed};
use crate::database::Database;
use crate::dialect;
use crate::metrics::{Instrument, Purpose};
use std::sync::Arc;
use std::time::Duration;
use tko_core::Result;

/// The time between two runs.
const INTERVAL: Duration = Duration::from_secs(5);

/// The limit of changes in one transaction.
const BATCH: i64 = 1_000;

/// Selects the range of revisions to delete: `oldest` and the new `oldest`. The last `$1` changes
/// stay, and so do all that are younger than `$2` microseconds; `$3` limits the range.
const RANGE: &str = "SELECT h.oldest, least(h.revision - $1, \
     coalesce((SELECT min(v.revision) - 1 FROM event v WHERE v.revision > h.oldest \
     AND v.revision <= h.oldest + $3 AND v.at > now_us() - $2), h.oldest + $3)) FROM head h";

/// Deletes the changes after `$1` up to `$2`.
const FORGET: &str = "WITH passed AS MATERIALIZED ( \
         SELECT revision, kind, id, version, body_before FROM event \
         WHERE revision > $1 AND revision <= $2), \
     kept AS MATERIALIZED ( \
         SELECT p.revision FROM passed p JOIN entity e \
         ON e.kind = p.kind AND e.id = p.id AND e.version = p.version), \
     gone AS ( \
         DELETE FROM event v USING (SELECT DISTINCT kind, id FROM passed) k \
         WHERE v.kind = k.kind AND v.id = k.id AND v.revision <= $2 \
         AND v.revision NOT IN (SELECT revision FROM kept)), \
     emptied AS ( \
         UPDATE event v SET before = NULL, cause = NULL, body_before = NULL FROM kept \
         WHERE v.revision = kept.revision AND (v.before IS NOT NULL OR v.cause IS NOT NULL)), \
     bodies AS ( \
         DELETE FROM body b USING passed p WHERE b.at = p.body_before) \
     UPDATE head SET oldest = $2 WHERE oldest = $1";

/// Statements that delete the guards of processes that died, and modifications that expired a day ago.
const EXPIRED: [&str; 2] = [
    "DELETE FROM going WHERE until < now_us()",
    "DELETE FROM edit WHERE until < now_us() - 86400 * 1000000::bigint",
];

/// Deletes old changes, as long as the process runs.
pub(super) async fn run(database: Arc<Database>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        if let Err(error) = trim(&database).await {
            tracing::debug!(error = error.chain(), "deletion of old changes postponed");
        }
    }
}

/// Deletes all old changes now, unless another process is doing so.
pub(crate) async fn trim(database: &Database) -> Result<()> {
    while batch(database).await? {}
    for expired in EXPIRED {
        sqlx::query(expired)
            .execute(&database.pool)
            .sent(&database.metrics, Purpose::RemoveLapsed)
            .await?;
    }
    Ok(())
}

/// Deletes one batch. Returns whether there may be more.
async fn batch(database: &Database) -> Result<bool> {
    let Database {
        pool,
        metrics,
        settings,
        ..
    } = database;
    let begun = pool.begin();
    let mut transaction = begun.sent(metrics, Purpose::Begin).await?;
    if !dialect::lock_housekeeping(database, &mut transaction).await? {
        return Ok(false);
    }
    let (oldest, new_oldest): (i64, i64) = sqlx::query_as(RANGE)
        .bind(signed(settings.history))
        .bind(micros(settings.history_time))
        .bind(BATCH)
        .fetch_one(&mut *transaction)
        .sent(metrics, Purpose::FindOld)
        .await?;
    if new_oldest <= oldest {
        return Ok(false);
    }
    sqlx::query(FORGET)
        .bind(oldest)
        .bind(new_oldest)
        .execute(&mut *transaction)
        .sent(metrics, Purpose::Forget)
        .await?;
    transaction.commit().sent(metrics, Purpose::End).await?;
    Ok(new_oldest == oldest + BATCH)
}
