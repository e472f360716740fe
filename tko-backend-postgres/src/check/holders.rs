//! Checks the index of idempotency keys against the deployments.

use super::checker::{Checker, PAGE};
use super::report::{CheckProblem, CheckReport};
use crate::row::idempotency_hash;
use tko_core::Result;

/// Finds deployments whose idempotency key differs from its indexed hash.
pub(super) async fn check(checker: &Checker<'_>, report: &mut CheckReport) -> Result<()> {
    let sql = "SELECT e.id, e.once, e.rest ->> 'once' FROM entity e WHERE e.kind = 2 \
         AND e.id > $1 ORDER BY e.id LIMIT $2";
    let mut after = String::new();
    loop {
        let statement = sqlx::query_as(sql)
            .bind(&after)
            .bind(PAGE)
            .fetch_all(&checker.database.pool);
        let page: Vec<(String, Option<Vec<u8>>, Option<String>)> =
            checker.read("read idempotency keys", statement).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after.clone_from(&last.0);
        for (id, hash, key) in page {
            let correct = key.as_deref().map(idempotency_hash);
            if hash == correct {
                continue;
            }
            let mut repaired = false;
            if checker.repair {
                let statement = sqlx::query(
                    "UPDATE entity SET once = $2 WHERE kind = 2 AND id = $1 \
                     AND once IS NOT DISTINCT FROM $3 AND NOT EXISTS \
                     (SELECT 1 FROM entity o WHERE o.once = $2)",
                )
                .bind(&id)
                .bind(correct)
                .bind(hash)
                .execute(&checker.database.pool);
                repaired = checker.fix("repair an idempotency key", statement).await?;
            }
            let example = format!("deployment {id}");
            report.add(CheckProblem::IdempotencyKey, example, repaired);
        }
    }
}
