//! The statement that writes several change sets together: all, or none.
//!
//! The statement has the parts of the one for a single set, with two differences. `ids` has the id
//! of each set, taken after the last lock and in the order of the sets. `lease` has the leases of
//! all. The sets change different keys, and none requires a key that another one changes.
//!
//! It gives revisions as the statement for one set does, unless two sets concern one piece of work:
//! a statement cannot write a row twice.

use super::changes::{before, columns, number};
use super::claim::{FREE, LEASED};
use super::plan::{OwnWork, StagedSet, WritePlan, enqueued, leased};
use super::{WrittenSet, facets, gate, rows, stages_of_settled, work};
use crate::codes::{count, key_arrays, micros, stage_number};
use crate::commit::session::CommitSession;
use crate::commit::snapshot::{CommitSnapshot, LiveClaim};
use crate::content::Content;
use crate::database::Database;
use crate::dialect::{self, FeedNotice};
use crate::feed::CHANGE_COLUMNS as COLUMNS;
use crate::sql::{BuiltSql, SqlBuilder};
use std::collections::HashSet;
use std::time::Duration;
use tko_core::commit::{Staged, Step};
use tko_core::{ChangeSet, Enqueue, Key, Lane, Outcome, Require, Result, Stage, Timestamp};
use uuid::Uuid;

/// One of the sets, apart from the rows that it writes.
struct JointSet<'a> {
    set: &'a ChangeSet,
    claim: Option<LiveClaim>,
    /// The number of its steps.
    steps: usize,
    /// The lane of its leased work, if the set enqueues that again.
    again: Option<i16>,
    own: Vec<OwnWork<'a>>,
    others: Vec<&'a Enqueue>,
}

/// Several change sets, checked and ready to be written by one statement.
pub(in crate::commit) struct JointPlan<'a> {
    sets: Vec<JointSet<'a>>,
    /// Everything that all of them require.
    required: ChangeSet,
    staged: StagedSet<'a>,
    now: Option<Timestamp>,
}

impl<'a> JointPlan<'a> {
    /// An empty plan. `now` is the time of the snapshots; if it is `None`, the statement sets the
    /// time.
    pub(in crate::commit) fn new(now: Option<Timestamp>) -> Self {
        Self {
            sets: Vec::new(),
            required: ChangeSet::default(),
            staged: Staged::new(
                &tko_core::commit::EmptySnapshot::at(Timestamp::default()),
                Vec::new(),
                |_| tko_core::Version::default(),
            ),
            now,
        }
    }

    /// Adds a set.
    pub(in crate::commit) fn add(
        &mut self,
        set: &'a ChangeSet,
        staged: StagedSet<'a>,
        snapshot: Option<&CommitSnapshot>,
    ) {
        let claim = snapshot.and_then(|snapshot| snapshot.claim);
        let leased = leased(claim, set);
        let (mut own, others) = enqueued(set, &staged, leased);
        let is_leased = |work: &OwnWork<'_>| leased == Some((work.stage, work.key));
        let again = own
            .iter()
            .find(|work| is_leased(work))
            .map(|work| work.again);
        own.retain(|work| !is_leased(work));
        // References were searched after the lock (`CommitSession`).
        let checked = set
            .require
            .iter()
            .filter(|require| !matches!(require, Require::Unreferenced(_)));
        self.required.require.extend(checked.cloned());
        self.sets.push(JointSet {
            set,
            claim,
            steps: staged.steps.len(),
            again,
            own,
            others,
        });
        self.staged.join(staged);
    }

    /// Whether work of other entities is enqueued by the set at this position.
    pub(in crate::commit) fn enqueues_others(&self, at: usize) -> bool {
        !self.sets[at].others.is_empty()
    }

    /// Whether the work that the sets enqueue for other entities is apart from their own. That
    /// holds if none of them enqueues the same work for its own entities, has leased it, or deletes
    /// its entity.
    fn is_apart(&self) -> bool {
        let others = self.sets.iter().flat_map(|of| &of.others);
        let others: HashSet<(Stage, &Key)> = others.map(|work| (work.stage, &work.key)).collect();
        let steps = self.staged.steps.iter();
        let gone: HashSet<&Key> = steps
            .filter(|step| step.after.is_none())
            .map(Step::key)
            .collect();
        let own = self.sets.iter().flat_map(|of| {
            let own = of.own.iter().map(|work| (work.stage, work.key));
            own.chain(leased(of.claim, of.set))
        });
        others.iter().all(|(_, key)| !gone.contains(key))
            && !own.into_iter().any(|work| others.contains(&work))
    }

