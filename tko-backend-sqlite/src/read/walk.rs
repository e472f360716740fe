//! Walks: the rows that may match, in key order, a chunk at a time.

use super::plan::{IdScope, TermPlan, end_of, terms_argument};
use crate::connect::SqliteFile;
use crate::pack::unpack;
use sqlx::{Row, SqliteConnection};
use std::collections::BTreeSet;
use tko_core::{Kind, Record, Result};

/// Maximum number of entries of each term that one chunk reads, if there are many terms.
const SHARE: usize = 4;

/// A walk through the rows that a plan finds.
pub(super) struct RowWalk<'a> {
    plan: &'a TermPlan,
    after: String,
    /// Entries of the index that were read.
    visited: usize,
    is_done: bool,
}

impl<'a> RowWalk<'a> {
    /// Starts after this id.
    pub(super) fn new(plan: &'a TermPlan, after: Option<&str>) -> Self {
        let is_done = match (&plan.ids, &plan.terms) {
            (_, Some(terms)) => terms.is_empty(),
            (IdScope::Among(ids), None) => ids.is_empty(),
            (IdScope::Prefix(_), None) => false,
        };
        Self {
            plan,
            after: after.unwrap_or_default().to_owned(),
            visited: 0,
            is_done,
        }
    }

    /// The number of index entries that were read.
    pub(super) fn visited(&self) -> usize {
        self.visited
    }

    /// Whether there are no more rows.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// The id up to which rows were returned.
    pub(super) fn position(&self) -> &str {
        &self.after
    }

    /// Returns the next rows in key order: about `size`, possibly none.
    pub(super) async fn next(
        &mut self,
        connection: &mut SqliteConnection,
        file: &SqliteFile,
        size: usize,
    ) -> Result<Vec<Record>> {
        let fault = file.fault("read a listing");
        let rows = match (&self.plan.ids, &self.plan.terms) {
            (IdScope::Among(ids), None) => {
                self.is_done = true;
                let ids: Vec<&String> = ids.iter().filter(|id| **id > self.after).collect();
                self.visited += ids.len();
                rows_of(connection, self.plan.kind, &ids).await
            }
            (IdScope::Prefix(prefix), None) => self.range(connection, prefix, size).await,
            (ids, Some(terms)) => {
                let prefix = match ids {
                    IdScope::Prefix(prefix) => prefix.as_str(),
                    IdScope::Among(_) => "",
                };
                if let [term] = terms[..] {
                    self.one_term(connection, term, prefix, size).await
                } else {
                    let ids = self.merged(connection, terms, prefix, size).await;
                    match ids {
                        Ok(ids) => {
                            let ids: Vec<&String> = ids.iter().collect();
                            rows_of(connection, self.plan.kind, &ids).await
                        }
                        Err(error) => Err(error),
                    }
                }
            }
        };
        rows.map_err(fault)?
            .iter()
            .map(|data| unpack(data))
            .collect()
    }

    /// Records the last id of a chunk, and whether the chunk was full.
    fn advance(
        &mut self,
        rows: &[sqlx::sqlite::SqliteRow],
        size: usize,
    ) -> Result<Vec<Vec<u8>>, sqlx::Error> {
        self.visited += rows.len();
        self.is_done = rows.len() < size;
        if let Some(last) = rows.last() {
            self.after = last.try_get(0)?;
        }
        rows.iter().map(|row| row.try_get(1)).collect()
    }

    async fn range(
        &mut self,
        connection: &mut SqliteConnection,
        prefix: &str,
        size: usize,
    ) -> Result<Vec<Vec<u8>>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT id, data FROM entity WHERE kind = $1 AND id > $2 AND id >= $3 AND id < $4 \
             ORDER BY id LIMIT $5",
        )
        .bind(self.plan.kind as i64)
        .bind(self.after.clone())
        .bind(prefix.to_owned())
        .bind(end_of(prefix))
        .bind(limit(size))
        .fetch_all(connection)
        .await?;
        self.advance(&rows, size)
    }

    async fn one_term(
        &mut self,
        connection: &mut SqliteConnection,
        term: i64,
        prefix: &str,
        size: usize,
    ) -> Result<Vec<Vec<u8>>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT p.id, e.data FROM posting p CROSS JOIN entity e ON e.kind = $1 AND e.id = p.id \
             WHERE p.term = $2 AND p.id > $3 AND p.id >= $4 AND p.id < $5 ORDER BY p.id LIMIT $6",
        )
        .bind(self.plan.kind as i64)
        .bind(term)
        .bind(self.after.clone())
        .bind(prefix.to_owned())
        .bind(end_of(prefix))
        .bind(limit(size))
        .fetch_all(connection)
        .await?;
        self.advance(&rows, size)
    }

    /// The next ids of several terms, merged. Each term contributes a few. The result is complete
    /// up to the smallest last id among the terms that may have more.
    async fn merged(
        &mut self,
        connection: &mut SqliteConnection,
        terms: &[i64],
        prefix: &str,
        size: usize,
    ) -> Result<BTreeSet<String>, sqlx::Error> {
        let share = (2 * size / terms.len()).max(SHARE);
        let rows = sqlx::query(
            "SELECT j.value, p.id FROM json_each($1) j CROSS JOIN posting p ON p.term = j.value \
             AND p.id IN (SELECT id FROM posting WHERE term = j.value AND id > $2 AND id >= $3 \
                 AND id < $4 ORDER BY id LIMIT $5)",
        )
        .bind(terms_argument(terms))
        .bind(self.after.clone())
        .bind(prefix.to_owned())
        .bind(end_of(prefix))
        .bind(limit(share))
        .fetch_all(connection)
        .await?;
        self.visited += rows.len() + terms.len();
        let mut ids: BTreeSet<String> = BTreeSet::new();
        let mut bound: Option<String> = None;
        let (mut term, mut count, mut last) = (None, 0, String::new());
        let close = |count: usize, last: &String, bound: &mut Option<String>| {
            if count == share && bound.as_ref().is_none_or(|bound| last < bound) {
                *bound = Some(last.clone());
            }
        };
        for row in &rows {
            let of: i64 = row.try_get(0)?;
            let id: String = row.try_get(1)?;
            if term != Some(of) {
                close(count, &last, &mut bound);
                (term, count, last) = (Some(of), 0, String::new());
            }
            count += 1;
            if id > last {
                last.clone_from(&id);
            }
            ids.insert(id);
        }
        close(count, &last, &mut bound);
        self.is_done = bound.is_none();
        if let Some(bound) = bound {
            ids.retain(|id| *id <= bound);
            self.after = bound;
        }
        Ok(ids)
    }
}

/// The rows of these ids, which are in order.
async fn rows_of(
    connection: &mut SqliteConnection,
    kind: Kind,
    ids: &[&String],
) -> Result<Vec<Vec<u8>>, sqlx::Error> {
    // No character of an id needs escaping in JSON.
    let list: Vec<String> = ids.iter().map(|id| format!("\"{id}\"")).collect();
    sqlx::query_scalar(
        "SELECT e.data FROM json_each($1) j CROSS JOIN entity e ON e.kind = $2 AND e.id = j.value",
    )
    .bind(format!("[{}]", list.join(",")))
    .bind(kind as i64)
    .fetch_all(connection)
    .await
}

fn limit(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
