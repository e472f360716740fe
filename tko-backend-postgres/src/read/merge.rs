//! The lists of several values as one, in the order of ids.
//!
//! As common table expressions: `u`, the distinct values there are, as far as they are counted;
//! `w`, those whose lists are merged; and for a page `c`, the first ids of all lists together.
//!
//! A page is in few of its values' lists as far as it is long: so a few entries of each are read
//! first. They settle how far the page reaches at most, and only lists that were cut before that are
//! read further. What is read is in proportion to rows and values, not to their product, which counts
//! wherever the vacuum has not been yet: there each entry costs a look at its row.

use super::plan::{Driver, Index, MAX_VALUES, Values};
use super::sql::{Sql, Writer};
use super::value::Given;

/// So many entries of each list are read first, beside its even share of the page.
const SPARE: i64 = 5;

/// What no id reaches: the last character that ids take is `z`.
const AFTER_ALL_IDS: &str = "'~'";

impl<G: Given> Writer<'_, G> {
    /// What is read of the driver's index, and how a value is found in it.
    pub(super) fn of_index(&self, index: &Index) -> (&'static str, String) {
        let kind = self.plan.kind;
        match index {
            Index::Template => (
                "entity f",
                format!("f.kind = {kind} AND f.template IS NOT NULL AND f.template"),
            ),
            Index::Site => ("entity f", "f.site IS NOT NULL AND f.site".to_owned()),
            Index::Metadata(_) => (
                "facet f",
                format!("f.kind = {kind} AND f.key = {} AND f.value", self.key),
            ),
        }
    }

    /// Adds `w`, the values whose rows are merged: none, if there are [too many](Self::many).
    pub(super) fn values(&mut self, index: &Index, values: &Values) -> Sql<()> {
        let (from, to, like) = match values {
            Values::Given(values) => {
                let values = self.bind(values.as_slice())?;
                self.with =
                    format!("w AS MATERIALIZED (SELECT unnest({values}::text[]) AS value), ");
                return Ok(());
            }
            Values::Range { from, to, like } => (from, to, like),
        };
        let (table, value) = self.of_index(index);
        let column = value.rsplit(' ').next().unwrap_or("f.value").to_owned();
        let from = self.bind(from.as_str())?;
        let below = match to {
            None => String::new(),
            Some(to) => format!(" AND {column} < {}", self.bind(to.as_str())?),
        };
        let alike = match (like, index) {
            (None, _) => String::new(),
            (Some(like), Index::Metadata(_)) => {
                // Of what is not indexed as it is, the end is not known.
                let like = self.bind(like.as_str())?;
                format!(" AND (u.value LIKE {like} OR strpos(u.value, E'\\x01') > 0)")
            }
            (Some(like), _) => format!(" AND u.value LIKE {}", self.bind(like.as_str())?),
        };
        let most = MAX_VALUES + 1;
        // From each value to the next, however many rows there are between.
        self.with = format!(
            "v(value) AS (\
             (SELECT {column} FROM {table} WHERE {value} >= {from}{below} ORDER BY {column} LIMIT 1) \
             UNION ALL SELECT (SELECT {column} FROM {table} WHERE {value} > v.value{below} \
             ORDER BY {column} LIMIT 1) FROM v WHERE v.value IS NOT NULL), \
             u AS MATERIALIZED (SELECT v.value FROM v LIMIT {most}), \
             w AS MATERIALIZED (SELECT u.value FROM u WHERE u.value IS NOT NULL{alike} \
             AND NOT {many}), ",
            many = self.many(),
        );
        Ok(())
    }

    /// Whether there are too many values to be merged.
    pub(super) fn many(&self) -> String {
        match self.plan.driver() {
            Driver::Merged(_, Values::Range { .. }) => {
                format!("((SELECT count(u.value) FROM u) > {MAX_VALUES})")
            }
            _ => "false".to_owned(),
        }
    }

    /// Adds `c`, the first ids of all lists together.
    pub(super) fn merge(&mut self, index: &Index, most: &str) {
        let (table, held) = self.of_index(index);
        let [_, range] = &self.range;
        let merged = format!(
            "few(most) AS MATERIALIZED \
             (SELECT {most} / greatest(count(*), 1) + {SPARE} FROM w), \
             a AS MATERIALIZED (SELECT w.value, x.id FROM w CROSS JOIN LATERAL \
             (SELECT f.id FROM {table} WHERE {held} = w.value AND {range} \
             ORDER BY f.id LIMIT (SELECT most FROM few)) x), \
             reach(id) AS MATERIALIZED (SELECT coalesce(\
             (SELECT a.id FROM a ORDER BY a.id OFFSET {most} - 1 LIMIT 1), {high})), \
             cut AS MATERIALIZED (SELECT a.value, max(a.id) AS id FROM a GROUP BY a.value \
             HAVING count(*) = (SELECT most FROM few) AND max(a.id) < (SELECT id FROM reach)), \
             c AS MATERIALIZED (SELECT a.id FROM a UNION ALL \
             SELECT x.id FROM cut CROSS JOIN LATERAL (SELECT f.id FROM {table} \
             WHERE {held} = cut.value AND f.id > cut.id AND f.id < (SELECT id FROM reach) \
             ORDER BY f.id LIMIT {most}) x ORDER BY id LIMIT {most}), ",
            high = self.high.as_deref().unwrap_or(AFTER_ALL_IDS),
        );
        self.with.push_str(&merged);
    }
}
