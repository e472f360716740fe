//! The parts that write rows, and what hangs on them.

use super::{
    Sql, Statement, Write, arrays, difference, keys, number, once_hash, signed, stage_number,
};
use crate::row::Row;
use std::sync::LazyLock;
use tko_core::Key;

/// The columns that are written, but for the times.
const WRITTEN: &str = "version, generation, body_at, skeleton, deleting, prepared, approved, \
     template, site, parent, place, once, body, metadata, rest";

/// What they become, of `r`.
static VALUES: LazyLock<String> = LazyLock::new(|| format!("r.{}", WRITTEN.replace(", ", ", r.")));

impl Write<'_> {
    /// Rows go in, change, and go: parts of these names, with a row for each.
    pub(super) fn entities(&self, sql: &mut Statement) -> Sql<Vec<&'static str>> {
        let mut done = Vec::new();
        let (mut new, mut changed, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for (step, row) in self.staged.steps.iter().zip(&self.rows) {
            match (step.before, row) {
                (None, Some(row)) => new.push(row),
                (Some(_), Some(row)) => changed.push(row),
                (_, None) => gone.push(step.key),
            }
        }
        if !gone.is_empty() {
            let keys = keys(sql, arrays(gone))?;
            sql.with(
                "gone",
                format_args!(
                    "DELETE FROM entity e USING gate CROSS JOIN {keys} \
                     WHERE e.kind = r.kind AND e.id = r.id RETURNING e.kind, e.id"
                ),
            );
            done.push("gone");
        }
        if !changed.is_empty() {
            // Likewise: those without one first.
            changed.sort_by_key(|row| row.once().is_some());
            let rows = table(sql, &changed, true)?;
            let edit = match self.edit() {
                Some(token) => {
                    let token = sql.bind(token)?;
                    format!(
                        ", edit = CASE WHEN e.edit = {token} THEN NULL ELSE e.edit END, \
                         edit_until = CASE WHEN e.edit = {token} THEN NULL ELSE e.edit_until END"
                    )
                }
                None => String::new(),
            };
            let after = match done.as_slice() {
                [] => String::new(),
                parts => format!(" AND {}", all_of(parts)),
            };
            let values = &*VALUES;
            sql.with(
                "changed",
                format_args!(
                    "UPDATE entity e SET (updated, {WRITTEN}) = (SELECT r.updated, {values}){edit} \
                     FROM gate CROSS JOIN {rows} \
                     WHERE e.kind = r.kind AND e.id = r.id{after} RETURNING 1"
                ),
            );
            done.push("changed");
        }
        if !new.is_empty() {
            // In key order, as everybody else: two that make the same things must not wait for
            // one another.
            new.sort_by(|a, b| (a.kind, &a.id).cmp(&(b.kind, &b.id)));
            let rows = table(sql, &new, self.now.is_some())?;
            let (created, updated) = if self.now.is_some() {
                ("r.created", "r.updated")
            } else {
                ("now_us()", "now_us()")
            };
            let values = &*VALUES;
            // What frees a creation key comes before what takes it.
            let freed = match done.as_slice() {
                [] => String::new(),
                parts => format!(" WHERE {}", all_of(parts)),
            };
            sql.with(
                "new",
                format_args!(
                    "INSERT INTO entity (kind, id, created, updated, {WRITTEN}) \
                     SELECT r.kind, r.id, {created}, {updated}, {values} \
                     FROM gate CROSS JOIN {rows}{freed} RETURNING 1"
                ),
            );
            done.push("new");
        }
        Ok(done)
    }

    /// What goes with rows that go, and new bodies.
    pub(super) fn contents(&self, sql: &mut Statement) -> Sql<()> {
        if self.rows.iter().any(Option::is_none) {
            sql.with(
                "gone_work",
                "DELETE FROM work w USING s CROSS JOIN gone r \
                 WHERE w.stage IN (0, 1, 2) AND w.kind = r.kind AND w.id = r.id",
            );
        }
        if self.bodies.is_empty() {
            return Ok(());
        }
        let mut at = Vec::new();
        let (mut codecs, mut dictionaries, mut data) = (Vec::new(), Vec::new(), Vec::new());
        for (version, packed) in &self.bodies {
            at.push(*version);
            codecs.push(packed.codec);
            dictionaries.push(packed.dictionary);
            data.push(packed.data.as_slice());
        }
        let rows = sql
            .table(at.len())
            .column("at", "bigint", at)?
            .column("codec", "smallint", codecs)?
            .column("dictionary", "integer", dictionaries)?
            .column("data", "bytea", data)?
            .named("b");
        sql.with(
            "bodies",
            format_args!(
                "INSERT INTO body (at, codec, dictionary, data) \
                 SELECT b.at, b.codec, b.dictionary, b.data FROM s CROSS JOIN {rows}"
            ),
        );
        Ok(())
    }

    /// What metadata is found by.
    pub(super) fn facets(&self, sql: &mut Statement) -> Sql<()> {
        let (mut added, mut removed) = (Facets::default(), Facets::default());
        for step in &self.staged.steps {
            let before = step.before.map(|found| &found.entity.metadata);
            let after = step.after.as_ref().map(|entity| &entity.metadata);
            let (more, less) = difference(before, after);
            added.extend(step.key, more);
            removed.extend(step.key, less);
        }
        if !removed.0.is_empty() {
            let rows = removed.bind(sql)?;
            sql.with(
                "less_facets",
                format_args!(
                    "DELETE FROM facet f USING s CROSS JOIN {rows} \
                     WHERE f.kind = r.kind AND f.key = r.key AND f.value = r.value AND f.id = r.id"
                ),
            );
        }
        if !added.0.is_empty() {
            let rows = added.bind(sql)?;
            sql.with(
                "more_facets",
                format_args!(
                    "INSERT INTO facet (kind, key, value, id) \
                     SELECT r.kind, r.key, r.value, r.id FROM s CROSS JOIN {rows}"
                ),
            );
        }
        Ok(())
    }

    /// What is to be numbered.
    pub(super) fn changes(&self, sql: &mut Statement) -> Sql<()> {
        if self.staged.steps.is_empty() {
            return Ok(());
        }
        let (kinds, ids) = arrays(self.staged.steps.iter().map(|step| step.key));
        let ordinals: Vec<i16> = (0..).take(ids.len()).collect();
        let mut versions = Vec::with_capacity(ids.len());
        let (mut gone, mut bodies) = (Vec::new(), Vec::new());
        for (step, row) in self.staged.steps.iter().zip(&self.rows) {
            versions.push(signed(step.version.0));
            gone.push(row.is_none());
            let after = row.as_ref().map_or(0, |row| row.body_at);
            let before = step.before.map(|found| found.body_at);
            bodies.push(before.filter(|before| *before != 0 && *before != after));
        }
        let rows = sql
            .table(ids.len())
            .column("ordinal", "smallint", ordinals)?
            .column("kind", "smallint", kinds)?
            .column("id", "text", ids)?
            .column("version", "bigint", versions)?
            .column("gone", "boolean", gone)?
            .column("body_before", "bigint", bodies)?
            .named("c");
        let cause = sql.bind(self.set.cause.as_deref().map(str::to_owned))?;
        let now = match self.now {
            Some(now) => sql.bind(now)?.to_string(),
            None => "now_us()".to_owned(),
        };
        let is_new = self.staged.steps.iter().all(|step| step.before.is_none());
        // As in the statement's snapshot: what is locked has the version that was read before it.
        let before = if is_new {
            "NULL::json"
        } else {
            "(SELECT row_to_json(e) FROM entity e WHERE e.kind = c.kind AND e.id = c.id)"
        };
        sql.with(
            "changes",
            format_args!(
                "INSERT INTO pending (change_set, ordinal, kind, gone, body_before, version, at, id, before, cause) \
                 SELECT s.id, c.ordinal, c.kind, c.gone, c.body_before, c.version, {now}, c.id, {before}, {cause}::text \
                 FROM s CROSS JOIN {rows}"
            ),
        );
        Ok(())
    }

    /// Work of what is changed.
    pub(super) fn work(&self, sql: &mut Statement) -> Sql<()> {
        let leased = self.leased();
        let own: Vec<_> = self
            .own
            .iter()
            .filter(|mark| leased != Some((mark.stage, mark.key)))
            .collect();
        if own.is_empty() {
            return Ok(());
        }
        let (kinds, ids) = arrays(own.iter().map(|mark| mark.key));
        let stages: Vec<i16> = own.iter().map(|mark| stage_number(mark.stage)).collect();
        let lanes: Vec<i16> = own.iter().map(|mark| mark.lane).collect();
        let again: Vec<i16> = own.iter().map(|mark| mark.again).collect();
        let after: Vec<i64> = own.iter().map(|mark| mark.after).collect();
        let rows = sql
            .table(ids.len())
            .column("stage", "smallint", stages)?
            .column("kind", "smallint", kinds)?
            .column("id", "text", ids)?
            .column("lane", "smallint", lanes)?
            .column("again", "smallint", again)?
            .column("after", "bigint", after)?
            .named("m");
        let order = match own.as_slice() {
            [_] => "",
            _ => " ORDER BY m.stage, m.kind, m.id",
        };
        // `again` of a new row is of no account: it is cleared when the work is claimed.
        sql.with(
            "due",
            format_args!(
                "INSERT INTO work AS w (stage, kind, id, lane, again, at, due) \
                 SELECT m.stage, m.kind, m.id, m.lane, m.again, now_us() + m.after, now_us() + m.after \
                 FROM s CROSS JOIN {rows}{order} ON CONFLICT (stage, kind, id) DO UPDATE SET \
                 again = CASE WHEN w.token IS NULL THEN w.again ELSE excluded.again END, \
                 due = least(w.due, excluded.due), \
                 at = CASE WHEN w.token IS NULL THEN least(w.at, excluded.at) ELSE w.at END"
            ),
        );
        Ok(())
    }

    /// Marks of other keys.
    pub(super) fn marks(&self, sql: &mut Statement) -> Sql<()> {
        if self.others.is_empty() {
            return Ok(());
        }
        let (kinds, ids) = arrays(self.others.iter().map(|mark| &mark.key));
        let ordinals: Vec<i16> = (0..).take(ids.len()).collect();
        let stages: Vec<i16> = self
            .others
            .iter()
            .map(|mark| stage_number(mark.stage))
            .collect();
        let lanes: Vec<i16> = self
            .others
            .iter()
            .map(|mark| i16::from(mark.lane.number()))
            .collect();
        let after: Vec<i64> = self
            .others
            .iter()
            .map(|mark| i64::try_from(mark.after.as_micros()).unwrap_or(i64::MAX / 2))
            .collect();
        let rows = sql
            .table(ids.len())
            .column("ordinal", "smallint", ordinals)?
            .column("stage", "smallint", stages)?
            .column("kind", "smallint", kinds)?
            .column("id", "text", ids)?
            .column("lane", "smallint", lanes)?
            .column("after", "bigint", after)?
            .named("m");
        sql.with(
            "marks",
            format_args!(
                "INSERT INTO mark (change_set, ordinal, stage, kind, lane, due, id) \
                 SELECT s.id, m.ordinal, m.stage, m.kind, m.lane, now_us() + m.after, m.id \
                 FROM s CROSS JOIN {rows}"
            ),
        );
        Ok(())
    }
}

