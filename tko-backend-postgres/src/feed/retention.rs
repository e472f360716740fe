//! Giving up changes that need not be kept.
//!
//! Of a living entity the newest change is kept, however old, without what it changed: it says the
//! revision of the entity. It goes when a later one gets as old.

use crate::dialect;
use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use crate::row::signed;
use std::sync::Arc;
use std::time::Duration;
use tko_core::Result;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(5);

/// Most changes in one transaction.
const BATCH: i64 = 1_000;

/// Up to where changes may go: as many as are wanted are younger, and all that are young enough.
const HORIZON: &str = "SELECT h.oldest, least(h.revision - $1, \
     coalesce((SELECT min(v.revision) - 1 FROM event v WHERE v.revision > h.oldest \
     AND v.revision <= h.oldest + $3 AND v.at > now_us() - $2), h.oldest + $3)) FROM head h";

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

/// What was announced by a process that died, and edits that nobody will ask about any more.
const LAPSED: [&str; 2] = [
    "DELETE FROM going WHERE until < now_us()",
    "DELETE FROM edit WHERE until < now_us() - 86400 * 1000000::bigint",
];

/// Forgets, as long as the process runs.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        if let Err(error) = trim(&shared).await {
            tracing::debug!(error = error.chain(), "old changes stay for now");
        }
    }
}

/// Forgets what need not be kept, unless another process is at it.
pub(crate) async fn trim(shared: &Shared) -> Result<()> {
    while batch(shared).await? {}
    for lapsed in LAPSED {
        sqlx::query(lapsed)
            .execute(&shared.pool)
            .sent(&shared.measures, Purpose::RemoveLapsed)
            .await?;
    }
    Ok(())
}

/// Whether there may be more.
async fn batch(shared: &Shared) -> Result<bool> {
    let young = i64::try_from(shared.settings.history_time.as_micros()).unwrap_or(i64::MAX);
    let begun = shared.pool.begin();
    let mut transaction = begun.sent(&shared.measures, Purpose::Begin).await?;
    if !dialect::lock_housekeeping(shared, &mut transaction).await? {
        return Ok(false);
    }
    let (oldest, horizon): (i64, i64) = sqlx::query_as(HORIZON)
        .bind(signed(shared.settings.history))
        .bind(young)
        .bind(BATCH)
        .fetch_one(&mut *transaction)
        .sent(&shared.measures, Purpose::FindOld)
        .await?;
    if horizon <= oldest {
        return Ok(false);
    }
    sqlx::query(FORGET)
        .bind(oldest)
        .bind(horizon)
        .execute(&mut *transaction)
        .sent(&shared.measures, Purpose::Forget)
        .await?;
    let committed = transaction.commit();
    committed.sent(&shared.measures, Purpose::End).await?;
    Ok(horizon == oldest + BATCH)
}
