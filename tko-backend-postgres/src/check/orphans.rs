//! What nothing leads to, and the feed.

use super::{Check, PAGE, Problem, Report, SNAPSHOT};
use crate::columns::Columns;
use crate::dialect;
use crate::facet::indexed;
use crate::fault::fault;
use crate::metrics::{Purpose, Sending};
use crate::record::entities;
use crate::row::{COLUMNS, Row, key, once_hash};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use std::collections::HashMap;
use tko_core::{Key, MAX_CHANGES, Result};

/// Bodies that no row, and no change that is kept, refers to.
const ORPHANS: &str = "SELECT b.at FROM body b \
     WHERE NOT EXISTS (SELECT 1 FROM entity e WHERE e.body_at = b.at) \
     AND NOT EXISTS (SELECT 1 FROM event v WHERE v.body_before = b.at) \
     AND NOT EXISTS (SELECT 1 FROM pending p WHERE p.body_before = b.at) \
     ORDER BY b.at";

/// Work on what is not there.
const IDLE_WORK: &str = "SELECT w.stage, w.kind, w.id FROM work w WHERE NOT EXISTS \
     (SELECT 1 FROM entity e WHERE e.kind = w.kind AND e.id = w.id) ORDER BY 1, 2, 3";

impl Check<'_> {
    /// Index entries of what is not there, or says something else.
    pub(super) async fn facets(&self, report: &mut Report) -> Result<()> {
        let mut after = (-1_i16, String::new(), String::new(), String::new());
        loop {
            let mut snapshot = self
                .shared
                .pool
                .begin_with(SNAPSHOT)
                .sent(&self.shared.measures, Purpose::Begin)
                .await?;
            let page: Vec<(i16, String, String, String)> = sqlx::query_as(
                "SELECT kind, key, value, id FROM facet \
                 WHERE (kind, key, value, id) > ($1, $2, $3, $4) \
                 ORDER BY kind, key, value, id LIMIT $5",
            )
            .bind(after.0)
            .bind(&after.1)
            .bind(&after.2)
            .bind(&after.3)
            .bind(PAGE)
            .fetch_all(&mut *snapshot)
            .measured(&self.shared.measures, Purpose::Check)
            .await
            .map_err(fault("read the index of metadata"))?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.clone();
            let (kinds, ids): (Vec<i16>, Vec<&String>) =
                page.iter().map(|(kind, .., id)| (*kind, id)).unzip();
            let sql = format!(
                "SELECT DISTINCT ON (e.kind, e.id) {COLUMNS} \
                 FROM unnest($1::smallint[], $2::text[]) k(kind, id) \
                 JOIN entity e ON e.kind = k.kind AND e.id = k.id ORDER BY e.kind, e.id"
            );
            let found = sqlx::query(AssertSqlSafe(sql))
                .bind(kinds)
                .bind(ids)
                .fetch_all(&mut *snapshot)
                .measured(&self.shared.measures, Purpose::Check)
                .await
                .map_err(fault("read rows"))?;
            let ended = snapshot.commit();
            ended.sent(&self.shared.measures, Purpose::End).await?;
            let rows = found
                .iter()
                .map(|row| Row::read(&mut Columns::of(row, 0)))
                .collect::<Result<_, _>>();
            let rows = rows.map_err(fault("decode rows"))?;
            let rows: HashMap<Key, _> = entities(self.shared, rows)
                .await?
                .into_iter()
                .map(|entity| (entity.key.clone(), entity))
                .collect();
            for (kind, name, value, id) in page {
                let of = key(kind, &id)?;
                let says = |entity: &tko_core::Entity| {
                    entity
                        .metadata
                        .iter()
                        .any(|(key, text)| indexed(key) == name && indexed(text) == value)
                };
                let row = rows.get(&of);
                if row.is_some_and(|entity| says(entity)) {
                    continue;
                }
                let version = row.map(|entity| crate::row::signed(entity.version.0));
                let stray = (kind, name, value, id);
                let repaired = self.repair && self.unindex(&stray, version).await?;
                let example = format!("{of} is found by {}={}, which it is not", stray.1, stray.2);
                report.add(Problem::Index, example, repaired);
            }
        }
    }

    /// Removes an index entry, if the row is still as it was read.
    async fn unindex(
        &self,
        (kind, name, value, id): &(i16, String, String, String),
        version: Option<i64>,
    ) -> Result<bool> {
        let done = sqlx::query(
            "DELETE FROM facet f WHERE f.kind = $1 AND f.key = $2 AND f.value = $3 AND f.id = $4 \
             AND (SELECT e.version FROM entity e WHERE e.kind = $1 AND e.id = $4) \
             IS NOT DISTINCT FROM $5",
        )
        .bind(kind)
        .bind(name)
        .bind(value)
        .bind(id)
        .bind(version)
        .execute(&self.shared.pool)
        .measured(&self.shared.measures, Purpose::Repair)
        .await
        .map_err(fault("mend the index of metadata"))?;
        Ok(done.rows_affected() > 0)
    }

    /// A connection for statements that hold whole tables against one another.
    async fn scanning(&self) -> Result<PgConnection> {
        let options = self.shared.options.clone().options(dialect::SCANNING);
        options
            .connect()
            .await
            .map_err(fault("connect to look at everything"))
    }

    /// Bodies, work and creation keys that nothing leads to.
    pub(super) async fn strays(&self, report: &mut Report) -> Result<()> {
        let mut scanning = self.scanning().await?;
        self.orphans(&mut scanning, report).await?;
        self.idle_work(&mut scanning, report).await?;
        let _ = scanning.close().await;
        self.once(report).await
    }

    async fn orphans(&self, scanning: &mut PgConnection, report: &mut Report) -> Result<()> {
        let found = sqlx::query_scalar::<_, i64>(ORPHANS).fetch(scanning);
        let mut found = self.shared.measures.rows(Purpose::Check, found);
        loop {
            let some = found.next_chunk(MAX_CHANGES).await?;
            if some.is_empty() {
                return Ok(());
            }
            if self.repair {
                sqlx::query("DELETE FROM body WHERE at = ANY($1)")
                    .bind(&some)
                    .execute(&self.shared.pool)
                    .measured(&self.shared.measures, Purpose::Repair)
                    .await
                    .map_err(fault("remove bodies of nothing"))?;
            }
            for at in some {
                report.add(Problem::Orphan, format!("body {at}"), self.repair);
            }
        }
    }

    async fn idle_work(&self, scanning: &mut PgConnection, report: &mut Report) -> Result<()> {
        let found = sqlx::query_as::<_, (i16, i16, String)>(IDLE_WORK).fetch(scanning);
        let mut found = self.shared.measures.rows(Purpose::Check, found);
        loop {
            let some = found.next_chunk(MAX_CHANGES).await?;
            if some.is_empty() {
                return Ok(());
            }
            for (_, kind, id) in &some {
                report.add(Problem::Work, format!("{}", key(*kind, id)?), self.repair);
            }
            if self.repair {
                let (stages, keys): (Vec<_>, Vec<_>) = some
                    .into_iter()
                    .map(|(stage, kind, id)| (stage, (kind, id)))
                    .unzip();
                let (kinds, ids): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
                sqlx::query(
                    "DELETE FROM work w USING unnest($1::smallint[], $2::smallint[], $3::text[]) \
                     k(stage, kind, id) WHERE w.stage = k.stage AND w.kind = k.kind AND w.id = k.id \
                     AND NOT EXISTS (SELECT 1 FROM entity e WHERE e.kind = w.kind AND e.id = w.id)",
                )
                .bind(stages)
                .bind(kinds)
                .bind(ids)
                .execute(&self.shared.pool)
                .measured(&self.shared.measures, Purpose::Repair)
                .await
                .map_err(fault("remove work on nothing"))?;
            }
        }
    }

    async fn once(&self, report: &mut Report) -> Result<()> {
        let sql = "SELECT e.id, e.once, e.rest ->> 'once' FROM entity e WHERE e.kind = 2 \
             AND e.id > $1 ORDER BY e.id LIMIT $2";
        let mut after = String::new();
        loop {
            let page: Vec<(String, Option<Vec<u8>>, Option<String>)> = sqlx::query_as(sql)
                .bind(&after)
                .bind(PAGE)
                .fetch_all(&self.shared.pool)
                .measured(&self.shared.measures, Purpose::Check)
                .await
                .map_err(fault("read creation keys"))?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.0.clone();
            for (id, hash, once) in page {
                let right = once.as_deref().map(once_hash);
                if hash == right {
                    continue;
                }
                let mut repaired = false;
                if self.repair {
                    let done = sqlx::query(
                        "UPDATE entity SET once = $2 WHERE kind = 2 AND id = $1 \
                         AND once IS NOT DISTINCT FROM $3 AND NOT EXISTS \
                         (SELECT 1 FROM entity o WHERE o.once = $2)",
                    )
                    .bind(&id)
                    .bind(right)
                    .bind(hash)
                    .execute(&self.shared.pool)
                    .measured(&self.shared.measures, Purpose::Repair)
                    .await
                    .map_err(fault("mend a creation key"))?;
                    repaired = done.rows_affected() > 0;
                }
                report.add(Problem::Once, format!("deployment {id}"), repaired);
            }
        }
    }

    /// Whether the feed is dense from its oldest to its head, and goes on.
    pub(super) async fn feed(&self, report: &mut Report) -> Result<()> {
        let (kept, wanted, beyond, torn): (i64, i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM event v WHERE v.revision > h.oldest AND v.revision <= h.revision), \
             h.revision - h.oldest, \
             (SELECT count(*) FROM event v WHERE v.revision > h.revision), \
             (SELECT count(*) FROM event v WHERE v.revision > h.oldest \
              AND (v.set_revision < v.revision OR v.set_revision > h.revision)) FROM head h",
        )
        .fetch_one(&self.shared.pool)
        .measured(&self.shared.measures, Purpose::Check)
        .await
        .map_err(fault("count the changes of the feed"))?;
        report.changes = kept.unsigned_abs();
        if kept != wanted {
            let example = format!("{kept} changes are there where {wanted} should be");
            report.add(Problem::Feed, example, false);
        }
        if beyond > 0 {
            let example = format!("{beyond} changes are beyond the head");
            report.add(Problem::Feed, example, false);
        }
        if torn > 0 {
            let example = format!("{torn} changes name a set that ends elsewhere");
            report.add(Problem::Feed, example, false);
        }
        let old: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pending WHERE at < now_us() - 60 * 1000000::bigint",
        )
        .fetch_one(&self.shared.pool)
        .measured(&self.shared.measures, Purpose::Check)
        .await
        .map_err(fault("look for changes without revision"))?;
        if old > 0 {
            report.add(Problem::Unnumbered, format!("{old} changes"), false);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Check, IDLE_WORK, ORPHANS};
    use crate::{Postgres, Settings};
    use sqlx::{AssertSqlSafe, Executor};
    use tko_postgres_server::shared;

    /// Nothing is looked for in a whole table once for each row of another, however many there are
    /// and however little the planner knows of that.
    #[tokio::test(flavor = "multi_thread")]
    async fn tables_are_gone_through_once() {
        let server = shared();
        let database = server.create_database().expect("a database");
        let store = Postgres::connect(Settings::new(server.url(&database))).await;
        let store = store.expect("a store");
        let many = "INSERT INTO body SELECT n, 0, NULL, '' FROM generate_series(1, 20000) n; \
             INSERT INTO entity (kind, id, version, generation, created, updated, body_at, \
             deleting, prepared, approved, body, metadata, rest) \
             SELECT 1, n, n, 1, 0, 0, n, false, false, false, '', '', '{}' \
             FROM generate_series(1, 20000) n";
        store.shared.pool.execute(many).await.expect("inserted");
        let check = Check {
            shared: &store.shared,
            repair: false,
        };
        for (statement, pairs) in [(ORPHANS, 3), (IDLE_WORK, 1)] {
            let mut scanning = check.scanning().await.expect("a connection");
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
