//! The numbering pass: one statement that assigns revisions, and enqueues work of other keys.
//!
//! It locks the head of the feed. Pending changes get the next numbers, in the order of the ids of
//! change sets. `docs/portability.md` says why that is correct. Writers never wait for one another;
//! they only wait for a pass.

use super::CHANGE_COLUMNS as COLUMNS;
use crate::database::Database;
use crate::dialect;
use crate::metrics::{Instrument, Purpose};
use crate::work::MERGED;
use sqlx::AssertSqlSafe;
use std::sync::LazyLock;
use tko_core::Result;

/// The limit of changes in one pass; the last change set may exceed it.
const MAX_CHANGES: i64 = 5_000;

/// The statement, including the notification of all processes if it numbered anything.
///
/// Another pass may have moved the head since this statement began. So it reads the head by locking
/// it, and takes changes only after that; changes that the other pass took are gone by then. It
/// locks nothing if nothing is pending.
static PASS: LazyLock<String> = LazyLock::new(|| {
    let notify = dialect::notify("SELECT max(revision) FROM moved");
    format!(
        "WITH locked AS MATERIALIZED ( \
         SELECT revision FROM head WHERE EXISTS (SELECT 1 FROM pending WHERE change_set >= $1) \
         OR EXISTS (SELECT 1 FROM mark WHERE change_set >= $1) FOR UPDATE), \
     bound AS MATERIALIZED ( \
         SELECT change_set FROM pending WHERE change_set >= $1 \
         ORDER BY change_set, ordinal OFFSET $2 LIMIT 1), \
     taken AS ( \
         DELETE FROM pending WHERE EXISTS (SELECT 1 FROM locked) AND change_set >= $1 \
         AND change_set < coalesce((SELECT change_set FROM bound), 9223372036854775807) RETURNING *), \
     numbered AS MATERIALIZED ( \
         SELECT t.*, h.revision + row_number() OVER (ORDER BY t.change_set, t.ordinal) AS revision \
         FROM taken t CROSS JOIN locked h), \
     events AS ( \
         INSERT INTO event (revision, set_revision, {COLUMNS}) \
         SELECT revision, max(revision) OVER (PARTITION BY change_set), {COLUMNS} FROM numbered), \
     marked AS ( \
         DELETE FROM mark WHERE EXISTS (SELECT 1 FROM locked) AND change_set >= $1 RETURNING *), \
     due AS ( \
         INSERT INTO work AS w (stage, kind, id, lane, again, at, due) \
         SELECT m.stage, m.kind, m.id, (array_agg(m.lane ORDER BY m.change_set, m.ordinal))[1], \
         (array_agg(m.lane ORDER BY m.change_set DESC, m.ordinal DESC))[1], min(m.due), min(m.due) \
         FROM marked m WHERE EXISTS (SELECT 1 FROM entity e WHERE e.kind = m.kind AND e.id = m.id) \
         GROUP BY m.stage, m.kind, m.id ORDER BY m.stage, m.kind, m.id \
         {MERGED}), \
     moved AS ( \
         UPDATE head SET revision = (SELECT max(revision) FROM numbered) \
         WHERE EXISTS (SELECT 1 FROM numbered) RETURNING revision), \
     result AS ( \
     SELECT n.change_set, max(n.revision) AS revision, (SELECT max(revision) FROM moved) AS head, \
     (SELECT change_set FROM bound) IS NOT NULL AS more FROM numbered n GROUP BY n.change_set \
     UNION ALL \
     SELECT NULL, NULL, NULL, false FROM (SELECT 1 FROM marked LIMIT 1) m) \
     SELECT r.*, (SELECT {notify})::text FROM result r"
    )
});

/// A row of the result: a change set, its last revision, the head, and whether there is more. The
/// first three are NULL if only work was enqueued.
type PassRow = (Option<i64>, Option<i64>, Option<i64>, bool);

/// The effect of a pass.
pub(super) struct NumberingPass {
    /// The numbered change sets, each with the revision of its last change.
    pub(super) sets: Vec<(i64, u64)>,
    /// The new head, if it moved.
    pub(super) head: Option<u64>,
    /// Whether changes were numbered or work was enqueued.
    pub(super) has_effect: bool,
    /// Whether changes are left.
    pub(super) has_more: bool,
}

/// Numbers the pending changes of the change sets from this id on.
pub(super) async fn pass(database: &Database, from: i64) -> Result<NumberingPass> {
    let rows: Vec<PassRow> = sqlx::query_as(AssertSqlSafe(PASS.as_str()))
        .bind(from)
        .bind(MAX_CHANGES)
        .fetch_all(&database.pool)
        .sent(&database.metrics, Purpose::Number)
        .await?;
    let head = rows.iter().filter_map(|(_, _, head, _)| *head).max();
    let sets = rows
        .iter()
        .filter_map(|(set, revision, ..)| Some(((*set)?, (*revision)?.unsigned_abs())));
    Ok(NumberingPass {
        sets: sets.collect(),
        head: head.map(i64::unsigned_abs),
        has_effect: !rows.is_empty(),
        has_more: rows.iter().any(|(.., more)| *more),
    })
}

/// Whether no change and no enqueued work is pending.
pub(super) async fn is_idle(database: &Database) -> Result<bool> {
    sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT 1 FROM pending) AND NOT EXISTS (SELECT 1 FROM mark)",
    )
    .fetch_one(&database.pool)
    .sent(&database.metrics, Purpose::FindUnnumbered)
    .await
}
