//! Numbering: when passes run, and how callers wait for the revisions of their change sets.

use super::head::FeedHead;
use super::pass::{is_idle, pass};
use crate::codes::{kind_number, signed};
use crate::database::Database;
use crate::dialect::{self, RunningTransactions};
use crate::metrics::{Instrument, Purpose};
use crate::work::WorkSignal;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tko_core::{Error, Key, Result, Revision, Version};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The minimum time between two passes while no caller waits: one pass for many changes costs less
/// than many passes, and watchers can wait.
const GAP: Duration = Duration::from_millis(10);

/// How often an idle process looks for changes of a process that was killed.
const IDLE: Duration = Duration::from_millis(250);

/// How long a caller waits for its revision.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time between two full passes.
const FULL: Duration = Duration::from_secs(2);

/// Maximum number of full passes that are remembered while a transaction from the time of the first
/// one is still running.
const MOST_FULL: usize = 100;

/// Maximum number of change sets whose revisions are kept for their callers.
const CACHED_SETS: usize = 10_000;

/// Runs numbering passes, and lets callers wait for them.
#[derive(Debug)]
pub(super) struct Numbering {
    database: Arc<Database>,
    head: Arc<FeedHead>,
    signal: Arc<WorkSignal>,
    /// Signals that this process committed a change set.
    requested: Notify,
    /// Signals that a caller waits for revisions.
    awaited: Notify,
    /// The number of passes that have begun, and the number of the last one that succeeded.
    begun: AtomicU64,
    ended: watch::Sender<u64>,
    /// Whether a caller waits for a change set that a pass left out.
    needs_full: AtomicBool,
    /// The id of the first change set that passes look at, apart from full passes.
    low: AtomicI64,
    sets: Mutex<NumberedSets>,
}

/// The last revisions of change sets that this process numbered, by id.
#[derive(Debug, Default)]
struct NumberedSets {
    revisions: HashMap<i64, u64>,
    order: VecDeque<i64>,
}

impl Numbering {
    pub(super) fn new(
        database: Arc<Database>,
        head: Arc<FeedHead>,
        signal: Arc<WorkSignal>,
    ) -> Self {
        Self {
            database,
            head,
            signal,
            requested: Notify::new(),
            awaited: Notify::new(),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
            needs_full: AtomicBool::new(false),
            low: AtomicI64::new(0),
            sets: Mutex::default(),
        }
    }

    /// Requests a pass.
    pub(super) fn request(&self) {
        self.requested.notify_one();
    }

    /// The id of the first change set that may not have revisions yet.
    pub(super) fn low(&self) -> i64 {
        self.low.load(Ordering::Relaxed)
    }

    /// Requests a pass without delay.
    fn hurry(&self) {
        self.awaited.notify_one();
        self.requested.notify_one();
    }

    fn remember(&self, set: i64, revision: u64) {
        let mut sets = self.sets.lock().expect("no code panics while it adds");
        sets.revisions.insert(set, revision);
        sets.order.push_back(set);
        if sets.order.len() > CACHED_SETS
            && let Some(oldest) = sets.order.pop_front()
        {
            sets.revisions.remove(&oldest);
        }
    }

    fn remembered(&self, set: i64) -> Option<u64> {
        let sets = self.sets.lock().expect("no code panics while it adds");
        sets.revisions.get(&set).copied()
    }

