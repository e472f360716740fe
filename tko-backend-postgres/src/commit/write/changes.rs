//! The part that records changes, to be numbered after the commit.

use super::plan::WritePlan;
use crate::codes::{key_arrays, signed};
use crate::sql::SqlBuilder;
use tko_core::commit::Step;

/// Adds the part that inserts the changes of all steps.
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
