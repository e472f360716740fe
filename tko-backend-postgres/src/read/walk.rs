//! Walks: the rows of a selection, statement by statement.

use super::choose::choose;
use super::join::RelationFilters;
use super::plan::{IndexDriver, ListPlan};
use super::record::FoundEntity;
use super::statements::{PageExtent, page};
use crate::columns::RowColumns;
use crate::fault::fault;
use crate::metrics::{Purpose, StatementMetrics};
use crate::row::RowDecoder;
use crate::sql::BuiltSql;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use tko_core::select::MAX_PAGE;
use tko_core::{Error, Key, Result, Select, Want};

/// The limit of index entries that one page visits.
pub(super) const MAX_VISITED: usize = 10_000;

/// The limit of rows of one statement: a page, and one more row that shows whether there is another
/// page.
const MAX_ROWS: usize = MAX_PAGE + 1;

/// Rows that one task decodes.
const CHUNK: usize = 250;

/// The answer of one statement, or of a part of it.
#[derive(Default)]
struct RowBatch {
    head: i64,
    /// Whether there are too many values to merge.
    many: bool,
    /// The last id that was visited, if the answer is short but not the end.
    last: Option<String>,
    rows: Vec<FoundEntity>,
}

impl RowBatch {
    fn add(&mut self, more: Self) {
        (self.head, self.many, self.last) = (more.head, more.many, more.last);
        self.rows.extend(more.rows);
    }
}

/// A walk through the rows of a selection, in the order of ids.
pub(super) struct SelectionWalk<'a> {
    metrics: &'a StatementMetrics,
    select: &'a Select,
    /// `None`: nothing can match.
    pub(super) plan: Option<ListPlan>,
    /// Whether the driver was chosen.
    chosen: bool,
    limit: usize,
    want: Want,
    /// The head of the first statement.
    head: Option<i64>,
    /// Index entries that were visited so far.
    visited: usize,
    /// The last id that was visited.
    last: Option<String>,
    ended: bool,
}

impl<'a> SelectionWalk<'a> {
    /// Starts a walk that returns at most `limit` rows.
    pub(super) fn new(metrics: &'a StatementMetrics, select: &'a Select, limit: usize) -> Self {
        let plan = ListPlan::new(select);
        Self {
            metrics,
            select,
            ended: plan.is_none(),
            plan,
            chosen: false,
            limit,
            want: Want::ROW,
            head: None,
            visited: 0,
            last: None,
        }
    }

    /// Sets the parts of each record that are read.
    pub(super) fn wanting(mut self, want: Want) -> Self {
        self.want = want;
        self
    }

    /// Continues after this key.
    pub(super) fn after(&mut self, key: &Key) {
        if let Some(plan) = &mut self.plan {
            self.ended |= !plan.after(key);
        }
    }

    /// The last revision when the walk began; `None` if no statement was sent.
    pub(super) fn head(&self) -> Option<i64> {
        self.head
    }