/// Holds once all of these parts are done.
pub(super) fn all_of(parts: &[&str]) -> String {
    let counts = parts
        .iter()
        .map(|part| format!("(SELECT count(*) FROM {part})"));
    format!("{} >= 0", counts.collect::<Vec<_>>().join(" + "))
}

/// Rows of `facet`: kind, key, value, id.
#[derive(Default)]
struct Facets(Vec<(i16, String, String, String)>);

impl Facets {
    fn extend(&mut self, of: &Key, facets: Vec<(String, String)>) {
        let rows = facets
            .into_iter()
            .map(|(key, value)| (number(of.kind()), key, value, of.id().to_owned()));
        self.0.extend(rows);
    }

    fn bind(mut self, sql: &mut Statement) -> Sql<String> {
        // In the order of the index: neighbours there are neighbours in the table, so PostgreSQL
        // takes them for a rising sequence and fills the pages that it splits, and two that write
        // the same do not wait for one another.
        self.0.sort_unstable();
        let count = self.0.len();
        let is_of_one = self.0.windows(2).all(|pair| {
            let [(kind, .., id), (next_kind, .., next_id)] = pair else {
                return false;
            };
            kind == next_kind && id == next_id
        });
        let (mut kinds, mut keys) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut values, mut ids) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (kind, key, value, id) in self.0 {
            kinds.push(kind);
            keys.push(key);
            values.push(value);
            ids.push(id);
        }
        let rows = sql
            .table(count)
            .column("key", "text", keys)?
            .column("value", "text", values)?;
        let rows = if is_of_one && let Some((kind, id)) = kinds.pop().zip(ids.pop()) {
            let rows = rows.same("kind", "smallint", kind)?;
            rows.same("id", "text", id)?
        } else {
            let rows = rows.column("kind", "smallint", kinds)?;
            rows.column("id", "text", ids)?
        };
        Ok(rows.named("r"))
    }
}

