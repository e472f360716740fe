//! Change sets: read, checked against the rules of [`tko_core::commit`], and written by one
//! statement.
//!
//! The statement carries the versions of the rows that were read, and writes nothing if one of them
//! changed. In that case the change set is read and checked again. So no row is locked in between,
//! unless deployments are deleted (`session`).
//!
//! If a process commits one change set alone, the statement also gives its changes their revisions.
//! Otherwise a numbering pass does so later, for many sets at once.
//!
//! Versions are reserved once for a change set, for all attempts. If a reply is lost, they show
//! whether the statement was applied.

mod applied;
mod deletion_intent;
mod pace;
mod queue;
mod session;
mod snapshot;
mod write;

use crate::body;
use crate::content::Content;
use crate::database::Database;
use crate::fault::{SqlFault, fault, was_not_applied};
use crate::feed::Feed;
use crate::metrics::Purpose;
use crate::retry::{is_contended, retry_read};
use crate::versions::Versions;
use crate::work::WorkSignal;
use applied::{AppliedSet, find_applied};
use deletion_intent::DeletionGuard;
use queue::{CommitQueue, QueueAnswer, Turn};
use session::{CommitSession, locks_first};
use snapshot::{CommitSnapshot, StoredEntity};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tko_core::commit::{EmptySnapshot, Staged, check, judge};
use tko_core::{
    Ack, Change, ChangeSet, Committed, Entity, Error, Key, Require, Result, Timestamp, Version,
};
use tokio::sync::Semaphore;
use write::{WritePlan, woken};

/// Maximum number of attempts under contention.
const ATTEMPTS: u32 = 200;

/// The first and the longest pause between two attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(20));

/// Maximum number of attempts whose reply is lost.
const LOST_REPLIES: u32 = 5;

/// Commits change sets.
pub(crate) struct Committer {
    database: Arc<Database>,
    content: Arc<Content>,
    versions: Arc<Versions>,
    feed: Arc<Feed>,
    signal: Arc<WorkSignal>,
    /// The change sets that are being committed.
    running: AtomicUsize,
    /// Permits for transactions of several statements. They may need a second connection for
    /// contents that are not cached.
    sessions: Arc<Semaphore>,
    queue: Arc<CommitQueue>,
}

/// The result, as far as it is known, of an attempt to commit a set together with others.
#[derive(Default)]
struct EarlierAttempt {
    /// The versions that were reserved for it.
    versions: Option<Vec<Version>>,
    /// Whether its reply was lost, so that it may have been applied.
    was_lost: bool,
}

/// Counts a change set until it is dropped.
struct RunningCommit<'a>(&'a AtomicUsize);

impl Drop for RunningCommit<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Committer {
    pub(crate) fn new(
        database: &Arc<Database>,
        content: &Arc<Content>,
        feed: &Arc<Feed>,
        signal: &Arc<WorkSignal>,
    ) -> Self {
        let versions = Arc::new(Versions::new(database.clone()));
        let sessions = Arc::new(Semaphore::new(database.settings.pool_size() as usize / 2));
        Self {
            queue: Arc::new(CommitQueue::new(
                database, content, &versions, feed, &sessions,
            )),
            database: database.clone(),
            content: content.clone(),
            versions,
            feed: feed.clone(),
            signal: signal.clone(),
            running: AtomicUsize::new(0),
            sessions,
        }
    }

    /// Commits a change set.
    ///
    /// # Errors
    /// As [`Backend::commit`](tko_core::Backend::commit).
    pub(crate) async fn commit(&self, set: ChangeSet, ack: Ack) -> Result<Committed> {
        check(&set)?;
        body::hash(&set).await?;
        let set = Arc::new(set);
        let none = BTreeMap::new();
        let applied = match self.queue.turn(&set) {
            Turn::Alone(_turn) => {
                let earlier = EarlierAttempt::default();
                self.apply_alone(&set, &none, earlier).await?
            }
            Turn::Together(answer) => match answer.await {
                Ok(QueueAnswer::Applied(applied)) => applied,
                Ok(QueueAnswer::Refused(error)) => return Err(error),
                Ok(QueueAnswer::Alone(earlier)) => self.apply_alone(&set, &none, earlier).await?,
                Err(_) => {
                    let lost = "the process is shutting down; read before repeating them";
                    return Err(Error::unavailable(Purpose::Commit.action(), lost));
                }
            },
        };
        self.finish(&set, applied, ack).await
    }

