//! The statements of a plan: a page, all pages by `COPY`, and a count.

use super::merge::{IndexSql, add_merged, add_values, too_many};
use super::plan::{IndexDriver, ListPlan, PatternColumn, RowFilter, ValueIndex};
use super::record;
use crate::codes::{DEPLOYMENT, count as number};
use crate::dialect::copy_out;
use crate::row::{COLUMNS, LISTED};
use crate::sql::{BuiltSql, Placeholder, SqlBuilder, SqlValues, TransactionSettings};
use std::fmt::{Display, Write as _};
use tko_core::Want;

/// The limits of a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageExtent {
    /// The limit of rows.
    pub(super) rows: usize,
    /// The limit of index entries.
    pub(super) visited: usize,
}

/// Returns the statement for the rows of a [plain](ListPlan::is_plain) plan, sent by `COPY`.
///
/// The cost of one row determines the cost of a long listing. So the statement selects as few
/// columns as possible, and the same ones in the subquery and outside it, which saves a projection.
pub(super) fn copy(
    plan: &ListPlan,
    most: usize,
    want: Want,
) -> sqlx::Result<BuiltSql<TransactionSettings>> {
    let mut listing = ListingSql::<TransactionSettings>::new(plan)?;
    let more = want.package || want.revision || want.work;
    let inside = if more { COLUMNS } else { LISTED };
    let source = listing.source(inside, Some(&most));
    let matching = listing.matching(&source, inside, true)?;
    let query = format!(
        "SELECT {columns} FROM ({matching} ORDER BY {id} LIMIT {most}) e{join}",
        id = listing.id(),
        columns = record::columns(LISTED, want),
        join = record::join(want),
    );
    Ok(listing.sql.finish(copy_out(&query)))
}

/// Returns the statement for one page.
///
/// The first columns are `head`, the revision, and `many`, whether there are too many values to
/// merge. `last` is the last id that was visited, if the page is short but not the end. The rest is
/// an entity, or NULLs.
pub(super) fn page(plan: &ListPlan, extent: PageExtent, want: Want) -> sqlx::Result<BuiltSql> {
    let mut listing = ListingSql::new(plan)?;
    let rows = listing.sql.number(number(extent.rows))?;
    let visited = match plan.driver() {
        IndexDriver::Merged(..) => {
            listing.merge(&rows);
            rows
        }
        _ => listing.sql.number(number(extent.visited))?,
    };
    let source = listing.source(COLUMNS, Some(&visited));
    let columns = record::columns(COLUMNS, want);
    let join = record::join(want);
    let id = listing.id();
    if plan.is_plain() {
        // Each row goes from the index straight to the client.
        let matching = listing.matching(&source, COLUMNS, true)?;
        return Ok(listing.sql.finish(format_args!(
            "SELECT h.revision AS head, false AS many, NULL::text AS last, {columns} \
             FROM head h LEFT JOIN LATERAL ({matching} ORDER BY {id} LIMIT {rows}) e ON true{join}",
        )));
    }
    let matching = listing.matching(&source, COLUMNS, false)?;
    let last = listing.source("e.id", Some(&visited));
    let part = format!("{matching} ORDER BY {id} LIMIT {rows}");
    listing.sql.with_materialized("m", part);
    Ok(listing.sql.finish(format_args!(
        "SELECT h.revision AS head, {many} AS many, \
         CASE WHEN (SELECT count(*) FROM m) < {rows} THEN \
         (SELECT max(x.id) FROM ({last}) x HAVING count(*) >= {visited}) END AS last, {columns} \
         FROM head h LEFT JOIN m e ON true{join}",
        many = too_many(plan),
    )))
}

/// Returns the statement that counts the rows that pass the filters, up to `bound`.
///
/// Its columns are the count, and `many` as in [`page`].
pub(super) fn count(plan: &ListPlan, bound: i64) -> sqlx::Result<BuiltSql> {
    let mut listing = ListingSql::new(plan)?;
    let bound = listing.sql.number(bound)?;
    let source = listing.source("e.*", None);
    let matching = listing.matching(&source, "1", false)?;
    Ok(listing.sql.finish(format_args!(
        "SELECT count(*), {many} FROM ({matching} LIMIT {bound}) x",
        many = too_many(plan),
    )))
}

