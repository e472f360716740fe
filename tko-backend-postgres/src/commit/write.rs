//! The statement that writes a change set.
//!
//! Its parts, in the order in which they run:
//! 1. `locked`: the changed rows, in the order of keys, if they still have the versions that were
//!    read. `lease`: the leased work, if it still has this token.
//! 2. `gate`: whether all preconditions still hold. If not, nothing below runs.
//! 3. Entities are deleted, updated, and inserted.
//! 4. `s`: the id of the change set, taken after the last lock. So change sets of one entity have
//!    ids in the order of their commits, and revisions follow that order.
//! 5. The rest: bodies, metadata, work, and changes to be numbered. If no set waits for that, `top`
//!    locks the head of the feed, and the changes get their revisions at once.

mod changes;
mod claim;
mod facets;
mod gate;
mod joint;
mod plan;
mod rows;
mod work;

use crate::codes::Stages;
use crate::database::Database;
use crate::dialect::{self, FeedNotice};
use crate::metrics::{Instrument, Purpose};
use crate::sql::{BuiltSql, SqlBuilder};
use sqlx::{AssertSqlSafe, PgExecutor, Row as _};
use tko_core::{ChangeSet, Kind, Revision, Stage};

pub(super) use joint::JointPlan;
pub(super) use plan::{StagedSet, WritePlan};

/// The stages whose work may be due because of a change set.
pub(super) fn woken(set: &ChangeSet) -> Stages {
    let stages = set.enqueue.iter().map(|work| work.stage);
    stages.chain(stages_of_settled(set)).collect()
}

/// The stages whose work may be due once a set has settled its lease: work that was enqueued during
/// the lease is due at once.
fn stages_of_settled(set: &ChangeSet) -> impl Iterator<Item = Stage> {
    let settled = set.under.as_ref().filter(|_| set.settle.is_some());
    let stages: &[Stage] = match settled.map(|token| token.key.kind()) {
        None => &[],
        Some(Kind::Site) => &[Stage::Schedule, Stage::Delete],
        Some(Kind::Deployment) => &[Stage::Prepare, Stage::Delete],
        Some(Kind::Template | Kind::Plugin) => &[Stage::Delete],
    };
    stages.iter().copied()
}

/// A change set that was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct WrittenSet {
    pub(super) id: i64,
    /// The revision of its last change, if it got revisions in the same transaction.
    pub(super) revision: Option<Revision>,
}

/// Writes a change set. Returns `None` if the state changed since it was read.
///
/// # Errors
/// The error of the database: the caller decides about retries.
pub(super) async fn execute<'e>(
    plan: &WritePlan<'_>,
    database: &Database,
    executor: impl PgExecutor<'e>,
) -> sqlx::Result<Option<WrittenSet>> {
    let BuiltSql { text, values } = statement(plan, &database.process)?;
    let row = sqlx::query_with(AssertSqlSafe(text), values)
        .fetch_one(executor)
        .measured(&database.metrics, Purpose::Commit)
        .await?;
    let id: Option<i64> = row.try_get(0)?;
    let revision: Option<i64> = match plan.numbers_from {
        Some(_) => row.try_get(1)?,
        None => None,
    };
    let revision = revision.map(|revision| Revision(revision.unsigned_abs()));
    Ok(id.map(|id| WrittenSet { id, revision }))
}

fn statement(plan: &WritePlan<'_>, process: &str) -> sqlx::Result<BuiltSql> {
    let mut sql = SqlBuilder::default();
    let mut gate = Vec::new();
    gate::lock(plan, &mut sql, &mut gate)?;
    claim::lock(plan, &mut sql, &mut gate)?;
    gate::requirements(plan, &mut sql, &mut gate)?;
    let gate = if gate.is_empty() {
        "true".to_owned()
    } else {
        gate.join(" AND ")
    };
    sql.with("gate", format_args!("SELECT 1 WHERE {gate}"));
    let done = rows::write(plan, &mut sql)?;
    let locked = match (done.as_slice(), plan.staged.steps.as_slice()) {
        ([], _) => "gate".to_owned(),
        ([part], [_]) => (*part).to_owned(),
        (parts, _) => format!("gate WHERE {}", rows::all_of(parts)),
    };
    sql.with_materialized(
        "s",
        format_args!("SELECT nextval('change_set') AS id FROM {locked}"),
    );
    rows::contents(plan, &mut sql)?;
    facets::write(plan, &mut sql)?;
    work::own(plan, &mut sql)?;
    claim::settle(plan, &mut sql)?;
    changes::write(plan, &mut sql)?;
    work::others(plan, &mut sql)?;
    if let Some(guard) = plan.guard {
        let token = sql.bind(guard.token)?;
        sql.with(
            "released",
            format_args!("DELETE FROM going USING s WHERE going.token = {token}"),
        );
    }
    if plan.numbers_from.is_none() {
        return Ok(sql.finish("SELECT (SELECT id FROM s)"));
    }
    let suffix = sql.bind(FeedNotice::suffix(woken(plan.set), process))?;
    let revision = format!("(SELECT revision FROM moved)::text || {suffix}");
    let notify = dialect::notify(&revision);
    Ok(sql.finish(format_args!(
        "SELECT (SELECT id FROM s), (SELECT revision FROM moved), \
         (SELECT {notify} FROM moved)::text"
    )))
}
