//! Merging the lists of several values, in the order of ids.
//!
//! The common table expression `u` has the distinct values, up to a limit, and `w` the values whose
//! lists are merged. For a page, `c` has the first ids of all lists together.
//!
//! Most of a page's values contribute few ids. So a few entries of each list are read first. They
//! bound the highest id of the page, and only lists that may have more ids below the bound are read
//! further. The cost is proportional to rows plus values, and not to their product. That matters
//! before a vacuum, when each index entry requires a visit to its row.

use super::plan::{IndexDriver, IndexValues, ListPlan, MAX_VALUES, ValueIndex};
use crate::sql::{Placeholder, SqlBuilder, SqlValues};
use std::fmt::Display;

/// Entries of each list that are read first, in addition to its even share of the page.
const SPARE: i64 = 5;

/// A text after all ids: the last character of ids is `z`.
const AFTER_ALL_IDS: &str = "'~'";

/// An index by value, in SQL.
pub(super) struct IndexSql {
    /// The item of `FROM`, with the alias `f`.
    pub(super) table: &'static str,
    /// A filter that ends in the column of the value, so that a comparison can follow.
    pub(super) value: String,
    /// The column of the value.
    column: &'static str,
}

impl IndexSql {
    /// `key` is the metadata key, if the index is of metadata.
    pub(super) fn of(index: &ValueIndex, kind: i16, key: Option<Placeholder>) -> Self {
        match index {
            ValueIndex::Template => Self {
                table: "entity f",
                value: format!("f.kind = {kind} AND f.template IS NOT NULL AND f.template"),
                column: "f.template",
            },
            ValueIndex::Site => Self {
                table: "entity f",
                value: "f.site IS NOT NULL AND f.site".to_owned(),
                column: "f.site",
            },
            ValueIndex::Metadata(_) => Self {
                table: "facet f",
                value: match key {
                    Some(key) => format!("f.kind = {kind} AND f.key = {key} AND f.value"),
                    None => format!("f.kind = {kind} AND f.value"),
                },
                column: "f.value",
            },
        }
    }
}

/// Adds `w`, the values whose lists are merged. It is empty if there are [too many](too_many).
pub(super) fn add_values<V: SqlValues>(
    sql: &mut SqlBuilder<V>,
    index: &ValueIndex,
    index_sql: &IndexSql,
    plan: &ListPlan,
    values: &IndexValues,
) -> sqlx::Result<()> {
    let (from, to, like) = match values {
        IndexValues::Given(values) => {
            let values = sql.texts(values)?;
            sql.with_materialized(
                "w",
                format_args!("SELECT unnest({values}::text[]) AS value"),
            );
            return Ok(());
        }
        IndexValues::Range { from, to, like } => (from, to, like),
    };
    let IndexSql {
        table,
        value,
        column,
    } = index_sql;
    let from = sql.text(from)?;
    let below = match to {
        None => String::new(),
        Some(to) => format!(" AND {column} < {}", sql.text(to)?),
    };
    let alike = match (like, index) {
        (None, _) => String::new(),
        (Some(like), ValueIndex::Metadata(_)) => {
            // An indexed form may be truncated.
            let like = sql.text(like)?;
            format!(" AND (u.value LIKE {like} OR strpos(u.value, E'\\x01') > 0)")
        }
        (Some(like), _) => format!(" AND u.value LIKE {}", sql.text(like)?),
    };
    let most = MAX_VALUES + 1;
    // Skip from each value to the next, regardless of the rows between them.
    sql.with_recursive(
        "v(value)",
        format_args!(
            "(SELECT {column} FROM {table} WHERE {value} >= {from}{below} ORDER BY {column} LIMIT 1) \
             UNION ALL SELECT (SELECT {column} FROM {table} WHERE {value} > v.value{below} \
             ORDER BY {column} LIMIT 1) FROM v WHERE v.value IS NOT NULL"
        ),
    );
    sql.with_materialized("u", format_args!("SELECT v.value FROM v LIMIT {most}"));
    sql.with_materialized(
        "w",
        format_args!(
            "SELECT u.value FROM u WHERE u.value IS NOT NULL{alike} AND NOT {}",
            too_many(plan)
        ),
    );
    Ok(())
}

/// Returns an expression: whether there are too many values to merge.
pub(super) fn too_many(plan: &ListPlan) -> String {
    match plan.driver() {
        IndexDriver::Merged(_, IndexValues::Range { .. }) => {
            format!("((SELECT count(u.value) FROM u) > {MAX_VALUES})")
        }
        _ => "false".to_owned(),
    }
}

/// Adds `c`, the first `most` ids of all lists together. `range` filters the ids of `f`, below
/// `high`.
pub(super) fn add_merged<V: SqlValues>(
    sql: &mut SqlBuilder<V>,
    index: &IndexSql,
    range: &str,
    high: Option<Placeholder>,
    most: impl Display,
) {
    let IndexSql { table, value, .. } = index;
    let high = high.map_or_else(|| AFTER_ALL_IDS.to_owned(), |high| high.to_string());
    sql.with_materialized(
        "few(most)",
        format_args!("SELECT {most} / greatest(count(*), 1) + {SPARE} FROM w"),
    );
    sql.with_materialized(
        "a",
        format_args!(
            "SELECT w.value, x.id FROM w CROSS JOIN LATERAL \
             (SELECT f.id FROM {table} WHERE {value} = w.value AND {range} \
             ORDER BY f.id LIMIT (SELECT most FROM few)) x"
        ),
    );
    sql.with_materialized(
        "reach(id)",
        format_args!(
            "SELECT coalesce((SELECT a.id FROM a ORDER BY a.id OFFSET {most} - 1 LIMIT 1), {high})"
        ),
    );
    sql.with_materialized(
        "cut",
        "SELECT a.value, max(a.id) AS id FROM a GROUP BY a.value \
         HAVING count(*) = (SELECT most FROM few) AND max(a.id) < (SELECT id FROM reach)",
    );
    sql.with_materialized(
        "c",
        format_args!(
            "SELECT a.id FROM a UNION ALL \
             SELECT x.id FROM cut CROSS JOIN LATERAL (SELECT f.id FROM {table} \
             WHERE {value} = cut.value AND f.id > cut.id AND f.id < (SELECT id FROM reach) \
             ORDER BY f.id LIMIT {most}) x ORDER BY id LIMIT {most}"
        ),
    );
}