    /// Writes all sets. Returns their ids and last revisions, in order; `None` if the state changed
    /// since it was read. They get no revisions if a change set with the id `low` or a later one
    /// has none yet.
    ///
    /// # Errors
    /// The outer error is of preparing; the inner one is of the statement.
    pub(in crate::commit) async fn execute(
        &mut self,
        content: &Content,
        database: &Database,
        session: CommitSession,
        low: i64,
    ) -> Result<sqlx::Result<Option<Vec<WrittenSet>>>> {
        let is_apart = self.is_apart();
        let sets = self.sets.iter_mut();
        let own = sets.flat_map(|of| std::mem::take(&mut of.own)).collect();
        let mut plan = WritePlan {
            set: &self.required,
            own,
            staged: &self.staged,
            guard: None,
            claim: None,
            now: self.now.map(|now| now.0),
            rows: Vec::with_capacity(self.staged.steps.len()),
            bodies: Vec::new(),
            others: Vec::new(),
            numbers_from: None,
        };
        plan.add_rows(content).await?;
        if is_apart {
            plan.number_from(low);
        }
        let built = match statement(&plan, &self.sets, &database.process) {
            Ok(built) => built,
            Err(error) => return Ok(Err(error)),
        };
        let steps: Vec<usize> = self.sets.iter().map(|of| of.steps).collect();
        Ok(session.write_together(built, &steps, database).await)
    }
}

fn statement(plan: &WritePlan<'_>, sets: &[JointSet<'_>], process: &str) -> sqlx::Result<BuiltSql> {
    let mut sql = SqlBuilder::of_arrays();
    let mut gate = Vec::new();
    gate::lock(plan, &mut sql, &mut gate)?;
    let has_leases = lock_leases(sets, &mut sql, &mut gate)?;
    gate::requirements(plan, &mut sql, &mut gate)?;
    let gate = if gate.is_empty() {
        "true".to_owned()
    } else {
        gate.join(" AND ")
    };
    sql.with("gate", format_args!("SELECT 1 WHERE {gate}"));
    let done = rows::write(plan, &mut sql)?;
    let after = match done.as_slice() {
        [] => String::new(),
        parts => format!(" WHERE {}", rows::all_of(parts)),
    };
    let most = sql.bind(count(sets.len()))?;
    sql.with_materialized(
        "ids",
        format_args!(
            "SELECT x.n, nextval('change_set') AS id \
             FROM gate CROSS JOIN generate_series(1, {most}) x(n){after}"
        ),
    );
    // For the parts that do not depend on the set.
    sql.with_materialized("s", "SELECT max(i.id) AS id FROM ids i HAVING count(*) > 0");
    rows::contents(plan, &mut sql)?;
    facets::write(plan, &mut sql)?;
    work::own(plan, &mut sql)?;
    if has_leases {
        settle(&mut sql);
    }
    changes(plan, sets, &mut sql)?;
    marks(plan, sets, &mut sql)?;
    if plan.numbers_from.is_none() {
        return Ok(sql.finish("SELECT i.id, NULL::bigint, NULL FROM ids i ORDER BY i.n"));
    }
    let stages = sets.iter().flat_map(|of| {
        let enqueued = of.set.enqueue.iter().map(|work| work.stage);
        enqueued.chain(stages_of_settled(of.set))
    });
    let suffix = sql.bind(FeedNotice::suffix(stages.collect(), process))?;
    let revision = format!("(SELECT revision FROM moved)::text || {suffix}");
    let notify = dialect::notify(&revision);
    Ok(sql.finish(format_args!(
        "SELECT i.id, (SELECT revision FROM moved), (SELECT {notify} FROM moved)::text \
         FROM ids i ORDER BY i.n"
    )))
}

