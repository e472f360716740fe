//! Giving revisions: dense, in commit order, after the commit.
//!
//! A pass is one statement. It locks the head of the feed, then what is pending gets the next
//! numbers, by the ids of change sets, and marks of other keys become work. Why this is right is
//! said in `docs/portability.md`. No writer waits for another: they wait, if at all, for a pass.

use crate::dialect;
use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use crate::row::{number, signed};
use sqlx::AssertSqlSafe;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tko_core::{Error, Key, Result, Revision, Version};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// From one pass to the next, if nobody waits for what was written: those who watch have it soon
/// enough, and one pass costs less than many.
const GAP: Duration = Duration::from_millis(10);

/// What was committed by a process that was killed is numbered by another, so much later.
const IDLE: Duration = Duration::from_millis(250);

/// Most changes of one pass, give or take a set.
const MOST: i64 = 5_000;

/// How long a caller waits for its revision.
const PATIENCE: Duration = Duration::from_secs(10);

/// Under a snapshot that is held, the index of `pending` is full of what was taken from it. So most
/// passes leave out sets that a full pass has seen this long ago; a set that takes longer from its
/// id to its commit waits for the next full pass, of which there is one in [`FULL`].
const RECENT: Duration = Duration::from_secs(5);

/// From one full pass to the next, at most.
const FULL: Duration = Duration::from_secs(2);

/// Most sets whose revision is remembered for who committed them.
const REMEMBERED: usize = 10_000;

/// Numbers what is pending, and makes marks due. The sets, each with its last revision. If there
/// are any, all processes are told.
static PASS: LazyLock<String> = LazyLock::new(|| {
    let told = dialect::tell("SELECT max(revision) FROM moved");
    format!("{NUMBERED} SELECT r.*, (SELECT {told})::text FROM result r")
});

/// The head is read as it is once it is locked, which another pass may have moved since this one
/// began; what that has taken is gone then. So whatever is taken asks for the head first. If
/// nothing waits, nothing is locked.
const NUMBERED: &str = "WITH locked AS MATERIALIZED ( \
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
         INSERT INTO event (revision, set_revision, version, at, body_before, kind, gone, id, before, cause) \
         SELECT revision, max(revision) OVER (PARTITION BY change_set), version, at, body_before, \
         kind, gone, id, before, cause FROM numbered), \
     marked AS ( \
         DELETE FROM mark WHERE EXISTS (SELECT 1 FROM locked) AND change_set >= $1 RETURNING *), \
     due AS ( \
         INSERT INTO work AS w (stage, kind, id, lane, again, at, due) \
         SELECT m.stage, m.kind, m.id, (array_agg(m.lane ORDER BY m.change_set, m.ordinal))[1], \
         (array_agg(m.lane ORDER BY m.change_set DESC, m.ordinal DESC))[1], min(m.due), min(m.due) \
         FROM marked m WHERE EXISTS (SELECT 1 FROM entity e WHERE e.kind = m.kind AND e.id = m.id) \
         GROUP BY m.stage, m.kind, m.id ORDER BY m.stage, m.kind, m.id \
         ON CONFLICT (stage, kind, id) DO UPDATE SET \
         again = CASE WHEN w.token IS NULL THEN w.again ELSE excluded.again END, \
         due = least(w.due, excluded.due), \
         at = CASE WHEN w.token IS NULL THEN least(w.at, excluded.at) ELSE w.at END), \
     moved AS ( \
         UPDATE head SET revision = (SELECT max(revision) FROM numbered) \
         WHERE EXISTS (SELECT 1 FROM numbered) RETURNING revision), \
     result AS ( \
     SELECT n.change_set, max(n.revision) AS revision, (SELECT max(revision) FROM moved) AS head, \
     (SELECT change_set FROM bound) IS NOT NULL AS more FROM numbered n GROUP BY n.change_set \
     UNION ALL \
     SELECT NULL, NULL, NULL, false FROM (SELECT 1 FROM marked LIMIT 1) m)";

