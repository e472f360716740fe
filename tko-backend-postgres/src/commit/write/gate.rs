//! The gate: locks rows, and checks that the state is still as it was read.

use super::plan::WritePlan;
use crate::codes::{count, key_arrays, signed};
use crate::commit::snapshot::is_referenced;
use crate::sql::SqlBuilder;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use tko_core::commit::Step;
use tko_core::{Key, Require};

/// Locks the changed rows, if they still have the versions that were read.
pub(super) fn lock(
    plan: &WritePlan<'_>,
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
        .column("version", "bigint", versions)?
        .column("exclusive", "boolean", exclusive)?
        .named("p");
    let own = sql.bind(plan.modification())?;
    sql.with_materialized(
        "locked",
        format_args!(
            "SELECT e.* FROM {pins} JOIN entity e ON e.kind = p.kind AND e.id = p.id \
             WHERE e.version = p.version AND (NOT p.exclusive OR e.edit IS NULL \
             OR e.edit_until <= now_us() OR e.edit = {own}) \
             ORDER BY e.kind, e.id FOR UPDATE OF e"
        ),
    );
    gate.push(has_rows(sql, count, format_args!("locked"))?);
    Ok(())
}

/// Checks requirements on rows that are not locked, in the statement's snapshot.
pub(super) fn requirements(
    plan: &WritePlan<'_>,
    sql: &mut SqlBuilder,
    gate: &mut Vec<String>,
) -> sqlx::Result<()> {
    // By key, the required generation and version.
    let mut present: BTreeMap<&Key, (Option<i64>, Option<i64>)> = BTreeMap::new();
    let mut absent: BTreeSet<&Key> = BTreeSet::new();
    let mut unreferenced: BTreeSet<&Key> = BTreeSet::new();
    for require in &plan.set.require {
        let key = require.key();
        match require {
            Require::Exists(_) => _ = present.entry(key).or_default(),
            Require::Generation(_, generation) => {
                present.entry(key).or_default().0 = Some(signed(generation.0));
            }
            Require::Current(_, version) => {
                present.entry(key).or_default().1 = Some(signed(version.0));
            }
            Require::Absent(_) if !plan.staged.changes(key) => _ = absent.insert(key),
            Require::Unreferenced(_) => _ = unreferenced.insert(key),
            Require::Absent(_) | Require::At(..) => {}
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
        let (generations, versions): (Vec<Option<i64>>, Vec<Option<i64>>) =
            present.values().copied().unzip();
        let own = sql.bind(plan.guard.map(|guard| guard.token))?;
        let rows = sql
            .table(present.len())
            .keys(key_arrays(present.keys().copied()))?
            .column("generation", "bigint", generations)?
            .column("version", "bigint", versions)?
            .named("r");
        let found = format_args!(
            "{rows} JOIN entity e ON e.kind = r.kind AND e.id = r.id \
             WHERE NOT e.deleting AND (r.generation IS NULL OR e.generation = r.generation) \
             AND (r.version IS NULL OR e.version = r.version) \
             AND NOT EXISTS (SELECT 1 FROM going g WHERE g.kind = r.kind AND g.id = r.id \
             AND g.until > now_us() AND g.token IS DISTINCT FROM {own})"
        );
        gate.push(has_rows(sql, present.len(), found)?);
    }
    if !absent.is_empty() {
        let keys = key_arrays(absent);
        let rows = sql.table(keys.0.len()).keys(keys)?.named("r");
        gate.push(format!(
            "NOT EXISTS (SELECT 1 FROM {rows} JOIN entity e ON e.kind = r.kind AND e.id = r.id)"
        ));
    }
    if let Some(guard) = plan.guard {
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
            is_referenced(&changed_kinds.to_string(), &changed_ids.to_string())
        ));
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