/// Locks the leased work of all sets, after the changed rows. Returns whether there is any.
fn lock_leases(
    sets: &[JointSet<'_>],
    sql: &mut SqlBuilder,
    gate: &mut Vec<String>,
) -> sqlx::Result<bool> {
    let mut keys = Vec::new();
    let (mut stages, mut tokens) = (Vec::<i16>::new(), Vec::<Uuid>::new());
    let (mut outcomes, mut delays) = (Vec::<Option<i16>>::new(), Vec::<i64>::new());
    let (mut reasons, mut lanes) = (Vec::<Option<String>>::new(), Vec::<Option<i16>>::new());
    let mut progress = Vec::<Option<String>>::new();
    for of in sets {
        let (Some(LiveClaim::Lease(stage, lease)), Some(token)) = (of.claim, &of.set.under) else {
            continue;
        };
        keys.push(&token.key);
        stages.push(stage_number(stage));
        tokens.push(lease);
        let (outcome, after, reason) = match &of.set.settle {
            None => (None, Duration::ZERO, None),
            Some(Outcome::Done) => (Some(0), Duration::ZERO, None),
            // PostgreSQL accepts no NUL in a text.
            Some(Outcome::Retry { after, reason }) => {
                (Some(1), *after, Some(reason.replace('\0', "\u{fffd}")))
            }
            Some(Outcome::Yield { after }) => (Some(2), *after, None),
        };
        outcomes.push(outcome);
        delays.push(micros(after));
        reasons.push(reason);
        lanes.push(of.again);
        progress.push(of.set.progress.as_ref().map(ToString::to_string));
    }
    if keys.is_empty() {
        return Ok(false);
    }
    let leases = keys.len();
    let after_rows = if gate.is_empty() {
        ""
    } else {
        " AND (SELECT count(*) FROM locked) >= 0"
    };
    let rows = sql
        .table(leases)
        .keys(key_arrays(keys))?
        .column("stage", stages)?
        .column("token", tokens)?
        .column("outcome", outcomes)?
        .column("after", delays)?
        .column("reason", reasons)?
        .column("lane", lanes)?
        .column("progress", progress)?
        .named("k");
    sql.with_materialized(
        "lease",
        format_args!(
            "SELECT w.stage, w.kind, w.id, w.attempts, coalesce(k.lane, w.again) AS again, \
             k.outcome, k.after, k.reason, k.progress FROM {rows} JOIN work w \
             ON w.stage = k.stage AND w.kind = k.kind AND w.id = k.id AND w.token = k.token \
             WHERE w.until > now_us(){after_rows} ORDER BY w.stage, w.kind, w.id FOR UPDATE OF w"
        ),
    );
    let leases = sql.bind(count(leases))?;
    gate.push(format!("(SELECT count(*) FROM lease) = {leases}"));
    Ok(true)
}

/// Adds the parts that end or update the leases.
fn settle(sql: &mut SqlBuilder) {
    let progress = "CASE WHEN l.progress IS NULL THEN w.progress \
                    WHEN l.progress = 'null' THEN NULL ELSE l.progress::json END";
    sql.with(
        "kept",
        format_args!(
            "UPDATE work w SET progress = {progress} FROM s CROSS JOIN lease l \
             WHERE {LEASED} AND l.outcome IS NULL AND l.progress IS NOT NULL"
        ),
    );
    sql.with(
        "finished",
        format_args!(
            "DELETE FROM work w USING s CROSS JOIN lease l \
             WHERE {LEASED} AND l.outcome = 0 AND l.again IS NULL"
        ),
    );
    let (patience, failing) = (Lane::PATIENCE, Lane::FAILING.number());
    let due = "CASE WHEN l.again IS NULL THEN now_us() + l.after ELSE now_us() END";
    sql.with(
        "ended",
        format_args!(
            "UPDATE work w SET {FREE}, at = {due}, due = {due}, \
             attempts = CASE l.outcome WHEN 0 THEN 0 WHEN 1 THEN l.attempts \
                 ELSE greatest(l.attempts - 1, 0) END, \
             lane = CASE WHEN l.outcome = 0 THEN l.again \
                 WHEN l.outcome = 1 AND l.attempts >= {patience} THEN {failing} ELSE w.lane END, \
             error = CASE l.outcome WHEN 0 THEN NULL WHEN 1 THEN l.reason ELSE w.error END, \
             progress = CASE WHEN l.outcome = 0 THEN NULL ELSE {progress} END \
             FROM s CROSS JOIN lease l \
             WHERE {LEASED} AND (l.outcome > 0 OR l.outcome = 0 AND l.again IS NOT NULL)"
        ),
    );
}

/// Adds the part that inserts the changes of all steps, each under the id of its set.
fn changes(plan: &WritePlan<'_>, sets: &[JointSet<'_>], sql: &mut SqlBuilder) -> sqlx::Result<()> {
    if plan.staged.steps.is_empty() {
        return Ok(());
    }
    let (kinds, ids) = key_arrays(plan.staged.steps.iter().map(Step::key));
    let rows = ids.len();
    let (mut numbers, mut ordinals) = (Vec::<i64>::with_capacity(rows), Vec::with_capacity(rows));
    let (mut causes, mut lasts) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let places: Vec<i64> = (1..).take(rows).collect();
    for (number, of) in (1..).zip(sets) {
        let last = count(numbers.len() + of.steps);
        for ordinal in (0_i16..).take(of.steps) {
            numbers.push(number);
            ordinals.push(ordinal);
            lasts.push(last);
            causes.push(of.set.cause.as_deref().map(str::to_owned));
        }
    }
    let table = sql
        .table(rows)
        .column("n", numbers)?
        .column("ordinal", ordinals)?
        .column("place", places)?
        .column("last", lasts)?
        .keys((kinds, ids))?
        .column("cause", causes)?;
    let rows = columns(plan, table)?.named("c");
    let now = match plan.now {
        Some(now) => sql.bind(now)?.to_string(),
        None => "now_us()".to_owned(),
    };
    let before = before(plan);
    let changes = format!(
        "SELECT i.id AS change_set, c.ordinal, c.place, c.last, c.kind, c.gone, c.body_before, \
         c.version, {now} AS at, c.id, {before} AS before, c.cause FROM ids i JOIN {rows} ON c.n = i.n"
    );
    let Some(low) = plan.numbers_from else {
        sql.with(
            "changes",
            format_args!(
                "INSERT INTO pending (change_set, ordinal, {COLUMNS}) \
                 SELECT x.change_set, x.ordinal, {COLUMNS} FROM ({changes}) x"
            ),
        );
        return Ok(());
    };
    sql.with_materialized("changes", changes);
    let steps = plan.staged.steps.len();
    number(sql, low, steps, "c.place", Some("c.last"))
}

