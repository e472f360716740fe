//! The parts that record changes: to be numbered after the commit, or with revisions.

use super::plan::WritePlan;
use crate::codes::{count, key_arrays, signed};
use crate::sql::SqlBuilder;
use tko_core::commit::Step;

/// The columns of a change, beside its numbers.
const COLUMNS: &str = "kind, gone, body_before, version, at, id, before, cause";

/// Adds the parts that insert the changes of all steps.
pub(super) fn write(plan: &WritePlan<'_>, sql: &mut SqlBuilder) -> sqlx::Result<()> {
    if plan.staged.steps.is_empty() {
        return Ok(());
    }
    let (kinds, ids) = key_arrays(plan.staged.steps.iter().map(Step::key));
    let ordinals: Vec<i16> = (0..).take(ids.len()).collect();
    let mut versions = Vec::with_capacity(ids.len());
    let (mut gone, mut bodies) = (Vec::new(), Vec::new());
    for (step, row) in plan.staged.steps.iter().zip(&plan.rows) {
        versions.push(signed(step.version.0));
        gone.push(row.is_none());
        let after = row.as_ref().map_or(0, |row| row.body_at);
        let before = step.before.map(|found| found.body_at);
        bodies.push(before.filter(|before| *before != 0 && *before != after));
    }
    let rows = sql
        .table(ids.len())
        .column("ordinal", "smallint", ordinals)?
        .keys((kinds, ids))?
        .column("version", "bigint", versions)?
        .column("gone", "boolean", gone)?
        .column("body_before", "bigint", bodies)?
        .named("c");
    let cause = sql.bind(plan.set.cause.as_deref().map(str::to_owned))?;
    let now = match plan.now {
        Some(now) => sql.bind(now)?.to_string(),
        None => "now_us()".to_owned(),
    };
    let is_new = plan.staged.steps.iter().all(|step| step.before.is_none());
    // From the snapshot of the statement: a locked row still has the version that was read.
    let before = if is_new {
        "NULL::json"
    } else {
        "(SELECT row_to_json(e) FROM entity e WHERE e.kind = c.kind AND e.id = c.id)"
    };
    let changes = format!(
        "SELECT s.id AS change_set, c.ordinal, c.kind, c.gone, c.body_before, c.version, \
         {now} AS at, c.id, {before} AS before, {cause}::text AS cause FROM s CROSS JOIN {rows}"
    );
    let Some(low) = plan.numbers_from else {
        let pending = format!("INSERT INTO pending (change_set, ordinal, {COLUMNS}) {changes}");
        sql.with("changes", pending);
        return Ok(());
    };
    sql.with_materialized("changes", changes);
    let low = sql.bind(low)?;
    // After the last row lock. It never waits: a transaction that holds the head may wait for rows
    // that are locked here.
    sql.with_materialized(
        "top",
        format_args!(
            "SELECT h.revision FROM head h CROSS JOIN s \
             WHERE NOT EXISTS (SELECT 1 FROM pending WHERE change_set >= {low}) \
             AND NOT EXISTS (SELECT 1 FROM mark WHERE change_set >= {low}) \
             FOR UPDATE OF h SKIP LOCKED"
        ),
    );
    let steps = sql.bind(count(plan.staged.steps.len()))?;
    sql.with(
        "events",
        format_args!(
            "INSERT INTO event (revision, set_revision, {COLUMNS}) \
             SELECT t.revision + 1 + c.ordinal, t.revision + {steps}, {COLUMNS} \
             FROM top t CROSS JOIN changes c"
        ),
    );
    sql.with(
        "moved",
        format_args!(
            "UPDATE head SET revision = (SELECT revision FROM top) + {steps} \
             WHERE EXISTS (SELECT 1 FROM top) RETURNING revision"
        ),
    );
    sql.with(
        "later",
        format_args!(
            "INSERT INTO pending (change_set, ordinal, {COLUMNS}) \
             SELECT change_set, ordinal, {COLUMNS} FROM changes \
             WHERE NOT EXISTS (SELECT 1 FROM top)"
        ),
    );
    Ok(())
}