    /// Waits until a change set has its revisions, and its enqueued work is due. Returns the
    /// revision of its last change.
    pub(super) async fn numbered(
        &self,
        set: i64,
        last: Option<(Key, Version)>,
    ) -> Result<Option<Revision>> {
        let mut ended = self.ended.subscribe();
        let end = Instant::now() + PATIENCE;
        loop {
            // The set is committed. So the next pass sees it; a running pass may see it.
            let wanted = self.begun.load(Ordering::SeqCst) + 1;
            self.hurry();
            let waited = tokio::time::timeout_at(end, async {
                let is_there = |ended: &u64| *ended >= wanted || self.remembered(set).is_some();
                ended.wait_for(is_there).await.is_ok()
            });
            if waited.await != Ok(true) {
                return Err(Error::unavailable(
                    "number the changes",
                    "they are committed, but have no revisions yet; read before repeating them",
                ));
            }
            if let Some(revision) = self.remembered(set) {
                return Ok(last.is_some().then_some(Revision(revision)));
            }
            if let Some(found) = find(&self.database, set, last.as_ref()).await? {
                return Ok(found);
            }
            self.needs_full.store(true, Ordering::SeqCst);
        }
    }

    /// Runs passes until all changes from this id on are numbered.
    async fn number(&self, from: i64, window: &mut NumberingWindow) -> Result<()> {
        loop {
            let pass = pass(&self.database, from).await?;
            for (set, revision) in pass.sets {
                window.see(set);
                self.remember(set, revision);
            }
            if let Some(head) = pass.head {
                self.head.advance(head);
            }
            if pass.has_effect {
                self.signal.wake();
            }
            if !pass.has_more {
                return Ok(());
            }
        }
    }
}

/// Looks for the revision of a change set that another process numbered. `None` if no process did.
async fn find(
    database: &Database,
    set: i64,
    last: Option<&(Key, Version)>,
) -> Result<Option<Option<Revision>>> {
    let Database { pool, metrics, .. } = database;
    let Some((key, version)) = last else {
        let is_due: bool =
            sqlx::query_scalar("SELECT NOT EXISTS (SELECT 1 FROM mark WHERE change_set = $1)")
                .bind(set)
                .fetch_one(pool)
                .sent(metrics, Purpose::FindRevision)
                .await?;
        return Ok(is_due.then_some(None));
    };
    let revision: Option<i64> = sqlx::query_scalar(
        "SELECT revision FROM event WHERE kind = $1 AND id = $2 AND version = $3 \
         ORDER BY revision DESC LIMIT 1",
    )
    .bind(kind_number(key.kind()))
    .bind(key.id())
    .bind(signed(version.0))
    .fetch_optional(pool)
    .sent(metrics, Purpose::FindRevision)
    .await?;
    Ok(revision.map(|revision| Some(Revision(revision.unsigned_abs()))))
}

/// The change sets that passes look at.
///
/// While a transaction holds back the vacuum, the index of `pending` is full of dead entries, which
/// a full pass reads. So most passes leave out low ids for which no change set can lack revisions
/// any more. These are the ids up to the highest that was numbered before a full pass, once two
/// things have happened. First, all transactions up to the last one that had ended by then have
/// ended. Then, another full pass has numbered what they left.
///
/// These transactions include all that can have such an id. A change set locks or writes rows
/// before it takes its id. So its transaction has an earlier number than the pass that numbered a
/// higher id, and that pass had ended.
#[derive(Default)]
struct NumberingWindow {
    /// The highest id that this process numbered.
    high: i64,
    /// The first id of a pass that is not full.
    low: i64,
    /// The time of the last full pass that succeeded.
    last_full: Option<Instant>,
    /// The full passes whose concurrent transactions may still be running.
    full: VecDeque<FullPass>,
}

/// The state before a full pass.
#[derive(Clone, Copy, Debug)]
struct FullPass {
    /// The highest id that was numbered.
    high: i64,
    running: RunningTransactions,
}

impl NumberingWindow {
    /// Whether a full pass is due.
    fn is_old(&self) -> bool {
        self.last_full.is_none_or(|at| at.elapsed() > FULL)
    }

    /// Records a set that was numbered. A set below `low` shows that ids started over, as after a
    /// failover to a standby that had not received the last ones. Then no id is left out.
    fn see(&mut self, set: i64) {
        if set < self.low {
            *self = Self {
                last_full: self.last_full,
                ..Self::default()
            };
        }
        self.high = self.high.max(set);
    }

