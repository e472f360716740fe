//! The queue: change sets that arrive while another one is committed are written together.
//!
//! A set that finds nothing in its way is committed at once and alone, so a single caller waits for
//! nothing. The others wait while a task reads for all of them by one statement and checks each
//! separately. It then writes, by one statement, the sets that were not refused. If a set deletes
//! deployments, reading and writing are one transaction (`session`). While many callers commit, the
//! task waits a little for more (`pace`). If the statement does not apply, because something
//! changed meanwhile, the sets are read and checked again, and after some attempts each is
//! committed alone.

use super::applied::AppliedSet;
use super::pace::{BatchPace, LINGER};
use super::session::{CommitSession, locks_first};
use super::snapshot::{CommitSnapshot, StoredEntity, keys, lease_of};
use super::write::{JointPlan, StagedSet};
use super::{EarlierAttempt, needs_no_reading};
use crate::content::Content;
use crate::database::Database;
use crate::fault::{SqlFault, was_not_applied};
use crate::feed::Feed;
use crate::retry::is_contended;
use crate::versions::Versions;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tko_core::commit::{EmptySnapshot, Staged, judge};
use tko_core::{Change, ChangeSet, Error, Key, Require, Result, Timestamp, Version};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::Instant;

/// Maximum number of changes of a set that is written together with others.
const MAX_OF_ONE: usize = 50;

/// Maximum number of sets and of changes that are written together.
const MAX_SETS: usize = 200;
const MAX_CHANGES: usize = 1_000;

/// Maximum number of attempts before each set is committed alone.
const ATTEMPTS: u32 = 3;

/// Sets that wait to be committed together.
pub(super) struct CommitQueue {
    database: Arc<Database>,
    content: Arc<Content>,
    versions: Arc<Versions>,
    feed: Arc<Feed>,
    /// Permits for transactions of several statements.
    sessions: Arc<Semaphore>,
    /// The number of callers that commit alone.
    alone: AtomicUsize,
    /// Signals that the expected number of sets is waiting.
    is_full: Notify,
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    waiting: Vec<WaitingSet>,
    /// Whether a task is running that takes the waiting sets.
    is_running: bool,
    pace: BatchPace,
}

struct WaitingSet {
    set: Arc<ChangeSet>,
    answer: oneshot::Sender<QueueAnswer>,
}

/// How a set may be committed.
pub(super) enum Turn<'a> {
    /// At once, by the caller.
    Alone(AloneTurn<'a>),
    /// Together with others, by a task that answers.
    Together(oneshot::Receiver<QueueAnswer>),
}

/// The answer for one set.
pub(super) enum QueueAnswer {
    Applied(AppliedSet),
    Refused(Error),
    /// As far as is known, the set was not written together with others; the caller commits it
    /// alone.
    Alone(EarlierAttempt),
}

/// Counts a caller until it is dropped.
pub(super) struct AloneTurn<'a>(Option<&'a AtomicUsize>);

