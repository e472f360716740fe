//! Statements for a plan. Their texts depend on the shape of a selection alone: every value is
//! bound, and the server keeps a plan for each shape.

use super::found;
use super::plan::{Column, Condition, Driver, Index, Plan};
use super::value::{Given, Value};
use crate::dialect::copy_out;
use crate::row::{COLUMNS, LISTED};
use sqlx::postgres::PgArguments;
use tko_core::Want;

pub(super) type Sql<T> = Result<T, sqlx::Error>;

/// A text, and what it is bound to.
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) arguments: PgArguments,
}

/// How far a page goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// At most so many rows.
    pub(super) rows: usize,
    /// At most so many index entries.
    pub(super) visited: usize,
}

/// Rows that COPY sends, and the texts that are to be [set](crate::dialect::set) before it is sent.
pub(super) struct Copied {
    pub(super) text: String,
    pub(super) settings: Vec<String>,
}

/// The rows of a plain plan alone, as the index has them: what each row costs is what all of a long
/// listing cost.
pub(super) fn copy(plan: &Plan, most: usize, want: Want) -> Sql<Copied> {
    let mut writer = Writer::new(plan, Vec::new())?;
    let most = most.to_string();
    // As few columns as need be, and the same outside and inside: then nothing is projected twice.
    let more = want.package || want.revision || want.work;
    let inside = if more { COLUMNS } else { LISTED };
    let source = writer.source(inside, Some(&most));
    let matching = writer.matching(&source, inside, true)?;
    let text = format!(
        "SELECT {columns} FROM ({matching} ORDER BY {id} LIMIT {most}) e{join}",
        id = writer.id(),
        columns = found::columns(LISTED, want),
        join = found::join(want),
    );
    Ok(Copied {
        text: copy_out(&text),
        settings: writer.given,
    })
}

/// One page. Its columns: `head`; `last`, the last id that was looked at, if there are fewer rows
/// and it is not the end; `many`, if there are too many values to be merged; and a row, if any.
pub(super) fn page(plan: &Plan, extent: Extent, want: Want) -> Sql<Statement> {
    let mut writer = Writer::new(plan, PgArguments::default())?;
    let rows = writer.bind(signed(extent.rows))?;
    let visited = match plan.driver() {
        Driver::Merged(index, _) => {
            writer.merge(index, &rows);
            rows.clone()
        }
        _ => writer.bind(signed(extent.visited))?,
    };
    let source = writer.source(COLUMNS, Some(&visited));
    if plan.is_plain() {
        // As the index has them, one by one, straight to whoever asked.
        let matching = writer.matching(&source, COLUMNS, true)?;
        let text = format!(
            "SELECT h.revision AS head, false AS many, NULL::text AS last, {columns} \
             FROM head h LEFT JOIN LATERAL ({matching} ORDER BY {id} LIMIT {rows}) e ON true{join}",
            id = writer.id(),
            columns = found::columns(COLUMNS, want),
            join = found::join(want),
        );
        return Ok(Statement {
            text,
            arguments: writer.given,
        });
    }
    let matching = writer.matching(&source, COLUMNS, false)?;
    let last = writer.source("e.id", Some(&visited));
    let text = format!(
        "WITH RECURSIVE {with}m AS MATERIALIZED ({matching} ORDER BY {id} LIMIT {rows}) \
         SELECT h.revision AS head, {many} AS many, \
         CASE WHEN (SELECT count(*) FROM m) < {rows} THEN \
         (SELECT max(x.id) FROM ({last}) x HAVING count(*) >= {visited}) END AS last, {columns} \
         FROM head h LEFT JOIN m e ON true{join}",
        with = writer.with,
        id = writer.id(),
        many = writer.many(),
        columns = found::columns(COLUMNS, want),
        join = found::join(want),
    );
    Ok(Statement {
        text,
        arguments: writer.given,
    })
}

