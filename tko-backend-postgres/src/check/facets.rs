//! Checks the index of metadata against the entities.

use super::checker::{Checker, PAGE, decode};
use super::report::{CheckProblem, CheckReport};
use crate::codes::{key_of, signed};
use crate::entity::entities;
use crate::facet::indexed;
use crate::row::COLUMNS;
use sqlx::AssertSqlSafe;
use std::collections::HashMap;
use tko_core::{Entity, Key, Result};

/// A row of the table `facet`: kind, key, value, and id.
type FacetRow = (i16, String, String, String);

/// Finds entries for pairs that their entity does not have.
pub(super) async fn check(checker: &Checker<'_>, report: &mut CheckReport) -> Result<()> {
    let mut after = (-1_i16, String::new(), String::new(), String::new());
    loop {
        let mut snapshot = checker.snapshot().await?;
        let page: Vec<FacetRow> = checker
            .read(
                "read the index of metadata",
                sqlx::query_as(
                    "SELECT kind, key, value, id FROM facet \
                     WHERE (kind, key, value, id) > ($1, $2, $3, $4) \
                     ORDER BY kind, key, value, id LIMIT $5",
                )
                .bind(after.0)
                .bind(&after.1)
                .bind(&after.2)
                .bind(&after.3)
                .bind(PAGE)
                .fetch_all(&mut *snapshot),
            )
            .await?;
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
        let found = checker
            .read(
                "read rows",
                sqlx::query(AssertSqlSafe(sql))
                    .bind(kinds)
                    .bind(ids)
                    .fetch_all(&mut *snapshot),
            )
            .await?;
        checker.end(snapshot).await?;
        let rows = entities(&checker.content.skeletons, decode(&found)?).await?;
        let rows: HashMap<Key, _> = rows
            .into_iter()
            .map(|entity| (entity.key.clone(), entity))
            .collect();
        for facet in page {
            let key = key_of(facet.0, &facet.3)?;
            let entity = rows.get(&key);
            if entity.is_some_and(|entity| has(entity, &facet)) {
                continue;
            }
            let version = entity.map(|entity| signed(entity.version.0));
            let repaired = checker.repair && remove(checker, &facet, version).await?;
            let example = format!("{key} does not have {}={}", facet.1, facet.2);
            report.add(CheckProblem::Index, example, repaired);
        }
    }
}

/// Whether an entity has this pair of metadata.
fn has(entity: &Entity, (_, key, value, _): &FacetRow) -> bool {
    let mut pairs = entity.metadata.iter();
    pairs.any(|(one, text)| indexed(one) == *key && indexed(text) == *value)
}

/// Removes an entry, if the entity still has the version that was read.
async fn remove(
    checker: &Checker<'_>,
    (kind, key, value, id): &FacetRow,
    version: Option<i64>,
) -> Result<bool> {
    let statement = sqlx::query(
        "DELETE FROM facet f WHERE f.kind = $1 AND f.key = $2 AND f.value = $3 AND f.id = $4 \
         AND (SELECT e.version FROM entity e WHERE e.kind = $1 AND e.id = $4) \
         IS NOT DISTINCT FROM $5",
    )
    .bind(kind)
    .bind(key)
    .bind(value)
    .bind(id)
    .bind(version)
    .execute(&checker.database.pool);
    checker.fix("repair the index of metadata", statement).await
}