    /// Begins a full pass, after these transactions were found running.
    fn begin(&self, running: RunningTransactions) -> FullPass {
        FullPass {
            high: self.high,
            running,
        }
    }

    /// Ends a full pass: all transactions that had ended before have their revisions.
    fn end(&mut self, pass: FullPass) {
        self.last_full = Some(Instant::now());
        while let Some(earlier) = self.full.front()
            && earlier.running.next <= pass.running.oldest
        {
            self.low = earlier.high;
            self.full.pop_front();
        }
        if self.full.len() < MOST_FULL {
            // Lower if ids started over.
            let high = pass.high.min(self.high);
            self.full.push_back(FullPass { high, ..pass });
        }
    }
}

/// Runs passes while the process runs: at once if a caller waits, soon after a commit of this
/// process, and from time to time.
pub(super) async fn run(numbering: Arc<Numbering>) {
    let mut window = NumberingWindow::default();
    let mut last = Instant::now();
    loop {
        let requested = tokio::time::timeout(IDLE, numbering.requested.notified())
            .await
            .is_ok();
        if requested {
            let _ = tokio::time::timeout_at(last + GAP, numbering.awaited.notified()).await;
        } else {
            match is_idle(&numbering.database).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(error = error.chain(), "failed to look for changes");
                    continue;
                }
            }
        }
        last = Instant::now();
        let pass = numbering.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let needs_full = numbering.needs_full.swap(false, Ordering::SeqCst);
        let is_full = !requested || needs_full || window.is_old();
        match run_pass(&numbering, &mut window, is_full).await {
            Ok(()) => _ = numbering.ended.send_replace(pass),
            Err(error) => {
                tracing::warn!(error = error.chain(), "failed to number changes; retrying");
                tokio::time::sleep(IDLE / 5).await;
                // Callers wait for the next pass.
                numbering.hurry();
            }
        }
    }
}

/// Runs one pass, and more passes while changes are left.
async fn run_pass(
    numbering: &Numbering,
    window: &mut NumberingWindow,
    is_full: bool,
) -> Result<()> {
    if !is_full {
        return numbering.number(window.low, window).await;
    }
    let running = dialect::running_transactions(&numbering.database).await?;
    let pass = window.begin(running);
    numbering.number(0, window).await?;
    window.end(pass);
    numbering.low.store(window.low, Ordering::Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{NumberingWindow, RunningTransactions};

    #[test]
    fn ids_are_left_out_once_no_older_transaction_runs() {
        let mut window = NumberingWindow::default();
        let mut full = |high, oldest, next| {
            window.high = high;
            let pass = window.begin(RunningTransactions { oldest, next });
            window.end(pass);
            window.low
        };
        assert_eq!(full(10, 100, 105), 0);
        // The transaction 100 still runs, and may have an id up to 10.
        assert_eq!(full(20, 100, 115), 0);
        assert_eq!(full(30, 104, 125), 0);
        // All that ran at the first pass have ended; one that ran at the second has not.
        assert_eq!(full(40, 114, 135), 10);
        assert_eq!(full(50, 140, 140), 40);
        assert_eq!(full(60, 150, 150), 50);
    }

    #[test]
    fn no_id_is_left_out_after_ids_began_anew() {
        let mut window = NumberingWindow::default();
        let begin = |window: &NumberingWindow, number| {
            window.begin(RunningTransactions {
                oldest: number,
                next: number,
            })
        };
        window.see(50);
        for number in [100, 110] {
            let pass = begin(&window, number);
            window.end(pass);
        }
        assert_eq!(window.low, 50);
        // The standby had received the sets up to 40.
        let pass = begin(&window, 120);
        window.see(41);
        window.end(pass);
        assert_eq!(window.low, 0);
        let pass = begin(&window, 130);
        window.end(pass);
        assert_eq!(window.low, 41);
    }
}
