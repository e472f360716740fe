//! Walking through what is selected, part by part.

use super::found::Found;
use super::join::Joins;
use super::plan::{Driver, Plan, choose};
use super::sql::{Extent, Statement, page};
use crate::columns::Columns;
use crate::fault::fault;
use crate::metrics::{Measures, Purpose};
use crate::row::Before;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use tko_core::select::MAX_PAGE;
use tko_core::{Error, Key, Result, Select, Want};

/// Most index entries that are looked at for one page.
pub(super) const MAX_VISITED: usize = 10_000;

/// Most rows that one statement gives: a page, and one to tell whether that was all.
const MAX_ROWS: usize = MAX_PAGE + 1;

/// Rows that are decoded at once.
const CHUNK: usize = 250;

/// What one statement gave.
#[derive(Default)]
struct Part {
    head: i64,
    many: bool,
    last: Option<String>,
    rows: Vec<Found>,
}

impl Part {
    fn add(&mut self, more: Self) {
        (self.head, self.many, self.last) = (more.head, more.many, more.last);
        self.rows.extend(more.rows);
    }
}

/// A walk through a selection, from some key on.
pub(super) struct Walk<'a> {
    measures: &'a Measures,
    select: &'a Select,
    /// `None`: nothing can match.
    pub(super) plan: Option<Plan>,
    chosen: bool,
    limit: usize,
    want: Want,
    /// Of the first statement.
    head: Option<i64>,
    visited: usize,
    /// The last id that was looked at.
    last: Option<String>,
    ended: bool,
}

impl<'a> Walk<'a> {
    /// To give at most so many, the rows alone.
    pub(super) fn new(measures: &'a Measures, select: &'a Select, limit: usize) -> Self {
        let plan = Plan::new(select);
        Self {
            measures,
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

    /// With this.
    pub(super) fn wanting(mut self, want: Want) -> Self {
        self.want = want;
        self
    }

    /// Goes on after this key.
    pub(super) fn after(&mut self, key: &Key) {
        if let Some(plan) = &mut self.plan {
            self.ended |= !plan.after(key);
        }
    }

    /// The last revision when it began; `None`: there was nothing to ask.
    pub(super) fn head(&self) -> Option<i64> {
        self.head
    }

    pub(super) fn select(&self) -> &'a Select {
        self.select
    }

    /// Allows as much again to be looked at.
    pub(super) fn go_on(&mut self) {
        self.visited = 0;
    }

    /// Whether nothing comes any more.
    pub(super) fn is_at_end(&self) -> bool {
        self.ended
    }

    /// The last id that was looked at.
    pub(super) fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Whether it gave all that it can.
    fn is_done(&self, given: usize) -> bool {
        self.ended || given >= self.limit || self.visited >= MAX_VISITED
    }

    /// What comes next, as far as one statement goes; whether that was enough.
    pub(super) async fn first(
        &mut self,
        connection: &mut PgConnection,
        joins: &mut Joins<'_>,
    ) -> Result<(Vec<Found>, bool)> {
        let mut given = Vec::new();
        if !self.ended {
            self.step(connection, joins, &mut given).await?;
        }
        let enough = self.is_done(given.len());
        Ok((given, enough))
    }

    /// What comes next: until there is enough, or enough was looked at. In one transaction, for it
    /// may take several statements.
    pub(super) async fn collect(
        &mut self,
        connection: &mut PgConnection,
        joins: &mut Joins<'_>,
    ) -> Result<Vec<Found>> {
        let mut given = Vec::new();
        while !self.is_done(given.len()) {
            self.step(connection, joins, &mut given).await?;
        }
        Ok(given)
    }

    async fn step(
        &mut self,
        connection: &mut PgConnection,
        joins: &mut Joins<'_>,
        given: &mut Vec<Found>,
    ) -> Result<()> {
        let Some(plan) = &mut self.plan else {
            return Ok(());
        };
        if !self.chosen {
            choose(self.measures, connection, plan).await?;
            self.chosen = true;
        }
        // What is thinned out here: the less came, the more is asked for.
        let missing = self.limit - given.len() + 1;
        let asked = match self.visited {
            0 if plan.decided => missing,
            seen => missing.max(seen).max(100),
        };
        let extent = Extent {
            rows: asked.min(MAX_ROWS),
            visited: MAX_VISITED.saturating_sub(self.visited).max(MAX_ROWS),
        };
        let part = loop {
            let part = read(self.measures, connection, plan, extent, self.want).await?;
            if !part.many {
                break part;
            }
            plan.give_up_driver();
        };
        self.head.get_or_insert(part.head);
        joins.learn(self.measures, connection, &part.rows).await?;
        let full = part.rows.len() == extent.rows;
        self.visited += match &part.last {
            Some(_) if !matches!(plan.driver(), Driver::Merged(..)) => extent.visited,
            Some(_) => extent.rows,
            None => part.rows.len(),
        };
        for found in part.rows {
            if given.len() == self.limit {
                // There is one more.
                plan.after_id(self.last.as_deref().unwrap_or_default());
                return Ok(());
            }
            let entity = &found.entity;
            entity
                .key
                .id()
                .clone_into(self.last.get_or_insert_default());
            let fits = if plan.decided {
                self.select.deleting || !entity.deleting
            } else {
                joins.matches(entity) && self.select.matches(entity)
            };
            if fits {
                given.push(found);
            }
        }
        if let Some(last) = part.last {
            self.last = Some(last);
        } else if !full {
            self.ended = true;
        }
        plan.after_id(self.last.as_deref().unwrap_or_default());
        Ok(())
    }
}

async fn read(
    measures: &Measures,
    connection: &mut PgConnection,
    plan: &Plan,
    extent: Extent,
    want: Want,
) -> Result<Part> {
    let failed = fault("list entities");
    let Statement { text, arguments } = page(plan, extent, want).map_err(&failed)?;
    let mut part = Part::default();
    part.rows.reserve(extent.rows);
    let rows = sqlx::query_with(AssertSqlSafe(text), arguments).fetch(connection);
    let mut rows = measures.rows(Purpose::List, rows);
    // Decoded elsewhere while more are on their way: it takes as long as making them.
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
        part.add(decoded?);
    }
    part.add(rest);
    if !part.rows.is_sorted_by(|one, other| one.id() < other.id()) {
        part.rows
            .sort_unstable_by(|one, other| one.id().cmp(other.id()));
    }
    Ok(part)
}

/// Rows of [`page`]'s statement.
fn decode(rows: &[PgRow], want: Want) -> Result<Part> {
    let failed = fault("decode a page");
    let mut part = Part::default();
    part.rows.reserve(rows.len());
    let mut before = Before::default();
    for row in rows {
        part.head = row.try_get_unchecked(0).map_err(&failed)?;
        part.many = row.try_get_unchecked(1).map_err(&failed)?;
        part.last = row.try_get_unchecked(2).map_err(&failed)?;
        if is_there(row).map_err(&failed)? {
            let row = Columns::of(row, 3);
            part.rows.push(Found::of(row, want, &mut before)?);
        }
    }
    Ok(part)
}

/// Whether there is an entity in a row of [`page`]'s statement: it has a kind then.
fn is_there(row: &PgRow) -> Result<bool, sqlx::Error> {
    let kind: Option<i16> = row.try_get_unchecked(3)?;
    Ok(kind.is_some())
}
