//! The parts that record changes: to be numbered after the commit, or with revisions.

use super::plan::WritePlan;
use crate::codes::{count, key_arrays, signed};
use crate::dialect;
use crate::feed::CHANGE_COLUMNS as COLUMNS;
use crate::sql::{SqlBuilder, SqlTable};
use tko_core::commit::Step;

/// Adds the parts that insert the changes of all steps.
pub(super) fn write(plan: &WritePlan<'_>, sql: &mut SqlBuilder) -> sqlx::Result<()> {
    if plan.staged.steps.is_empty() {
        return Ok(());
    }
    let (kinds, ids) = key_arrays(plan.staged.steps.iter().map(Step::key));
    let ordinals: Vec<i16> = (0..).take(ids.len()).collect();
    let table = sql.table(ids.len()).column("ordinal", ordinals)?;
    let rows = columns(plan, table.keys((kinds, ids))?)?.named("c");
    let cause = sql.bind(plan.set.cause.as_deref().map(str::to_owned))?;
    let now = match plan.now {
        Some(now) => sql.bind(now)?.to_string(),
        None => "now_us()".to_owned(),
    };
    let before = before(plan);
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
    number(sql, low, plan.staged.steps.len(), "c.ordinal + 1", None)
}

/// Adds the columns of each change that the rows and their steps determine.
pub(super) fn columns<'a>(plan: &WritePlan<'_>, table: SqlTable<'a>) -> sqlx::Result<SqlTable<'a>> {
    let rows = plan.rows.len();
    let (mut versions, mut was) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let (mut gone, mut bodies) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    for (step, row) in plan.staged.steps.iter().zip(&plan.rows) {
        versions.push(signed(step.version.0));
        was.push(step.before.map(|found| signed(found.entity.version.0)));
        gone.push(row.is_none());
        let after = row.as_ref().map_or(0, |row| row.body_at);
        let before = step.before.map(|found| found.body_at);
        bodies.push(before.filter(|before| *before != 0 && *before != after));
    }
    table
        .column("version", versions)?
        .column("was", was)?
        .column("gone", gone)?
        .column("body_before", bodies)
}

/// An expression for the row before the change `c`, from the snapshot of the statement: a locked
/// row still has the version that was read. If a row is added, the snapshot may show an earlier row
/// that has been deleted since.
pub(super) fn before(plan: &WritePlan<'_>) -> &'static str {
    if plan.staged.steps.iter().all(|step| step.before.is_none()) {
        return "NULL::json";
    }
    "(SELECT row_to_json(e) FROM entity e \
     WHERE e.kind = c.kind AND e.id = c.id AND e.version = c.was)"
}

/// Adds the parts that give revisions to `changes`, or leave them to a numbering pass. `place` is
/// the position of a change among all changes, from 1. If there are several sets, `last` is the
/// position of the last change of its set.
pub(super) fn number(
    sql: &mut SqlBuilder,
    low: i64,
    steps: usize,
    place: &str,
    last: Option<&str>,
) -> sqlx::Result<()> {
    let low = sql.bind(low)?;
    // After the last row lock, so `none_waits` sees every set committed before this one got its
    // locks, even if the statement's snapshot does not. That includes every set on which this one
    // depends. Such a set freed a key or an idempotency key, referred to a row deleted here, or
    // required the version of a row changed here. If none waits, all of these have revisions, and
    // this set gets later ones. Sets that are committed after that do not need to come before this
    // set. Nor does a set with a higher id: it took that id after this set had all its locks.
    //
    // It never waits: a transaction that holds the head may wait for rows that are locked here.
    sql.with_materialized(
        "top",
        format_args!(
            "SELECT h.revision FROM s CROSS JOIN head h WHERE {} FOR UPDATE OF h SKIP LOCKED",
            dialect::none_waits(low, "s.id"),
        ),
    );
    let steps = sql.bind(count(steps))?;
    let last = last.map_or_else(|| steps.to_string(), str::to_owned);
    sql.with(
        "events",
        format_args!(
            "INSERT INTO event (revision, set_revision, {COLUMNS}) \
             SELECT t.revision + {place}, t.revision + {last}, {COLUMNS} \
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