/// Adds the parts that record work for other entities, each under the id of its set, or enqueue it.
fn marks(plan: &WritePlan<'_>, sets: &[JointSet<'_>], sql: &mut SqlBuilder) -> sqlx::Result<()> {
    let mut keys = Vec::new();
    let (mut numbers, mut ordinals) = (Vec::<i64>::new(), Vec::<i16>::new());
    let (mut stages, mut lanes) = (Vec::<i16>::new(), Vec::<i16>::new());
    let mut after = Vec::<i64>::new();
    for (number, of) in (1..).zip(sets) {
        for (ordinal, work) in (0..).zip(&of.others) {
            keys.push(&work.key);
            numbers.push(number);
            ordinals.push(ordinal);
            stages.push(stage_number(work.stage));
            lanes.push(i16::from(work.lane.number()));
            after.push(micros(work.after));
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    let rows = sql
        .table(keys.len())
        .column("n", numbers)?
        .column("ordinal", ordinals)?
        .column("stage", stages)?
        .keys(key_arrays(keys))?
        .column("lane", lanes)?
        .column("after", after)?
        .named("m");
    let marks = format!(
        "INSERT INTO mark (change_set, ordinal, stage, kind, lane, due, id) \
         SELECT i.id, m.ordinal, m.stage, m.kind, m.lane, now_us() + m.after, m.id \
         FROM ids i JOIN {rows} ON m.n = i.n"
    );
    if plan.numbers_from.is_none() {
        sql.with("marks", marks);
        return Ok(());
    }
    work::due_elsewhere(sql, &rows, "m.n, m.ordinal");
    let unless = format!("{marks} WHERE NOT EXISTS (SELECT 1 FROM top)");
    sql.with("marks", unless);
    Ok(())
}
