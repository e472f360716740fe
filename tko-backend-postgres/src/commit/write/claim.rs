//! The parts that lock and end the lease, or the modification, under which a set is committed.

use super::plan::WritePlan;
use crate::codes::{kind_number, micros, stage_number};
use crate::commit::snapshot::LiveClaim;
use crate::sql::SqlBuilder;
use std::fmt;
use std::time::Duration;
use tko_core::{Lane, Outcome};

/// A filter for the row `w` of the lease `l`.
pub(super) const LEASED: &str = "w.stage = l.stage AND w.kind = l.kind AND w.id = l.id";

/// Assignments that end a lease.
pub(super) const FREE: &str = "token = NULL, until = NULL, worker = NULL, again = NULL";

/// Locks the leased work, or the modified entity, after the changed rows.
pub(super) fn lock(
    plan: &WritePlan<'_>,
    sql: &mut SqlBuilder,
    gate: &mut Vec<String>,
) -> sqlx::Result<()> {
    let Some(token) = &plan.set.under else {
        return Ok(());
    };
    let after_rows = if gate.is_empty() {
        String::new()
    } else {
        " AND (SELECT count(*) FROM locked) >= 0".to_owned()
    };
    match plan.claim {
        Some(LiveClaim::Lease(stage, lease)) => {
            let part = format!(
                "SELECT w.stage, w.kind, w.id, w.attempts, w.again FROM work w \
                 WHERE w.stage = {} AND w.kind = {} AND w.id = {} AND w.token = {} \
                 AND w.until > now_us(){after_rows} FOR UPDATE",
                sql.bind(stage_number(stage))?,
                sql.bind(kind_number(token.key.kind()))?,
                sql.bind(token.key.id().to_owned())?,
                sql.bind(lease)?,
            );
            sql.with_materialized("lease", &part);
            gate.push("EXISTS (SELECT 1 FROM lease)".to_owned());
        }
        Some(LiveClaim::Modification(edit)) => {
            let part = format!(
                "SELECT e.kind, e.id FROM entity e WHERE e.kind = {} AND e.id = {} \
                 AND e.edit = {} AND e.edit_until > now_us(){after_rows} FOR UPDATE",
                sql.bind(kind_number(token.key.kind()))?,
                sql.bind(token.key.id().to_owned())?,
                sql.bind(edit)?,
            );
            sql.with_materialized("edited", &part);
            gate.push("EXISTS (SELECT 1 FROM edited)".to_owned());
        }
        _ => {}
    }
    Ok(())
}

/// Adds the parts that end or update the lease, or the modification.
pub(super) fn settle(plan: &WritePlan<'_>, sql: &mut SqlBuilder) -> sqlx::Result<()> {
    if let (Some(edit), Some(token)) = (plan.modification(), &plan.set.under) {
        let edit = sql.bind(edit)?;
        sql.with(
            "edit_used",
            format_args!("DELETE FROM edit USING s WHERE edit.token = {edit}"),
        );
        if !plan.staged.changes(&token.key) {
            sql.with(
                "edit_ended",
                "UPDATE entity e SET edit = NULL, edit_until = NULL FROM s CROSS JOIN edited d \
                 WHERE e.kind = d.kind AND e.id = d.id",
            );
        }
        return Ok(());
    }
    let Some((stage, key)) = plan.leased() else {
        return Ok(());
    };
    let mut steps = plan.staged.steps.iter();
    if steps.any(|step| step.after.is_none() && step.key() == key) {
        return Ok(());
    }
    let enqueued = plan
        .own
        .iter()
        .find(|enqueued| enqueued.stage == stage && enqueued.key == key);
    // The lane of work that was enqueued since the claim, by this set or another.
    let again = match enqueued {
        Some(enqueued) => {
            let lane = sql.bind(enqueued.again)?;
            format!("coalesce({lane}::smallint, l.again)")
        }
        None => "l.again".to_owned(),
    };
    let progress = match &plan.set.progress {
        None => "w.progress".to_owned(),
        Some(value) if value.is_null() => "NULL".to_owned(),
        Some(value) => format!("{}::json", sql.bind(value.to_string())?),
    };
    let update = |set: fmt::Arguments<'_>, only: &str| {
        format!("UPDATE work w SET {set} FROM s CROSS JOIN lease l WHERE {LEASED}{only}")
    };
    match &plan.set.settle {
        None => {
            if enqueued.is_none() && plan.set.progress.is_none() {
                return Ok(());
            }
            let due = match enqueued {
                Some(enqueued) => {
                    let after = sql.bind(enqueued.after)?;
                    format!("again = {again}, due = least(w.due, now_us() + {after}), ")
                }
                None => String::new(),
            };
            sql.with(
                "kept",
                update(format_args!("{due}progress = {progress}"), ""),
            );
        }
        Some(Outcome::Done) => {
            let anew = format_args!(
                "{FREE}, at = now_us(), due = now_us(), attempts = 0, lane = {again}, \
                 error = NULL, progress = NULL"
            );
            sql.with(
                "due_again",
                update(anew, &format!(" AND {again} IS NOT NULL")),
            );
            if enqueued.is_none() {
                sql.with(
                    "finished",
                    format_args!(
                        "DELETE FROM work w USING s CROSS JOIN lease l \
                         WHERE {LEASED} AND l.again IS NULL"
                    ),
                );
            }
        }
        Some(Outcome::Retry { after, reason }) => {
            let at = next_due(sql, &again, *after)?;
            let failing = format!(
                "CASE WHEN l.attempts >= {} THEN {} ELSE w.lane END",
                Lane::PATIENCE,
                Lane::FAILING.number()
            );
            // PostgreSQL accepts no NUL in a text.
            let reason = sql.bind(reason.replace('\0', "\u{fffd}"))?;
            sql.with(
                "failed",
                update(
                    format_args!(
                        "{FREE}, at = {at}, due = {at}, lane = {failing}, error = {reason}, \
                         progress = {progress}"
                    ),
                    "",
                ),
            );
        }
        Some(Outcome::Yield { after }) => {
            let at = next_due(sql, &again, *after)?;
            sql.with(
                "yielded",
                update(
                    format_args!(
                        "{FREE}, at = {at}, due = {at}, attempts = greatest(l.attempts - 1, 0), \
                         progress = {progress}"
                    ),
                    "",
                ),
            );
        }
    }
    Ok(())
}
/// Returns the next due time: at once if work was enqueued during the lease.
fn next_due(sql: &mut SqlBuilder, again: &str, after: Duration) -> sqlx::Result<String> {
    let after = sql.bind(micros(after))?;
    Ok(format!(
        "CASE WHEN {again} IS NULL THEN now_us() + {after} ELSE now_us() END"
    ))
}
