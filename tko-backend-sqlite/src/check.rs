//! Consistency checks and repairs, in one snapshot.
//!
//! The schema has no constraints between tables: they would cost every write. A check without
//! repair reads a snapshot and does not block writes. With repair it runs in the transaction of the
//! writer, so other writes wait for it.

mod report;
mod rows;

use crate::arena::unsigned;
use crate::connect::SqliteParts;
use crate::fault::SqliteFault;
use report::SqliteFindings;
use sqlx::{Row, SqliteConnection};
use tko_core::Result;

pub use report::{SqliteCheckFinding, SqliteCheckProblem, SqliteCheckReport};

/// Checks everything. With `repair`, the connection must be in a write transaction.
pub(crate) async fn check(
    connection: &mut SqliteConnection,
    parts: &SqliteParts,
    repair: bool,
) -> Result<SqliteCheckReport> {
    let fault = parts.file.fault("check the file");
    let mut findings = SqliteFindings::default();
    let pages = sqlx::query_scalar("PRAGMA integrity_check(10)")
        .fetch_all(&mut *connection)
        .await;
    let pages: Vec<String> = match pages {
        // SQLite stops at some damaged pages.
        Err(error) if SqliteFault::of(&error) == SqliteFault::Damaged => vec![error.to_string()],
        pages => pages.map_err(&fault)?,
    };
    for problem in pages.into_iter().filter(|problem| problem != "ok") {
        findings.add(SqliteCheckProblem::Damage, problem, false);
    }
    if findings.is_empty() {
        rows::check(connection, parts, repair, &mut findings).await?;
        for statement in COMPARISONS {
            compare(connection, statement, repair, &mut findings)
                .await
                .map_err(&fault)?;
        }
        feed(connection, &mut findings).await.map_err(&fault)?;
    }
    Ok(findings.report())
}

/// A problem, with the statements that find and repair it.
struct RowComparison {
    problem: SqliteCheckProblem,
    /// Selects one text for each occurrence.
    find: &'static str,
    repair: &'static str,
}

const COMPARISONS: &[RowComparison] = &[
    RowComparison {
        problem: SqliteCheckProblem::Index,
        find: "SELECT 'entry of ' || p.id FROM posting p \
               LEFT JOIN term t ON t.num = p.term WHERE t.num IS NULL",
        repair: "DELETE FROM posting WHERE term NOT IN (SELECT num FROM term)",
    },
    RowComparison {
        problem: SqliteCheckProblem::Work,
        find: "SELECT w.id FROM work w WHERE NOT EXISTS \
               (SELECT 1 FROM entity e WHERE e.kind = w.kind AND e.id = w.id)",
        repair: "DELETE FROM work WHERE NOT EXISTS \
                 (SELECT 1 FROM entity e WHERE e.kind = work.kind AND e.id = work.id)",
    },
    RowComparison {
        problem: SqliteCheckProblem::IdempotencyKey,
        find: "SELECT h.id FROM holder h WHERE NOT EXISTS \
               (SELECT 1 FROM entity e WHERE e.kind = 2 AND e.id = h.id)",
        repair: "DELETE FROM holder WHERE NOT EXISTS \
                 (SELECT 1 FROM entity e WHERE e.kind = 2 AND e.id = holder.id)",
    },
    RowComparison {
        problem: SqliteCheckProblem::Orphan,
        find: "SELECT lower(hex(hash)) FROM body WHERE refs <= 0",
        repair: "DELETE FROM body WHERE refs <= 0",
    },
];

async fn compare(
    connection: &mut SqliteConnection,
    comparison: &RowComparison,
    repair: bool,
    findings: &mut SqliteFindings,
) -> Result<(), sqlx::Error> {
    let found: Vec<String> = sqlx::query_scalar(comparison.find)
        .fetch_all(&mut *connection)
        .await?;
    if repair && !found.is_empty() {
        sqlx::query(comparison.repair)
            .execute(&mut *connection)
            .await?;
    }
    for example in found {
        findings.add(comparison.problem, example, repair);
    }
    Ok(())
}

/// Revisions are dense, from the one after the oldest to the last.
async fn feed(
    connection: &mut SqliteConnection,
    findings: &mut SqliteFindings,
) -> Result<(), sqlx::Error> {
    let row = sqlx::query(
        "SELECT revision - oldest, (SELECT count(*) FROM change), \
         (SELECT count(*) FROM change WHERE revision > head.revision OR revision <= head.oldest) \
         FROM head",
    )
    .fetch_one(&mut *connection)
    .await?;
    let (kept, changes, outside): (i64, i64, i64) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    findings.changes = unsigned(changes);
    if kept != changes || outside != 0 {
        let example = format!("{changes} changes of {kept}, {outside} of them out of range");
        findings.add(SqliteCheckProblem::Feed, example, false);
    }
    Ok(())
}
