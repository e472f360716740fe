//! Checks for bodies and work that no longer belong to an entity.

use super::checker::{Checker, scanning};
use super::report::{CheckProblem, CheckReport};
use crate::codes::key_of;
use crate::metrics::Purpose;
use sqlx::{Connection, PgConnection};
use tko_core::{MAX_CHANGES, Result};

/// Selects bodies to which no entity and no change refers.
const ORPHANED_BODIES: &str = "SELECT b.at FROM body b \
     WHERE NOT EXISTS (SELECT 1 FROM entity e WHERE e.body_at = b.at) \
     AND NOT EXISTS (SELECT 1 FROM event v WHERE v.body_before = b.at) \
     AND NOT EXISTS (SELECT 1 FROM pending p WHERE p.body_before = b.at) \
     ORDER BY b.at";

/// Selects work on missing entities.
const ORPHANED_WORK: &str = "SELECT w.stage, w.kind, w.id FROM work w WHERE NOT EXISTS \
     (SELECT 1 FROM entity e WHERE e.kind = w.kind AND e.id = w.id) ORDER BY 1, 2, 3";

/// Finds unreferenced bodies, and work on missing entities.
pub(super) async fn check(checker: &Checker<'_>, report: &mut CheckReport) -> Result<()> {
    let mut scanning = scanning(checker.database).await?;
    bodies(checker, &mut scanning, report).await?;
    work(checker, &mut scanning, report).await?;
    let _ = scanning.close().await;
    Ok(())
}

async fn bodies(
    checker: &Checker<'_>,
    scanning: &mut PgConnection,
    report: &mut CheckReport,
) -> Result<()> {
    let found = sqlx::query_scalar::<_, i64>(ORPHANED_BODIES).fetch(scanning);
    let mut found = checker.database.metrics.rows(Purpose::Check, found);
    loop {
        let some = found.next_chunk(MAX_CHANGES).await?;
        if some.is_empty() {
            return Ok(());
        }
        if checker.repair {
            let statement = sqlx::query("DELETE FROM body WHERE at = ANY($1)")
                .bind(&some)
                .execute(&checker.database.pool);
            checker
                .fix("delete unreferenced packages", statement)
                .await?;
        }
        for at in some {
            report.add(CheckProblem::Orphan, format!("body {at}"), checker.repair);
        }
    }
}

async fn work(
    checker: &Checker<'_>,
    scanning: &mut PgConnection,
    report: &mut CheckReport,
) -> Result<()> {
    let found = sqlx::query_as::<_, (i16, i16, String)>(ORPHANED_WORK).fetch(scanning);
    let mut found = checker.database.metrics.rows(Purpose::Check, found);
    loop {
        let some = found.next_chunk(MAX_CHANGES).await?;
        if some.is_empty() {
            return Ok(());
        }
        for (_, kind, id) in &some {
            let example = key_of(*kind, id)?.to_string();
            report.add(CheckProblem::Work, example, checker.repair);
        }
        if checker.repair {
            let (stages, keys): (Vec<_>, Vec<_>) = some
                .into_iter()
                .map(|(stage, kind, id)| (stage, (kind, id)))
                .unzip();
            let (kinds, ids): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
            let statement = sqlx::query(
                "DELETE FROM work w USING unnest($1::smallint[], $2::smallint[], $3::text[]) \
                 k(stage, kind, id) WHERE w.stage = k.stage AND w.kind = k.kind AND w.id = k.id \
                 AND NOT EXISTS (SELECT 1 FROM entity e WHERE e.kind = w.kind AND e.id = w.id)",
            )
            .bind(stages)
            .bind(kinds)
            .bind(ids)
            .execute(&checker.database.pool);
            checker
                .fix("delete work on missing entities", statement)
                .await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ORPHANED_BODIES, ORPHANED_WORK, scanning};
    use crate::PostgresSettings;
    use crate::connect::connect;
    use sqlx::{AssertSqlSafe, Executor};
    use tko_postgres_server::shared;

    /// No statement reads a table once for each row of another, even if the planner has no statistics.
    #[tokio::test(flavor = "multi_thread")]
    async fn each_table_is_read_once() {
        let server = shared();
        let database = server.create_database().expect("a database");
        let database = connect(PostgresSettings::new(server.url(&database))).await;
        let database = database.expect("a database");
        let many = "INSERT INTO body SELECT n, 0, NULL, '' FROM generate_series(1, 20000) n; \
             INSERT INTO entity (kind, id, version, generation, created, updated, body_at, \
             deleting, prepared, approved, body, metadata, rest) \
             SELECT 1, n, n, 1, 0, 0, n, false, false, false, '', '', '{}' \
             FROM generate_series(1, 20000) n";
        database.pool.execute(many).await.expect("inserted");
        for (statement, pairs) in [(ORPHANED_BODIES, 3), (ORPHANED_WORK, 1)] {
            let mut scanning = scanning(&database).await.expect("a connection");
            let explain = AssertSqlSafe(format!("EXPLAIN {statement}"));
            let plan: Vec<String> = sqlx::query_scalar(explain)
                .fetch_all(&mut scanning)
                .await
                .expect("a plan");
            let plan = plan.join("\n");
            assert!(!plan.contains("Nested Loop"), "{plan}");
            assert_eq!(plan.matches("Anti Join").count(), pairs, "{plan}");
        }
    }
}