/// How many SQL lets through, up to a bound. Its columns: the number; `many` as in [`page`].
pub(super) fn count(plan: &Plan, bound: i64) -> Sql<Statement> {
    let mut writer = Writer::new(plan, PgArguments::default())?;
    let bound = writer.bind(bound)?;
    let source = writer.source("e.*", None);
    let matching = writer.matching(&source, "1", false)?;
    let text = format!(
        "WITH RECURSIVE {with}one AS (SELECT 1) \
         SELECT count(*), {many} FROM ({matching} LIMIT {bound}) x",
        with = writer.with,
        many = writer.many(),
    );
    Ok(Statement {
        text,
        arguments: writer.given,
    })
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) struct Writer<'a, G> {
    pub(super) plan: &'a Plan,
    given: G,
    /// Common table expressions, each with a comma after it.
    pub(super) with: String,
    /// How many values it has taken.
    count: usize,
    /// What holds for all ids, of the alias `e` or `f`.
    pub(super) range: [String; 2],
    /// Ids are less than this.
    pub(super) high: Option<String>,
    /// Of the driver.
    value: String,
    pub(super) key: String,
}

impl<'a, G: Given> Writer<'a, G> {
    fn new(plan: &'a Plan, given: G) -> Sql<Self> {
        let mut writer = Self {
            plan,
            with: String::new(),
            given,
            count: 0,
            range: [const { String::new() }; 2],
            high: None,
            value: String::new(),
            key: String::new(),
        };
        let low = writer.bind(plan.low.as_str())?;
        let high = plan.high.as_deref().map(|high| writer.bind(high));
        let high = high.transpose()?;
        writer.range = ["e", "f"].map(|alias| match &high {
            None => format!("{alias}.id >= {low}"),
            Some(high) => format!("{alias}.id >= {low} AND {alias}.id < {high}"),
        });
        writer.high = high;
        match plan.driver() {
            Driver::Ids(ids) => writer.value = writer.bind(ids.as_slice())?,
            Driver::Parent(id) | Driver::Concerning(id) => {
                writer.value = writer.bind(id.as_str())?;
            }
            Driver::Exactly(index, value) => {
                writer.index(index)?;
                writer.value = writer.bind(value.as_str())?;
            }
            Driver::Merged(index, values) => {
                writer.index(index)?;
                writer.values(index, values)?;
                "w.value".clone_into(&mut writer.value);
            }
            Driver::Unprepared | Driver::Unapproved | Driver::All => {}
        }
        Ok(writer)
    }