/// A statement for a plan, in progress.
struct ListingSql<'a, V> {
    plan: &'a ListPlan,
    sql: SqlBuilder<V>,
    /// A filter for the ids of the aliases `e` and `f`.
    range: [String; 2],
    /// The upper bound of ids, exclusive.
    high: Option<Placeholder>,
    /// The value of the driver.
    value: String,
    /// The driver's index by value, if it has one.
    index: Option<IndexSql>,
}

impl<'a, V: SqlValues + Default> ListingSql<'a, V> {
    fn new(plan: &'a ListPlan) -> sqlx::Result<Self> {
        let mut sql = SqlBuilder::<V>::default();
        let low = sql.text(&plan.low)?;
        let high = plan
            .high
            .as_deref()
            .map(|high| sql.text(high))
            .transpose()?;
        let range = ["e", "f"].map(|alias| match high {
            None => format!("{alias}.id >= {low}"),
            Some(high) => format!("{alias}.id >= {low} AND {alias}.id < {high}"),
        });
        let mut index_sql = None;
        let value = match plan.driver() {
            IndexDriver::Ids(ids) => sql.texts(ids)?.to_string(),
            IndexDriver::Parent(id) | IndexDriver::Concerning(id) => sql.text(id)?.to_string(),
            IndexDriver::Exactly(index, value) => {
                index_sql = Some(index_of(&mut sql, plan, index)?);
                sql.text(value)?.to_string()
            }
            IndexDriver::Merged(index, values) => {
                let merged = index_of(&mut sql, plan, index)?;
                add_values(&mut sql, index, &merged, plan, values)?;
                index_sql = Some(merged);
                "w.value".to_owned()
            }
            IndexDriver::Unprepared | IndexDriver::Unapproved | IndexDriver::All => String::new(),
        };
        Ok(Self {
            plan,
            sql,
            range,
            high,
            value,
            index: index_sql,
        })
    }

    /// Merges the lists of the driver's values up to this many ids.
    fn merge(&mut self, most: &Placeholder) {
        let [_, range] = &self.range;
        if let Some(index) = &self.index {
            add_merged(&mut self.sql, index, range, self.high, most);
        }
    }

    /// Whether the driver returns ids without rows.
    fn ids_only(&self) -> bool {
        matches!(
            self.plan.driver(),
            IndexDriver::Exactly(ValueIndex::Metadata(_), _) | IndexDriver::Merged(..)
        )
    }

