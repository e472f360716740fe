//! The parts that hold and end the lease, or the edit, that a set is committed under.

use super::{Sql, Statement, Write, number, stage_number};
use crate::commit::snapshot::Right;
use std::fmt;
use tko_core::{Key, Lane, Outcome, Stage};
use uuid::Uuid;

/// The leased row, of `w`.
const ITS: &str = "w.stage = l.stage AND w.kind = l.kind AND w.id = l.id";

/// The end of a lease.
const FREE: &str = "token = NULL, until = NULL, worker = NULL, again = NULL";

impl Write<'_> {
    /// The edit that this is under.
    pub(super) fn edit(&self) -> Option<Uuid> {
        match self.right {
            Some(Right::Modification(token)) => Some(token),
            _ => None,
        }
    }

    /// The lease that this is under: of what.
    pub(super) fn leased(&self) -> Option<(Stage, &Key)> {
        match (self.right, &self.set.under) {
            (Some(Right::Lease(stage, _)), Some(token)) => Some((stage, &token.key)),
            _ => None,
        }
    }

    /// Locks the leased work, after the rows.
    pub(super) fn lease(&self, sql: &mut Statement, gate: &mut Vec<String>) -> Sql<()> {
        let Some(token) = &self.set.under else {
            return Ok(());
        };
        let after_rows = if gate.is_empty() {
            String::new()
        } else {
            " AND (SELECT count(*) FROM locked) >= 0".to_owned()
        };
        match self.right {
            Some(Right::Lease(stage, lease)) => {
                let part = format!(
                    "SELECT w.stage, w.kind, w.id, w.attempts, w.again FROM work w \
                     WHERE w.stage = {} AND w.kind = {} AND w.id = {} AND w.token = {} \
                     AND w.until > now_us(){after_rows} FOR UPDATE",
                    sql.bind(stage_number(stage))?,
                    sql.bind(number(token.key.kind()))?,
                    sql.bind(token.key.id().to_owned())?,
                    sql.bind(lease)?,
                );
                sql.with_first("lease", &part);
                gate.push("EXISTS (SELECT 1 FROM lease)".to_owned());
            }
            Some(Right::Modification(edit)) => {
                let part = format!(
                    "SELECT e.kind, e.id FROM entity e WHERE e.kind = {} AND e.id = {} \
                     AND e.edit = {} AND e.edit_until > now_us(){after_rows} FOR UPDATE",
                    sql.bind(number(token.key.kind()))?,
                    sql.bind(token.key.id().to_owned())?,
                    sql.bind(edit)?,
                );
                sql.with_first("edited", &part);
                gate.push("EXISTS (SELECT 1 FROM edited)".to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    /// What becomes of the lease, or of the edit.
    pub(super) fn settlement(&self, sql: &mut Statement) -> Sql<()> {
        if let (Some(edit), Some(token)) = (self.edit(), &self.set.under) {
            let edit = sql.bind(edit)?;
            sql.with(
                "edit_used",
                format_args!("DELETE FROM edit USING s WHERE edit.token = {edit}"),
            );
            if !self.staged.changes(&token.key) {
                sql.with(
                    "edit_ended",
                    "UPDATE entity e SET edit = NULL, edit_until = NULL FROM s CROSS JOIN edited d \
                     WHERE e.kind = d.kind AND e.id = d.id",
                );
            }
            return Ok(());
        }
        let Some((stage, key)) = self.leased() else {
            return Ok(());
        };
        let goes = |step: &super::super::staged::Step<'_>| step.key == key && step.after.is_none();
        if self.staged.steps.iter().any(goes) {
            return Ok(());
        }
        let mark = self
            .own
            .iter()
            .find(|mark| mark.stage == stage && mark.key == key);
        // The lane of a mark that came since the claim, this set's own included.
        let again = match mark {
            Some(mark) => {
                let lane = sql.bind(mark.again)?;
                format!("coalesce({lane}::smallint, l.again)")
            }
            None => "l.again".to_owned(),
        };
        let progress = match &self.set.progress {
            None => "w.progress".to_owned(),
            Some(value) if value.is_null() => "NULL".to_owned(),
            Some(value) => format!("{}::json", sql.bind(value.to_string())?),
        };
        let update = |set: fmt::Arguments<'_>, only: &str| {
            format!("UPDATE work w SET {set} FROM s CROSS JOIN lease l WHERE {ITS}{only}")
        };
        match &self.set.settle {
            None => {
                if mark.is_none() && self.set.progress.is_none() {
                    return Ok(());
                }
                let due = match mark {
                    Some(mark) => {
                        let after = sql.bind(mark.after)?;
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
                if mark.is_none() {
                    sql.with(
                        "finished",
                        format_args!(
                            "DELETE FROM work w USING s CROSS JOIN lease l \
                             WHERE {ITS} AND l.again IS NULL"
                        ),
                    );
                }
            }
            Some(Outcome::Retry { after, reason }) => {
                let at = next(sql, &again, *after)?;
                let failing = format!(
                    "CASE WHEN l.attempts >= {} THEN {} ELSE w.lane END",
                    Lane::PATIENCE,
                    Lane::FAILING.number()
                );
                // A text of PostgreSQL holds no NUL.
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
                let at = next(sql, &again, *after)?;
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
}

/// When it is due next: at once, if it was marked meanwhile.
fn next(sql: &mut Statement, again: &str, after: std::time::Duration) -> Sql<String> {
    let after = sql.bind(i64::try_from(after.as_micros()).unwrap_or(i64::MAX / 4))?;
    Ok(format!(
        "CASE WHEN {again} IS NULL THEN now_us() + {after} ELSE now_us() END"
    ))
}