    /// Reserves versions only after this one from now on.
    pub(crate) async fn skip_past(&self, version: Version) -> Result<()> {
        self.versions.skip_past(version).await
    }

    /// Commits a change set whose put entities become exactly those in `restored`.
    pub(crate) async fn commit_restored(
        &self,
        set: ChangeSet,
        restored: &BTreeMap<Key, Entity>,
        ack: Ack,
    ) -> Result<Committed> {
        check(&set)?;
        body::hash(&set).await?;
        let earlier = EarlierAttempt::default();
        let applied = self.apply_alone(&set, restored, earlier).await?;
        self.finish(&set, applied, ack).await
    }

    /// Applies a set by a separate statement.
    async fn apply_alone(
        &self,
        set: &ChangeSet,
        restored: &BTreeMap<Key, Entity>,
        earlier: EarlierAttempt,
    ) -> Result<AppliedSet> {
        let guard = DeletionGuard::acquire(&self.database, set).await?;
        let applied = self.apply(set, restored, guard.as_ref(), earlier).await;
        if let Some(guard) = &guard
            && applied.is_err()
        {
            guard.release().await;
        }
        applied
    }

    /// Notifies the rest of the process of a set that was applied, and waits as `ack` requires.
    async fn finish(&self, set: &ChangeSet, applied: AppliedSet, ack: Ack) -> Result<Committed> {
        let AppliedSet {
            mut committed,
            numbering,
        } = applied;
        for change in &set.changes {
            if let Key::Template(id) = change.key() {
                self.content.bodies.forget(id);
            }
        }
        self.signal.wake_stages(woken(set));
        if let Some(revision) = committed.revision {
            self.feed.advance(revision);
            if ack == Ack::Durable {
                committed.revision = None;
            }
        }
        if let Some((id, last)) = numbering {
            self.feed.request_pass();
            if ack == Ack::Numbered {
                committed.revision = self.feed.numbered(id, last).await?;
            }
        }
        Ok(committed)
    }