    /// The column of the id, in the order of the driver.
    fn id(&self) -> &'static str {
        if self.ids_only() { "c.id" } else { "e.id" }
    }

    /// Returns a query for the driver: its ids, or its rows with these columns. Ordered only if it has
    /// a limit.
    fn source(&self, columns: &str, limit: Option<&dyn Display>) -> String {
        let [range, index_range] = &self.range;
        let (kind, value) = (self.plan.kind, &self.value);
        let end = |alias: &str| match limit {
            None => String::new(),
            Some(limit) => format!(" ORDER BY {alias}.id LIMIT {limit}"),
        };
        let rows = |filter: &str| {
            format!(
                "SELECT {columns} FROM entity e WHERE {filter} AND e.kind = {kind} AND {range}{}",
                end("e")
            )
        };
        match (self.plan.driver(), &self.index) {
            (IndexDriver::Ids(_), _) => rows(&format!("e.id = ANY({value})")),
            (IndexDriver::Parent(_), _) => rows(&format!("e.parent = {value}")),
            (IndexDriver::Exactly(ValueIndex::Template, _), _) => {
                rows(&format!("e.template = {value}"))
            }
            (IndexDriver::Exactly(ValueIndex::Site, _), _) => rows(&format!("e.site = {value}")),
            (IndexDriver::Unprepared, _) => {
                rows(&format!("e.kind = {DEPLOYMENT} AND NOT e.prepared"))
            }
            (IndexDriver::Unapproved, _) => rows(&format!(
                "e.kind = {DEPLOYMENT} AND e.prepared AND NOT e.approved"
            )),
            (IndexDriver::Concerning(_), _) => format!(
                "SELECT {columns} FROM (SELECT e.* FROM entity e WHERE e.site = {value} \
                 AND e.kind = {kind} AND {range} UNION ALL SELECT e.* FROM entity e \
                 WHERE e.place = {value} AND (e.site IS NULL OR e.place <> e.site) \
                 AND e.kind = {kind} AND {range}) e{}",
                end("e")
            ),
            (IndexDriver::Exactly(..), Some(index)) => format!(
                "SELECT f.id FROM {} WHERE {} = {value} AND {index_range}{}",
                index.table,
                index.value,
                end("f")
            ),
            (IndexDriver::Merged(..), _) if limit.is_some() => {
                "SELECT x.id FROM c x ORDER BY x.id".to_owned()
            }
            (IndexDriver::Merged(..), Some(index)) => format!(
                "SELECT x.id FROM w CROSS JOIN LATERAL \
                 (SELECT f.id FROM {} WHERE {} = {value} AND {index_range}) x",
                index.table, index.value,
            ),
            (IndexDriver::All | IndexDriver::Exactly(..) | IndexDriver::Merged(..), _) => {
                rows("true")
            }
        }
    }

    /// Returns a query for the rows of the driver's `source` that pass the filters.
    ///
    /// It looks up each row separately, in the driver's order, regardless of the planner's estimates.
    /// `is_plain` keeps rows that are being deleted.
    fn matching(&mut self, source: &str, columns: &str, is_plain: bool) -> sqlx::Result<String> {
        let id = self.id();
        let alias = if self.ids_only() { "c" } else { "e" };
        let mut from = format!("({source}) {alias}");
        let kind = self.plan.kind;
        let mut filters = vec!["true".to_owned()];
        for (position, filter) in self.plan.filters.iter().enumerate() {
            filters.push(match filter {
                RowFilter::NotDeleting if is_plain => continue,
                RowFilter::NotDeleting => "NOT e.deleting".to_owned(),
                RowFilter::Prepared(true) => "e.prepared".to_owned(),
                RowFilter::Prepared(false) => "NOT e.prepared".to_owned(),
                RowFilter::Approved(true) => "e.approved".to_owned(),
                RowFilter::Approved(false) => "NOT e.approved".to_owned(),
                RowFilter::Parent(id) => format!("e.parent = {}", self.sql.text(id)?),
                RowFilter::Concerning(id) => {
                    let id = self.sql.text(id)?;
                    format!("(e.site = {id} OR e.place = {id})")
                }
                RowFilter::Is(column, id) => {
                    format!("{} = {}", name(*column), self.sql.text(id)?)
                }
                RowFilter::Like(column, like) => {
                    format!("{} LIKE {}", name(*column), self.sql.text(like)?)
                }
                RowFilter::Has(key, value) => {
                    let index = ValueIndex::Metadata(key.clone());
                    if *self.plan.driver() != IndexDriver::Exactly(index, value.clone()) {
                        let (key, value) = (self.sql.text(key)?, self.sql.text(value)?);
                        let _ = write!(
                            from,
                            " CROSS JOIN LATERAL (SELECT 1 FROM facet f WHERE f.kind = {kind} \
                             AND f.key = {key} AND f.value = {value} AND f.id = {id} LIMIT 1) \
                             h{position}"
                        );
                    }
                    continue;
                }
            });
        }
        if self.ids_only() {
            let _ = write!(
                from,
                " CROSS JOIN LATERAL (SELECT o.* FROM entity o WHERE o.kind = {kind} \
                 AND o.id = c.id LIMIT 1) e"
            );
        }
        Ok(format!(
            "SELECT {columns} FROM {from} WHERE {}",
            filters.join(" AND ")
        ))
    }
}

fn index_of<V: SqlValues>(
    sql: &mut SqlBuilder<V>,
    plan: &ListPlan,
    index: &ValueIndex,
) -> sqlx::Result<IndexSql> {
    let key = match index {
        ValueIndex::Metadata(key) => Some(sql.text(key)?),
        ValueIndex::Template | ValueIndex::Site => None,
    };
    Ok(IndexSql::of(index, plan.kind, key))
}

fn name(column: PatternColumn) -> &'static str {
    match column {
        PatternColumn::Id => "e.id",
        PatternColumn::Template => "e.template",
        PatternColumn::Site => "e.site",
    }
}
