//! The parts that enqueue work.

use super::plan::WritePlan;
use crate::codes::{key_arrays, micros, stage_number};
use crate::sql::SqlBuilder;
use crate::work::MERGED;

/// Adds the part that enqueues work for the entities of this set.
pub(super) fn own(plan: &WritePlan<'_>, sql: &mut SqlBuilder) -> sqlx::Result<()> {
    let leased = plan.leased();
    let own: Vec<_> = plan
        .own
        .iter()
        .filter(|work| leased != Some((work.stage, work.key)))
        .collect();
    if own.is_empty() {
        return Ok(());
    }
    let (kinds, ids) = key_arrays(own.iter().map(|work| work.key));
    let stages: Vec<i16> = own.iter().map(|work| stage_number(work.stage)).collect();
    let lanes: Vec<i16> = own.iter().map(|work| work.lane).collect();
    let again: Vec<i16> = own.iter().map(|work| work.again).collect();
    let after: Vec<i64> = own.iter().map(|work| work.after).collect();
    let rows = sql
        .table(ids.len())
        .column("stage", stages)?
        .keys((kinds, ids))?
        .column("lane", lanes)?
        .column("again", again)?
        .column("after", after)?
        .named("m");
    let order = match own.as_slice() {
        [_] => "",
        _ => " ORDER BY m.stage, m.kind, m.id",
    };
    // A claim clears `again`, so its value in a new row does not matter.
    sql.with(
        "due",
        format_args!(
            "INSERT INTO work AS w (stage, kind, id, lane, again, at, due) \
             SELECT m.stage, m.kind, m.id, m.lane, m.again, now_us() + m.after, now_us() + m.after \
             FROM s CROSS JOIN {rows}{order} {MERGED}"
        ),
    );
    Ok(())
}

/// Adds the parts for work of other entities, which a numbering pass enqueues, or the part that
/// numbers this set.
pub(super) fn others(plan: &WritePlan<'_>, sql: &mut SqlBuilder) -> sqlx::Result<()> {
    if plan.others.is_empty() {
        return Ok(());
    }
    let (kinds, ids) = key_arrays(plan.others.iter().map(|work| &work.key));
    let ordinals: Vec<i16> = (0..).take(ids.len()).collect();
    let stages: Vec<i16> = plan
        .others
        .iter()
        .map(|work| stage_number(work.stage))
        .collect();
    let lanes: Vec<i16> = plan
        .others
        .iter()
        .map(|work| i16::from(work.lane.number()))
        .collect();
    let after: Vec<i64> = plan.others.iter().map(|work| micros(work.after)).collect();
    let rows = sql
        .table(ids.len())
        .column("ordinal", ordinals)?
        .column("stage", stages)?
        .keys((kinds, ids))?
        .column("lane", lanes)?
        .column("after", after)?
        .named("m");
    let marks = format!(
        "INSERT INTO mark (change_set, ordinal, stage, kind, lane, due, id) \
         SELECT s.id, m.ordinal, m.stage, m.kind, m.lane, now_us() + m.after, m.id \
         FROM s CROSS JOIN {rows}"
    );
    if plan.numbers_from.is_none() {
        sql.with("marks", marks);
        return Ok(());
    }
    due_elsewhere(sql, &rows, "m.ordinal");
    let unless = format!("{marks} WHERE NOT EXISTS (SELECT 1 FROM top)");
    sql.with("marks", unless);
    Ok(())
}

/// Adds the part that enqueues work of other entities at once, as a numbering pass would, if the
/// statement gives revisions. The work is the rows `m` in this order.
pub(super) fn due_elsewhere(sql: &mut SqlBuilder, rows: &str, order: &str) {
    let backwards = order.replace(',', " DESC,");
    sql.with(
        "due_elsewhere",
        format_args!(
            "INSERT INTO work AS w (stage, kind, id, lane, again, at, due) \
             SELECT m.stage, m.kind, m.id, (array_agg(m.lane ORDER BY {order}))[1], \
             (array_agg(m.lane ORDER BY {backwards} DESC))[1], \
             now_us() + min(m.after), now_us() + min(m.after) FROM top CROSS JOIN {rows} \
             WHERE EXISTS (SELECT 1 FROM entity e WHERE e.kind = m.kind AND e.id = m.id) \
             GROUP BY m.stage, m.kind, m.id ORDER BY m.stage, m.kind, m.id {MERGED}"
        ),
    );
}