    /// Reads, checks, and writes, until no other transaction interferes.
    async fn apply(
        &self,
        set: &ChangeSet,
        restored: &BTreeMap<Key, Entity>,
        guard: Option<&DeletionGuard>,
        earlier: EarlierAttempt,
    ) -> Result<AppliedSet> {
        let (database, skeletons) = (&*self.database, &self.content.skeletons);
        self.running.fetch_add(1, Ordering::Relaxed);
        let _running = RunningCommit(&self.running);
        let locks_first = locks_first(set);
        let _permit = if locks_first {
            self.sessions.acquire().await.ok()
        } else {
            None
        };
        let mut versions = match earlier.versions {
            Some(versions) => versions,
            None => self.versions.take(set.changes.len()).await?,
        };
        for (version, change) in versions.iter_mut().zip(&set.changes) {
            if let Some(entity) = restored.get(change.key()) {
                *version = entity.version;
            }
        }
        let mut lost_replies = u32::from(earlier.was_lost);
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                let pause = BACKOFF.0 * 2_u32.pow(attempt.min(8));
                tokio::time::sleep(pause.min(BACKOFF.1)).await;
            }
            if lost_replies > 0
                && let Some(applied) = find_applied(database, skeletons, set, &versions).await?
            {
                return Ok(applied);
            }
            let mut session = CommitSession::of_statements();
            let mut snapshot = match attempt {
                0 if restored.is_empty() && needs_no_reading(set) => None,
                _ if locks_first => match CommitSession::begin(database, skeletons, set).await {
                    Ok((begun, snapshot)) => {
                        session = begun;
                        Some(snapshot)
                    }
                    Err(error) if is_contended(&error) => continue,
                    Err(error) => return Err(error),
                },
                _ => {
                    let read = || CommitSnapshot::read(database, skeletons, set);
                    Some(retry_read(database, read).await?)
                }
            };
            // The statement itself looks for references. Usually there are none.
            if attempt > 0
                && let Some(snapshot) = &mut snapshot
            {
                session.read_references(database, set, snapshot).await?;
            }
            let changes = set.changes.clone();
            let mut staged = match &snapshot {
                // The statement sets the time.
                None => Staged::new(
                    &EmptySnapshot::<&StoredEntity>::at(Timestamp::default()),
                    changes,
                    |index| versions[index],
                ),
                Some(snapshot) => Staged::new(&snapshot, changes, |index| versions[index]),
            };
            for step in &mut staged.steps {
                if let Some(entity) = restored.get(step.key()) {
                    step.after = Some(entity.clone());
                }
            }
            if let Some(snapshot) = &snapshot
                && let Err(error) = judge(&snapshot, &staged, &set.require, set.under.as_ref())
            {
                // The error is about the references, too.
                if locks_first && attempt == 0 {
                    continue;
                }
                // It may fail because of an earlier attempt whose reply was lost.
                return match lost_replies {
                    0 => Err(error),
                    _ => find_applied(database, skeletons, set, &versions)
                        .await?
                        .ok_or(error),
                };
            }
            let mut plan =
                WritePlan::new(&self.content, set, &staged, snapshot.as_ref(), guard).await?;
            // One pass for many sets costs less than numbering each.
            if self.running.load(Ordering::Relaxed) == 1 {
                plan.number_from(self.feed.low());
            }
            if let Some(guard) = guard {
                guard.rely(true);
            }
            let written = session.write(&plan, database).await;
            if let Some(guard) = guard {
                // An attempt whose reply was lost may still be running.
                guard.rely(lost_replies > 0 || may_be_applied(&written));
            }
            match written {
                Ok(Some(written)) => {
                    let last = staged.steps.last();
                    let last = last.map(|step| (step.key().clone(), step.version));
                    let has_numbers = written.revision.is_some();
                    let needs_numbers = !has_numbers && (last.is_some() || plan.enqueues_others());
                    let mut committed = staged.committed();
                    committed.revision = written.revision;
                    return Ok(AppliedSet {
                        committed,
                        numbering: needs_numbers.then_some((written.id, last)),
                    });
                }
                Ok(None) => {}
                Err(error) => match SqlFault::of(&error) {
                    SqlFault::Retry | SqlFault::Taken => {}
                    SqlFault::Unavailable
                        if !was_not_applied(&error) && lost_replies < LOST_REPLIES =>
                    {
                        tracing::warn!(%error, "reply to a commit lost; checking whether it was applied");
                        lost_replies += 1;
                    }
                    SqlFault::Unavailable | SqlFault::Broken => {
                        return Err(fault(Purpose::Commit.action())(error));
                    }
                },
            }
        }
        Err(Error::unavailable(
            "commit the changes",
            "other clients keep changing the same entities; retry later",
        ))
    }
}

/// Whether a statement was, or may be, applied.
fn may_be_applied<T>(written: &sqlx::Result<Option<T>>) -> bool {
    match written {
        Ok(written) => written.is_some(),
        Err(error) => !was_not_applied(error),
    }
}

/// Whether the statement alone can decide a change set, without reading first.
///
/// That holds if it only creates entities, and requires only that they are absent and that others
/// exist.
fn needs_no_reading(set: &ChangeSet) -> bool {
    let absent: HashSet<&Key> = set
        .require
        .iter()
        .filter_map(|require| match require {
            Require::Absent(key) => Some(key),
            _ => None,
        })
        .collect();
    !set.changes.is_empty()
        && set.under.is_none()
        && set.changes.iter().all(|change| match change {
            Change::Put(put) => put.conditions.is_empty() && absent.contains(&put.key),
            Change::Delete(_) | Change::Conditions(..) => false,
        })
        && absent.len() == set.changes.len()
        && set.require.iter().all(|require| match require {
            Require::Absent(_)
            | Require::Exists(_)
            | Require::Generation(..)
            | Require::Current(..) => true,
            Require::At(..) | Require::Unreferenced(_) => false,
        })
}
