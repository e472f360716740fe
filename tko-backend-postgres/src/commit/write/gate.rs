//! The gate: locks rows, and checks that the state is still as it was read.

use super::plan::WritePlan;
use crate::codes::{count, key_arrays, signed};
use crate::commit::snapshot::is_referenced;
use crate::sql::SqlBuilder;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use tko_core::commit::Step;
use tko_core::{Key, Require};

/// Adds the parts that lock rows. The changed rows come first, if they still have the versions that
/// were read, then the deployments to which the set refers. The last of these parts is `locked`.
pub(super) fn lock(
    plan: &WritePlan<'_>,
    sql: &mut SqlBuilder,
    gate: &mut Vec<String>,
) -> sqlx::Result<()> {
    let parents = required(plan, |key| matches!(key, Key::Deployment(_)));
    let name = if parents.is_empty() {
        "locked"
    } else {
        "pinned"
    };
    pin(plan, name, sql, gate)?;
    if parents.is_empty() {
        return Ok(());
    }
    let after = if gate.is_empty() {
        ""
    } else {
        " AND (SELECT count(*) FROM pinned) >= 0"
    };
    let count = parents.len();
    let found = requirement(plan, &parents, sql)?;
    // Excludes only the deletion of these rows, which locks them before it looks for referrers.
    sql.with_materialized(
        "locked",
        format_args!("SELECT 1 FROM {found}{after} ORDER BY e.kind, e.id FOR KEY SHARE OF e"),
    );
    gate.push(has_rows(sql, count, format_args!("locked"))?);
    Ok(())
}

/// Locks the changed rows, if they still have the versions that were read.
fn pin(
    plan: &WritePlan<'_>,
    name: &'static str,
    sql: &mut SqlBuilder,
    gate: &mut Vec<String>,
) -> sqlx::Result<()> {
    let mut pins: BTreeMap<&Key, (i64, bool)> = BTreeMap::new();
    for step in &plan.staged.steps {
        if let Some(before) = step.before {
            let version = signed(before.entity.version.0);
            pins.insert(step.key(), (version, step.is_exclusive));
        }
    }
    for require in &plan.set.require {
        if let Require::At(key, version) = require {
            pins.entry(key).or_insert((signed(version.0), false));
        }
    }
    if pins.is_empty() {
        return Ok(());
    }
    let (versions, exclusive): (Vec<i64>, Vec<bool>) = pins.values().copied().unzip();
    let count = pins.len();
    let pins = sql
        .table(count)
        .keys(key_arrays(pins.keys().copied()))?
        .column("version", versions)?
        .column("exclusive", exclusive)?
        .named("p");
    let own = sql.bind(plan.modification())?;
    // The creation of a referrer need not wait for a change of these rows, only for their deletion.
    let deletes = plan.rows.iter().any(Option::is_none);
    let lock = if deletes { "UPDATE" } else { "NO KEY UPDATE" };
    sql.with_materialized(
        name,
        format_args!(
            "SELECT e.* FROM {pins} JOIN entity e ON e.kind = p.kind AND e.id = p.id \
             WHERE e.version = p.version AND (NOT p.exclusive OR e.edit IS NULL \
             OR e.edit_until <= now_us() OR e.edit = {own}) \
             ORDER BY e.kind, e.id FOR {lock} OF e"
        ),
    );
    gate.push(has_rows(sql, count, format_args!("{name}"))?);
    Ok(())
}

/// The entities that must exist: by key, the generation and the version that each must have.
type Required<'a> = BTreeMap<&'a Key, (Option<i64>, Option<i64>)>;

/// The entities that must exist, among the keys for which `is` holds.
fn required<'a>(plan: &WritePlan<'a>, is: impl Fn(&Key) -> bool) -> Required<'a> {
    let mut present = Required::new();
    for require in plan.set.require.iter().filter(|require| is(require.key())) {
        let key = require.key();
        match require {
            Require::Exists(_) => _ = present.entry(key).or_default(),
            Require::Generation(_, generation) => {
                present.entry(key).or_default().0 = Some(signed(generation.0));
            }
            Require::Current(_, version) => {
                present.entry(key).or_default().1 = Some(signed(version.0));
            }
            Require::Absent(_) | Require::At(..) | Require::Unreferenced(_) => {}
        }
    }
    present
}