/// A set, its last revision, and the head; none if only marks were made due. Whether there is
/// more.
type Numbered = (Option<i64>, Option<i64>, Option<i64>, bool);

/// Who waits for a pass, and what the last ones did.
#[derive(Debug)]
pub(crate) struct Numbering {
    /// Something was committed here.
    written: Notify,
    /// Somebody waits for its revisions.
    awaited: Notify,
    /// How many passes have begun; the last that ended well.
    begun: AtomicU64,
    ended: watch::Sender<u64>,
    /// Somebody waits for a set that a pass has left out.
    full: AtomicBool,
    sets: Mutex<Sets>,
}

/// Sets that this process numbered, by id.
#[derive(Debug, Default)]
struct Sets {
    revisions: HashMap<i64, u64>,
    order: VecDeque<i64>,
}

impl Default for Numbering {
    fn default() -> Self {
        Self {
            written: Notify::new(),
            awaited: Notify::new(),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
            full: AtomicBool::new(false),
            sets: Mutex::default(),
        }
    }
}

impl Numbering {
    pub(super) fn poke(&self) {
        self.written.notify_one();
    }

    fn hurry(&self) {
        self.awaited.notify_one();
        self.written.notify_one();
    }

    fn remember(&self, set: i64, revision: u64) {
        let mut sets = self.sets.lock().expect("no code panics while it adds");
        sets.revisions.insert(set, revision);
        sets.order.push_back(set);
        if sets.order.len() > REMEMBERED
            && let Some(oldest) = sets.order.pop_front()
        {
            sets.revisions.remove(&oldest);
        }
    }

    fn remembered(&self, set: i64) -> Option<u64> {
        let sets = self.sets.lock().expect("no code panics while it adds");
        sets.revisions.get(&set).copied()
    }
}

/// Waits until a set has its revisions and its marks are due. The revision of its last change.
pub(crate) async fn numbered(
    shared: &Shared,
    set: i64,
    last: Option<(Key, Version)>,
) -> Result<Option<Revision>> {
    let numbering = &shared.feed.numbering;
    let mut ended = numbering.ended.subscribe();
    let end = Instant::now() + PATIENCE;
    loop {
        // The set is committed: a pass that begins from now on sees it; one that has begun may.
        let wanted = numbering.begun.load(Ordering::SeqCst) + 1;
        numbering.hurry();
        let waited = tokio::time::timeout_at(end, async {
            let is_there = |ended: &u64| *ended >= wanted || numbering.remembered(set).is_some();
            ended.wait_for(is_there).await.is_ok()
        });
        if waited.await != Ok(true) {
            return Err(Error::unavailable(
                "number the changes",
                "they are committed, but have no revisions yet; read before repeating them",
            ));
        }
        if let Some(revision) = numbering.remembered(set) {
            return Ok(last.is_some().then_some(Revision(revision)));
        }
        if let Some(found) = found(shared, set, last.as_ref()).await? {
            return Ok(found);
        }
        numbering.full.store(true, Ordering::SeqCst);
    }
}

/// What became of a set that another process has numbered; `None`: nobody has yet.
async fn found(
    shared: &Shared,
    set: i64,
    last: Option<&(Key, Version)>,
) -> Result<Option<Option<Revision>>> {
    let Some((key, version)) = last else {
        let is_due: bool =
            sqlx::query_scalar("SELECT NOT EXISTS (SELECT 1 FROM mark WHERE change_set = $1)")
                .bind(set)
                .fetch_one(&shared.pool)
                .sent(&shared.measures, Purpose::FindRevision)
                .await?;
        return Ok(is_due.then_some(None));
    };
    let revision: Option<i64> = sqlx::query_scalar(
        "SELECT revision FROM event WHERE kind = $1 AND id = $2 AND version = $3 \
         ORDER BY revision DESC LIMIT 1",
    )
    .bind(number(key.kind()))
    .bind(key.id())
    .bind(signed(version.0))
    .fetch_optional(&shared.pool)
    .sent(&shared.measures, Purpose::FindRevision)
    .await?;
    Ok(revision.map(|revision| Some(Revision(revision.unsigned_abs()))))
}

