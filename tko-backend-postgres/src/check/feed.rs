//! Checks that the feed is dense, and that changes are being numbered.

use super::checker::Checker;
use super::report::{CheckProblem, CheckReport};
use tko_core::Result;

/// Checks the feed from its oldest change to its head, and the pending changes.
pub(super) async fn check(checker: &Checker<'_>, report: &mut CheckReport) -> Result<()> {
    let pool = &checker.database.pool;
    let statement = sqlx::query_as(
        "SELECT (SELECT count(*) FROM event v WHERE v.revision > h.oldest AND v.revision <= h.revision), \
         h.revision - h.oldest, \
         (SELECT count(*) FROM event v WHERE v.revision > h.revision), \
         (SELECT count(*) FROM event v WHERE v.revision > h.oldest \
          AND (v.set_revision < v.revision OR v.set_revision > h.revision)) FROM head h",
    )
    .fetch_one(pool);
    let (kept, expected, beyond, torn): (i64, i64, i64, i64) = checker
        .read("count the changes of the feed", statement)
        .await?;
    report.changes = kept.unsigned_abs();
    if kept != expected {
        let example = format!("the feed has {kept} changes; expected {expected}");
        report.add(CheckProblem::Feed, example, false);
    }
    if beyond > 0 {
        let example = format!("{beyond} changes are after the head");
        report.add(CheckProblem::Feed, example, false);
    }
    if torn > 0 {
        let example = format!("{torn} changes have a wrong end of their change set");
        report.add(CheckProblem::Feed, example, false);
    }
    let statement = sqlx::query_scalar(
        "SELECT count(*) FROM pending WHERE at < now_us() - 60 * 1000000::bigint",
    )
    .fetch_one(pool);
    let old: i64 = checker
        .read("count changes without a revision", statement)
        .await?;
    if old > 0 {
        let example = format!("{old} changes");
        report.add(CheckProblem::Unnumbered, example, false);
    }
    Ok(())
}