/// Rows as a table `r` with the columns of `entity`, the times among them or not.
fn table<'a>(sql: &mut Statement, rows: &[&'a Row<'a>], timed: bool) -> Sql<String> {
    let rest = rows
        .iter()
        .map(|row| serde_json::to_string(&row.rest).map_err(|e| sqlx::Error::Encode(e.into())))
        .collect::<Sql<Vec<_>>>()?;
    let mut table = sql.table(rows.len());
    macro_rules! columns {
        ($($name:literal: $of:literal = $row:ident => $value:expr;)*) => { $(
            table = table.column($name, $of, rows.iter().map(|$row| $value).collect())?;
        )* };
    }
    if timed {
        columns! {
            "created": "bigint" = row => row.created;
            "updated": "bigint" = row => row.updated;
        }
    }
    columns! {
        "kind": "smallint" = row => row.kind;
        "id": "text" = row => &*row.id;
        "version": "bigint" = row => row.version;
        "generation": "bigint" = row => row.generation;
        "body_at": "bigint" = row => row.body_at;
        "skeleton": "integer" = row => row.skeleton;
        "deleting": "boolean" = row => row.deleting;
        "prepared": "boolean" = row => row.prepared;
        "approved": "boolean" = row => row.approved;
        "template": "text" = row => row.template.as_deref();
        "site": "text" = row => row.site.as_deref();
        "parent": "text" = row => row.parent.as_deref();
        "place": "text" = row => row.place.as_deref();
        "once": "bytea" = row => row.once().map(once_hash);
        "body": "bytea" = row => &row.body.0[..];
        "metadata": "text" = row => row.metadata.to_lines();
    }
    Ok(table.column("rest", "json", rest)?.named("r"))
}
