//! The parts that write entities and bodies.

use super::plan::WritePlan;
use crate::codes::key_arrays;
use crate::row::{EntityRow, idempotency_hash};
use crate::sql::SqlBuilder;
use crate::work::ALL_STAGES;
use std::sync::LazyLock;

/// The columns of `entity` that a change writes, except the times.
const WRITTEN: &str = "version, generation, body_at, skeleton, deleting, prepared, approved, \
     template, site, parent, place, once, body, metadata, rest";

/// The same columns of the alias `r`.
static VALUES: LazyLock<String> = LazyLock::new(|| format!("r.{}", WRITTEN.replace(", ", ", r.")));

/// Adds the parts that delete, update, and insert entities. Returns their names; each part has a row for
/// each entity.
pub(super) fn write(plan: &WritePlan<'_>, sql: &mut SqlBuilder) -> sqlx::Result<Vec<&'static str>> {
    let mut done = Vec::new();
    let (mut new, mut changed, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for (step, row) in plan.staged.steps.iter().zip(&plan.rows) {
        match (step.before, row) {
            (None, Some(row)) => new.push(row),
            (Some(_), Some(row)) => changed.push(row),
            (_, None) => gone.push(step.key()),
        }
    }
    if !gone.is_empty() {
        let keys = key_arrays(gone);
        let keys = sql.table(keys.0.len()).keys(keys)?.named("r");
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
        // A row that frees an idempotency key comes before one that takes it.
        changed.sort_by_key(|row| row.idempotency_key().is_some());
        let rows = table(sql, &changed, true)?;
        let edit = match plan.modification() {
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
        // In the order of keys, like all transactions: otherwise two that create the same entities
        // could deadlock.
        new.sort_by(|a, b| (a.kind, &a.id).cmp(&(b.kind, &b.id)));
        let rows = table(sql, &new, plan.now.is_some())?;
        let (created, updated) = if plan.now.is_some() {
            ("r.created", "r.updated")
        } else {
            ("now_us()", "now_us()")
        };
        let values = &*VALUES;
        // Parts that free an idempotency key run before the part that takes it.
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

/// Adds the parts that delete the work of deleted entities, and insert bodies.
pub(super) fn contents(plan: &WritePlan<'_>, sql: &mut SqlBuilder) -> sqlx::Result<()> {
    if plan.rows.iter().any(Option::is_none) {
        sql.with(
            "gone_work",
            format_args!(
                "DELETE FROM work w USING s CROSS JOIN gone r \
                 WHERE {ALL_STAGES} AND w.kind = r.kind AND w.id = r.id"
            ),
        );
    }
    if plan.bodies.is_empty() {
        return Ok(());
    }
    let mut at = Vec::new();
    let (mut codecs, mut dictionaries, mut data) = (Vec::new(), Vec::new(), Vec::new());
    for (version, packed) in &plan.bodies {
        at.push(*version);
        codecs.push(packed.codec);
        dictionaries.push(packed.dictionary);
        data.push(packed.data.as_slice());
    }
    let rows = sql
        .table(at.len())
        .column("at", at)?
        .column("codec", codecs)?
        .column("dictionary", dictionaries)?
        .column("data", data)?
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

/// Returns a condition that is true once all of these parts have run.
pub(super) fn all_of(parts: &[&str]) -> String {
    let counts = parts
        .iter()
        .map(|part| format!("(SELECT count(*) FROM {part})"));
    format!("{} >= 0", counts.collect::<Vec<_>>().join(" + "))
}

/// Returns rows as a table `r` with the columns of `entity`, with or without the times.
fn table<'a>(
    sql: &mut SqlBuilder,
    rows: &[&'a EntityRow<'a>],
    has_times: bool,
) -> sqlx::Result<String> {
    let rest = rows
        .iter()
        .map(|row| serde_json::to_string(&row.rest).map_err(|e| sqlx::Error::Encode(e.into())))
        .collect::<sqlx::Result<Vec<_>>>()?;
    let mut table = sql.table(rows.len());
    macro_rules! columns {
        ($($name:literal = $row:ident => $value:expr;)*) => { $(
            table = table.column($name, rows.iter().map(|$row| $value).collect())?;
        )* };
    }
    if has_times {
        columns! {
            "created" = row => row.created;
            "updated" = row => row.updated;
        }
    }
    columns! {
        "kind" = row => row.kind;
        "id" = row => &*row.id;
        "version" = row => row.version;
        "generation" = row => row.generation;
        "body_at" = row => row.body_at;
        "skeleton" = row => row.skeleton;
        "deleting" = row => row.deleting;
        "prepared" = row => row.prepared;
        "approved" = row => row.approved;
        "template" = row => row.template.as_deref();
        "site" = row => row.site.as_deref();
        "parent" = row => row.parent.as_deref();
        "place" = row => row.place.as_deref();
        "once" = row => row.idempotency_key().map(idempotency_hash);
        "body" = row => &row.body.0[..];
        "metadata" = row => row.metadata.to_lines();
    }
    Ok(table.cast("rest", "json", rest)?.named("r"))
}