    pub(super) fn select(&self) -> &'a Select {
        self.select
    }

    /// Resets the limit of visited entries.
    pub(super) fn reset_limit(&mut self) {
        self.visited = 0;
    }

    /// Whether the walk is at the end of the selection.
    pub(super) fn is_at_end(&self) -> bool {
        self.ended
    }

    /// The last id that was visited.
    pub(super) fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Whether the walk has reached a limit or the end.
    fn is_done(&self, given: usize) -> bool {
        self.ended || given >= self.limit || self.visited >= MAX_VISITED
    }

    /// Returns the rows of one statement, and whether no further statement is needed.
    pub(super) async fn first(
        &mut self,
        connection: &mut PgConnection,
        filters: &mut RelationFilters<'_>,
    ) -> Result<(Vec<FoundEntity>, bool)> {
        let mut given = Vec::new();
        if !self.ended {
            self.step(connection, filters, &mut given).await?;
        }
        let enough = self.is_done(given.len());
        Ok((given, enough))
    }

    /// Returns rows until a limit or the end. The connection needs a transaction with one snapshot,
    /// because that may take several statements.
    pub(super) async fn collect(
        &mut self,
        connection: &mut PgConnection,
        filters: &mut RelationFilters<'_>,
    ) -> Result<Vec<FoundEntity>> {
        let mut given = Vec::new();
        while !self.is_done(given.len()) {
            self.step(connection, filters, &mut given).await?;
        }
        Ok(given)
    }

    async fn step(
        &mut self,
        connection: &mut PgConnection,
        filters: &mut RelationFilters<'_>,
        given: &mut Vec<FoundEntity>,
    ) -> Result<()> {
        let Some(plan) = &mut self.plan else {
            return Ok(());
        };
        if !self.chosen {
            choose(self.metrics, connection, plan).await?;
            self.chosen = true;
        }
        // If SQL cannot decide, the more rows were dropped, the more are requested.
        let missing = self.limit - given.len() + 1;
        let asked = match self.visited {
            0 if plan.is_exact => missing,
            seen => missing.max(seen).max(100),
        };
        let extent = PageExtent {
            rows: asked.min(MAX_ROWS),
            visited: MAX_VISITED.saturating_sub(self.visited).max(MAX_ROWS),
        };
        let batch = loop {
            let batch = read(self.metrics, connection, plan, extent, self.want).await?;
            if !batch.many {
                break batch;
            }
            plan.drop_driver();
        };
        self.head.get_or_insert(batch.head);
        filters.learn(self.metrics, connection, &batch.rows).await?;
        let full = batch.rows.len() == extent.rows;
        self.visited += match &batch.last {
            Some(_) if !matches!(plan.driver(), IndexDriver::Merged(..)) => extent.visited,
            Some(_) => extent.rows,
            None => batch.rows.len(),
        };
        for found in batch.rows {
            if given.len() == self.limit {
                // This row belongs to the next page.
                plan.after_id(self.last.as_deref().unwrap_or_default());
                return Ok(());
            }
            let entity = &found.entity;
            entity
                .key
                .id()
                .clone_into(self.last.get_or_insert_default());
            let fits = if plan.is_exact {
                self.select.deleting || !entity.deleting
            } else {
                filters.matches(entity) && self.select.matches(entity)
            };
            if fits {
                given.push(found);
            }
        }
        if let Some(last) = batch.last {
            self.last = Some(last);
        } else if !full {
            self.ended = true;
        }
        plan.after_id(self.last.as_deref().unwrap_or_default());
        Ok(())
    }
}

async fn read(
    metrics: &StatementMetrics,
    connection: &mut PgConnection,
    plan: &ListPlan,
    extent: PageExtent,
    want: Want,
) -> Result<RowBatch> {
    let failed = fault("list entities");
    let BuiltSql { text, values } = page(plan, extent, want).map_err(&failed)?;
    let mut batch = RowBatch::default();
    batch.rows.reserve(extent.rows);
    let rows = sqlx::query_with(AssertSqlSafe(text), values).fetch(connection);
    let mut rows = metrics.rows(Purpose::List, rows);
    // Other tasks decode while more rows arrive: decoding takes as long as the query itself.
    let (mut decoding, mut chunk) = (Vec::new(), Vec::new());
    while let Some(row) = rows.try_next().await? {
        if chunk.len() == CHUNK {
            let full = std::mem::take(&mut chunk);
            decoding.push(tokio::spawn(async move { decode(&full, want) }));
        }
        chunk.push(row);
    }
    drop(rows);
    let rest = decode(&chunk, want)?;
    for decoded in decoding {
        let decoded = decoded
            .await
            .map_err(|error| Error::internal("decode a page", error))?;
        batch.add(decoded?);
    }
    batch.add(rest);
    if !batch.rows.is_sorted_by(|one, other| one.id() < other.id()) {
        batch
            .rows
            .sort_unstable_by(|one, other| one.id().cmp(other.id()));
    }
    Ok(batch)
}

/// Decodes rows of [`page`]'s statement.
fn decode(rows: &[PgRow], want: Want) -> Result<RowBatch> {
    let failed = fault("decode a page");
    let mut batch = RowBatch::default();
    batch.rows.reserve(rows.len());
    let mut decoder = RowDecoder::default();
    for row in rows {
        batch.head = row.try_get_unchecked(0).map_err(&failed)?;
        batch.many = row.try_get_unchecked(1).map_err(&failed)?;
        batch.last = row.try_get_unchecked(2).map_err(&failed)?;
        if has_entity(row).map_err(&failed)? {
            let row = RowColumns::of(row, 3);
            batch.rows.push(FoundEntity::of(row, want, &mut decoder)?);
        }
    }
    Ok(batch)
}

/// Whether a row of [`page`]'s statement contains an entity: then it has a kind.
fn has_entity(row: &PgRow) -> Result<bool, sqlx::Error> {
    let kind: Option<i16> = row.try_get_unchecked(3)?;
    Ok(kind.is_some())
}