/// What a pass is to look at.
struct Window {
    /// The highest set that was numbered here.
    high: i64,
    /// When a full pass began, and what was the highest set before it.
    full: VecDeque<(Instant, i64)>,
}

impl Window {
    /// Whether it is time for a full pass.
    fn is_old(&self) -> bool {
        self.full.back().is_none_or(|(at, _)| at.elapsed() > FULL)
    }

    /// Where a pass begins that is not full.
    fn low(&mut self) -> i64 {
        while self
            .full
            .get(1)
            .is_some_and(|(at, _)| at.elapsed() > RECENT)
        {
            self.full.pop_front();
        }
        match self.full.front() {
            Some((at, high)) if at.elapsed() > RECENT => *high,
            _ => 0,
        }
    }
}

/// Runs passes: at once when somebody waits, soon when something was committed here, else now and
/// then.
pub(super) async fn run(shared: Arc<Shared>) {
    let numbering = &shared.feed.numbering;
    let mut window = Window {
        high: 0,
        full: VecDeque::new(),
    };
    let mut last = Instant::now();
    loop {
        let written = tokio::time::timeout(IDLE, numbering.written.notified())
            .await
            .is_ok();
        if written {
            let _ = tokio::time::timeout_at(last + GAP, numbering.awaited.notified()).await;
        } else {
            match is_idle(&shared).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(error = error.chain(), "cannot look for changes");
                    continue;
                }
            }
        }
        last = Instant::now();
        let pass = numbering.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let asked = numbering.full.swap(false, Ordering::SeqCst);
        let from = if !written || asked || window.is_old() {
            window.full.push_back((last, window.high));
            0
        } else {
            window.low()
        };
        match passes(&shared, from, &mut window).await {
            Ok(()) => _ = numbering.ended.send_replace(pass),
            Err(error) => {
                tracing::warn!(error = error.chain(), "changes wait for their revisions");
                tokio::time::sleep(IDLE / 5).await;
                // Who waits waits for the next one.
                numbering.hurry();
            }
        }
    }
}

/// Whether nothing waits.
async fn is_idle(shared: &Shared) -> Result<bool> {
    sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT 1 FROM pending) AND NOT EXISTS (SELECT 1 FROM mark)",
    )
    .fetch_one(&shared.pool)
    .sent(&shared.measures, Purpose::FindUnnumbered)
    .await
}

/// Passes, until nothing is left that was there at the beginning.
async fn passes(shared: &Shared, from: i64, window: &mut Window) -> Result<()> {
    while pass(shared, from, window).await? {}
    Ok(())
}

/// One pass. Whether there is more.
async fn pass(shared: &Shared, from: i64, window: &mut Window) -> Result<bool> {
    let rows: Vec<Numbered> = sqlx::query_as(AssertSqlSafe(PASS.as_str()))
        .bind(from)
        .bind(MOST)
        .fetch_all(&shared.pool)
        .sent(&shared.measures, Purpose::Number)
        .await?;
    let head = rows.iter().filter_map(|(_, _, head, _)| *head).max();
    for (set, revision, ..) in &rows {
        if let (Some(set), Some(revision)) = (set, revision) {
            window.high = window.high.max(*set);
            shared
                .feed
                .numbering
                .remember(*set, revision.unsigned_abs());
        }
    }
    if let Some(head) = head {
        shared.feed.reached(head.unsigned_abs());
    }
    if !rows.is_empty() {
        shared.waiting.wake();
    }
    Ok(rows.iter().any(|(.., more)| *more))
}