    /// Takes a value; how the statement says it.
    pub(super) fn bind<'v>(&mut self, value: impl Into<Value<'v>>) -> Sql<String> {
        self.count += 1;
        self.given.give(value.into())
    }

    fn index(&mut self, index: &Index) -> Sql<()> {
        if let Index::Metadata(key) = index {
            self.key = self.bind(key.as_str())?;
        }
        Ok(())
    }

    /// Whether the driver's index does not have the rows themselves.
    fn ids_only(&self) -> bool {
        matches!(
            self.plan.driver(),
            Driver::Exactly(Index::Metadata(_), _) | Driver::Merged(..)
        )
    }

    /// By what its order is known.
    fn id(&self) -> &'static str {
        if self.ids_only() { "c.id" } else { "e.id" }
    }

    /// What the driver gives: ids, or rows with these columns. Without a limit in any order.
    fn source(&self, columns: &str, limit: Option<&str>) -> String {
        let [range, of_index] = self.range.clone();
        let (kind, value) = (self.plan.kind, self.value.clone());
        let end = |alias: &str| match limit {
            None => String::new(),
            Some(limit) => format!(" ORDER BY {alias}.id LIMIT {limit}"),
        };
        let rows = |held: &str| {
            format!(
                "SELECT {columns} FROM entity e WHERE {held} AND e.kind = {kind} AND {range}{}",
                end("e")
            )
        };
        match self.plan.driver() {
            Driver::Ids(_) => rows(&format!("e.id = ANY({value})")),
            Driver::Parent(_) => rows(&format!("e.parent = {value}")),
            Driver::Exactly(Index::Template, _) => rows(&format!("e.template = {value}")),
            Driver::Exactly(Index::Site, _) => rows(&format!("e.site = {value}")),
            Driver::Unprepared => rows("e.kind = 2 AND NOT e.prepared"),
            Driver::Unapproved => rows("e.kind = 2 AND e.prepared AND NOT e.approved"),
            Driver::All => rows("true"),
            Driver::Concerning(_) => format!(
                "SELECT {columns} FROM (SELECT e.* FROM entity e WHERE e.site = {value} \
                 AND e.kind = {kind} AND {range} UNION ALL SELECT e.* FROM entity e \
                 WHERE e.place = {value} AND (e.site IS NULL OR e.place <> e.site) \
                 AND e.kind = {kind} AND {range}) e{}",
                end("e")
            ),
            Driver::Exactly(index, _) => {
                let (table, held) = self.of_index(index);
                format!(
                    "SELECT f.id FROM {table} WHERE {held} = {value} AND {of_index}{}",
                    end("f")
                )
            }
            Driver::Merged(..) if limit.is_some() => {
                "SELECT x.id FROM c x ORDER BY x.id".to_owned()
            }
            Driver::Merged(index, _) => {
                let (table, held) = self.of_index(index);
                format!(
                    "SELECT x.id FROM w CROSS JOIN LATERAL \
                     (SELECT f.id FROM {table} WHERE {held} = {value} AND {of_index}) x"
                )
            }
        }
    }

    /// Of what the driver gives, what meets the conditions. Each is looked up for itself, in the
    /// driver's order, whatever the planner thinks of how many there are. `plain`: also what is
    /// being deleted.
    fn matching(&mut self, source: &str, columns: &str, plain: bool) -> Sql<String> {
        let id = self.id();
        let alias = if self.ids_only() { "c" } else { "e" };
        let mut from = format!("({source}) {alias}");
        let kind = self.plan.kind;
        let mut held = vec!["true".to_owned()];
        for condition in &self.plan.conditions {
            held.push(match condition {
                Condition::NotDeleting if plain => continue,
                Condition::NotDeleting => "NOT e.deleting".to_owned(),
                Condition::Prepared(true) => "e.prepared".to_owned(),
                Condition::Prepared(false) => "NOT e.prepared".to_owned(),
                Condition::Approved(true) => "e.approved".to_owned(),
                Condition::Approved(false) => "NOT e.approved".to_owned(),
                Condition::Parent(id) => format!("e.parent = {}", self.bind(id.as_str())?),
                Condition::Concerning(id) => {
                    let id = self.bind(id.as_str())?;
                    format!("(e.site = {id} OR e.place = {id})")
                }
                Condition::Is(column, id) => {
                    format!("{} = {}", name(*column), self.bind(id.as_str())?)
                }
                Condition::Like(column, like) => {
                    format!("{} LIKE {}", name(*column), self.bind(like.as_str())?)
                }
                Condition::Has(key, value) => {
                    if *self.plan.driver()
                        != Driver::Exactly(Index::Metadata(key.clone()), value.clone())
                    {
                        let (key, value) = (self.bind(key.as_str())?, self.bind(value.as_str())?);
                        let probe = format!(
                            " CROSS JOIN LATERAL (SELECT 1 FROM facet f WHERE f.kind = {kind} \
                             AND f.key = {key} AND f.value = {value} AND f.id = {id} LIMIT 1) h{}",
                            self.count
                        );
                        from.push_str(&probe);
                    }
                    continue;
                }
            });
        }
        if self.ids_only() {
            let row = format!(
                " CROSS JOIN LATERAL (SELECT o.* FROM entity o WHERE o.kind = {kind} \
                 AND o.id = c.id LIMIT 1) e"
            );
            from.push_str(&row);
        }
        Ok(format!(
            "SELECT {columns} FROM {from} WHERE {}",
            held.join(" AND ")
        ))
    }
}

fn name(column: Column) -> &'static str {
    match column {
        Column::Id => "e.id",
        Column::Template => "e.template",
        Column::Site => "e.site",
    }
}