/// Returns an item of `FROM` with a condition: the rows `e` that are as required.
fn requirement(
    plan: &WritePlan<'_>,
    present: &Required<'_>,
    sql: &mut SqlBuilder,
) -> sqlx::Result<String> {
    let (generations, versions): (Vec<Option<i64>>, Vec<Option<i64>>) =
        present.values().copied().unzip();
    let own = sql.bind(plan.guard.map(|guard| guard.token))?;
    let rows = sql
        .table(present.len())
        .keys(key_arrays(present.keys().copied()))?
        .column("generation", generations)?
        .column("version", versions)?
        .named("r");
    Ok(format!(
        "{rows} JOIN entity e ON e.kind = r.kind AND e.id = r.id \
         WHERE NOT e.deleting AND (r.generation IS NULL OR e.generation = r.generation) \
         AND (r.version IS NULL OR e.version = r.version) \
         AND NOT EXISTS (SELECT 1 FROM going g WHERE g.kind = r.kind AND g.id = r.id \
         AND g.until > now_us() AND g.token IS DISTINCT FROM {own})"
    ))
}

/// Checks requirements on rows that are not locked, in the statement's snapshot.
pub(super) fn requirements(
    plan: &WritePlan<'_>,
    sql: &mut SqlBuilder,
    gate: &mut Vec<String>,
) -> sqlx::Result<()> {
    let present = required(plan, |key| !matches!(key, Key::Deployment(_)));
    let mut absent: BTreeSet<&Key> = BTreeSet::new();
    let mut unreferenced: BTreeSet<&Key> = BTreeSet::new();
    for require in &plan.set.require {
        let key = require.key();
        match require {
            Require::Absent(_) if !plan.staged.changes(key) => _ = absent.insert(key),
            Require::Unreferenced(_) => _ = unreferenced.insert(key),
            _ => {}
        }
    }
    // A holder that the set itself changes needs no check. One under deletion holds its key until it
    // is gone.
    let holders: BTreeSet<Key> = plan
        .staged
        .existing
        .iter()
        .map(|(_, id)| Key::from(id))
        .filter(|key| !plan.staged.changes(key))
        .collect();
    if !holders.is_empty() {
        let rows = sql
            .table(holders.len())
            .keys(key_arrays(&holders))?
            .named("r");
        let found = format_args!("{rows} JOIN entity e ON e.kind = r.kind AND e.id = r.id");
        gate.push(has_rows(sql, holders.len(), found)?);
    }
    if !present.is_empty() {
        let count = present.len();
        let found = requirement(plan, &present, sql)?;
        gate.push(has_rows(sql, count, format_args!("{found}"))?);
    }
    if !absent.is_empty() {
        let keys = key_arrays(absent);
        let rows = sql.table(keys.0.len()).keys(keys)?.named("r");
        gate.push(format!(
            "NOT EXISTS (SELECT 1 FROM {rows} JOIN entity e ON e.kind = r.kind AND e.id = r.id)"
        ));
    }
    if !unreferenced.is_empty() {
        let (kinds, ids) = key_arrays(unreferenced);
        let (changed_kinds, changed_ids) = key_arrays(plan.staged.steps.iter().map(Step::key));
        let keys = format!(
            "unnest({}::smallint[], {}::text[]) k(kind, id)",
            sql.bind(kinds)?,
            sql.bind(ids)?
        );
        let (changed_kinds, changed_ids) = (sql.bind(changed_kinds)?, sql.bind(changed_ids)?);
        gate.push(format!(
            "NOT EXISTS (SELECT 1 FROM {keys} WHERE {})",
            is_referenced(&format!(
                "unnest({changed_kinds}::smallint[], {changed_ids}::text[]) c(kind, id) WHERE true"
            ))
        ));
    }
    if let Some(guard) = plan.guard {
        let token = sql.bind(guard.token)?;
        let held = format_args!("going WHERE token = {token} AND until > now_us()");
        gate.push(has_rows(sql, guard.count, held)?);
    }
    Ok(())
}

/// Returns a condition: whether `from` has this many rows.
fn has_rows(sql: &mut SqlBuilder, rows: usize, from: fmt::Arguments<'_>) -> sqlx::Result<String> {
    if rows == 1 {
        return Ok(format!("EXISTS (SELECT 1 FROM {from})"));
    }
    let rows = sql.bind(count(rows))?;
    Ok(format!("(SELECT count(*) FROM {from}) = {rows}"))
}