impl Drop for AloneTurn<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl CommitQueue {
    pub(super) fn new(
        database: &Arc<Database>,
        content: &Arc<Content>,
        versions: &Arc<Versions>,
        feed: &Arc<Feed>,
        sessions: &Arc<Semaphore>,
    ) -> Self {
        Self {
            database: database.clone(),
            content: content.clone(),
            versions: versions.clone(),
            feed: feed.clone(),
            sessions: sessions.clone(),
            alone: AtomicUsize::new(0),
            is_full: Notify::new(),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides how a set is committed: alone if nothing else is being committed.
    pub(super) fn turn(self: &Arc<Self>, set: &Arc<ChangeSet>) -> Turn<'_> {
        if !may_be_joined(set) {
            return Turn::Alone(AloneTurn(None));
        }
        let mut state = self.lock();
        let is_free = !state.is_running && self.alone.load(Ordering::SeqCst) == 0;
        if is_free && !state.pace.expects_more() {
            self.alone.fetch_add(1, Ordering::SeqCst);
            return Turn::Alone(AloneTurn(Some(&self.alone)));
        }
        let (answer, answered) = oneshot::channel();
        let set = set.clone();
        state.waiting.push(WaitingSet { set, answer });
        if state.waiting.len() >= state.pace.wanted() {
            self.is_full.notify_one();
        }
        if !state.is_running {
            state.is_running = true;
            // A task: callers may stop polling, and others must not wait for them.
            let running = RunningQueue {
                queue: self.clone(),
                has_ended: false,
            };
            tokio::spawn(running.run());
        }
        Turn::Together(answered)
    }

    /// Takes the next sets that can be written together; none ends the task.
    fn next(&self) -> Vec<WaitingSet> {
        let mut state = self.lock();
        let waiting = std::mem::take(&mut state.waiting);
        let sets: Vec<Arc<ChangeSet>> = waiting.iter().map(|of| of.set.clone()).collect();
        let (mut changed, mut named) = (HashSet::new(), HashSet::new());
        let (mut taken, mut changes) = (Vec::new(), 0);
        for (of, set) in waiting.into_iter().zip(&sets) {
            let written = || set.changes.iter().map(Change::key);
            let fits = taken.len() < MAX_SETS
                && changes + set.changes.len() <= MAX_CHANGES
                && !written().any(|key| named.contains(key))
                && !keys(set).any(|key| changed.contains(key));
            if !fits {
                state.waiting.push(of);
                continue;
            }
            changes += set.changes.len();
            changed.extend(written());
            named.extend(keys(set));
            taken.push(of);
        }
        if taken.is_empty() {
            state.is_running = false;
        } else {
            state.pace.took(taken.len());
        }
        taken
    }

    /// Waits briefly until the expected number of sets is waiting. Does not wait if no more are
    /// expected.
    async fn gather(&self) {
        let end = Instant::now() + LINGER;
        loop {
            {
                let state = self.lock();
                let waiting = state.waiting.len();
                if waiting == 0 || waiting >= state.pace.wanted().min(MAX_SETS) {
                    return;
                }
            }
            if tokio::time::timeout_at(end, self.is_full.notified())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    /// Commits these sets, and answers each.
    async fn commit(&self, mut waiting: Vec<WaitingSet>) {
        let sets: Vec<Arc<ChangeSet>> = waiting.iter().map(|of| of.set.clone()).collect();
        let mut versions = Vec::new();
        for set in &sets {
            match self.versions.take(set.changes.len()).await {
                Ok(taken) => versions.push(taken),
                Err(_) => return alone(waiting, Vec::new(), false),
            }
        }
        let mut left: Vec<&ChangeSet> = sets.iter().map(|set| &**set).collect();
        for attempt in 0..ATTEMPTS {
            // Without reading, the next attempt would only fail for the same reason.
            let must_read = attempt > 0;
            let attempt = self.attempt(&left, &versions, must_read).await;
            let Ok(Attempt { mut refused, ended }) = attempt else {
                break;
            };
            // Starts with the last one, so that positions stay valid.
            while let Some((at, error)) = refused.pop() {
                let _ = waiting.remove(at).answer.send(QueueAnswer::Refused(error));
                left.remove(at);
                versions.remove(at);
            }
            match ended {
                AttemptEnd::Applied(applied) => {
                    for (of, applied) in waiting.into_iter().zip(applied) {
                        // The caller may be gone.
                        let _ = of.answer.send(QueueAnswer::Applied(applied));
                    }
                    return;
                }
                AttemptEnd::Moved => {}
                AttemptEnd::Lost => return alone(waiting, versions, true),
            }
        }
        alone(waiting, versions, false);
    }

    /// Reads, checks and writes once.
    async fn attempt(
        &self,
        sets: &[&ChangeSet],
        versions: &[Vec<Version>],
        must_read: bool,
    ) -> Result<Attempt> {
        let (database, content) = (&*self.database, &*self.content);
        let mut session = CommitSession::of_statements();
        let _permit;
        let snapshots = if !must_read && sets.iter().all(|set| needs_no_reading(set)) {
            None
        } else if sets.iter().any(|set| locks_first(set)) {
            _permit = self.sessions.acquire().await.ok();
            match CommitSession::begin_together(database, &content.skeletons, sets).await {
                Ok((begun, snapshots)) => {
                    session = begun;
                    Some(snapshots)
                }
                Err(error) if is_contended(&error) => {
                    return Ok(Attempt {
                        refused: Vec::new(),
                        ended: AttemptEnd::Moved,
                    });
                }
                Err(error) => return Err(error),
            }
        } else {
            Some(CommitSnapshot::read_all(database, &content.skeletons, sets).await?)
        };
        let now = snapshots.as_ref().and_then(|all| Some(all.first()?.now));
        let mut plan = JointPlan::new(now);
        let (mut refused, mut applied) = (Vec::new(), Vec::new());
        for (at, (set, versions)) in sets.iter().zip(versions).enumerate() {
            let changes = set.changes.clone();
            let version = |index: usize| versions[index];
            let snapshot = snapshots.as_ref().map(|all| &all[at]);
            let staged: StagedSet<'_> = match snapshot {
                // The statement sets the time.
                None => Staged::new(
                    &EmptySnapshot::<&StoredEntity>::at(Timestamp::default()),
                    changes,
                    version,
                ),
                Some(snapshot) => Staged::new(&snapshot, changes, version),
            };
            if let Some(snapshot) = snapshot
                && let Err(error) = judge(&snapshot, &staged, &set.require, set.under.as_ref())
            {
                refused.push((at, error));
                continue;
            }
            let last = staged.steps.last();
            let last = last.map(|step| (step.key().clone(), step.version));
            applied.push((staged.committed(), last));
            plan.add(set, staged, snapshot);
        }
        if applied.is_empty() {
            let ended = AttemptEnd::Applied(Vec::new());
            return Ok(Attempt { refused, ended });
        }
        let low = self.feed.low();
        let ended = match plan.execute(content, database, session, low).await? {
            Ok(Some(written)) => {
                let each = applied.into_iter().zip(written).enumerate();
                let each = each.map(|(at, ((mut committed, last), written))| {
                    let is_numbered = written.revision.is_some();
                    let has_effect = last.is_some() || plan.enqueues_others(at);
                    let needs_numbers = has_effect && !is_numbered;
                    committed.revision = written.revision.filter(|_| last.is_some());
                    AppliedSet {
                        committed,
                        numbering: needs_numbers.then_some((written.id, last)),
                    }
                });
                AttemptEnd::Applied(each.collect())
            }
            Ok(None) => AttemptEnd::Moved,
            Err(error) => match SqlFault::of(&error) {
                SqlFault::Unavailable if !was_not_applied(&error) => {
                    tracing::warn!(%error, "reply to a commit lost; checking whether it was applied");
                    AttemptEnd::Lost
                }
                _ => AttemptEnd::Moved,
            },
        };
        Ok(Attempt { refused, ended })
    }
}

/// The result of an attempt: the refused sets by position, and the outcome of the others.
struct Attempt {
    refused: Vec<(usize, Error)>,
    ended: AttemptEnd,
}

enum AttemptEnd {
    Applied(Vec<AppliedSet>),
    Moved,
    /// The reply was lost.
    Lost,
}

/// Lets each caller commit its set alone.
fn alone(waiting: Vec<WaitingSet>, versions: Vec<Vec<Version>>, was_lost: bool) {
    let mut versions = versions.into_iter();
    for of in waiting {
        let earlier = EarlierAttempt {
            versions: versions.next(),
            was_lost,
        };
        let _ = of.answer.send(QueueAnswer::Alone(earlier));
    }
}

/// The task of a queue. If it is dropped before it has ended, the commits that wait fail.
struct RunningQueue {
    queue: Arc<CommitQueue>,
    has_ended: bool,
}

impl RunningQueue {
    async fn run(mut self) {
        loop {
            self.queue.gather().await;
            let next = self.queue.next();
            if next.is_empty() {
                self.has_ended = true;
                return;
            }
            self.queue.commit(next).await;
        }
    }
}

impl Drop for RunningQueue {
    fn drop(&mut self) {
        if !self.has_ended {
            let mut state = self.queue.lock();
            state.is_running = false;
            state.waiting.clear();
        }
    }
}

/// Whether a set can be written together with others.
fn may_be_joined(set: &ChangeSet) -> bool {
    let is_leased = |key: &Key| set.under.as_ref().is_some_and(|token| token.key == *key);
    set.changes.len() <= MAX_OF_ONE
        && set
            .under
            .as_ref()
            .is_none_or(|token| lease_of(token).is_some())
        && !set
            .changes
            .iter()
            .any(|change| matches!(change, Change::Delete(key) if is_leased(key)))
        && set.require.iter().all(|require| match require {
            // Its deletion is announced first, which takes separate statements.
            Require::Unreferenced(key) => matches!(key, Key::Deployment(_)),
            _ => true,
        })
        && (set.settle.is_some() || !set.enqueue.iter().any(|work| is_leased(&work.key)))
}
