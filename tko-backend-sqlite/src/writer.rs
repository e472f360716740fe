//! The writer: one thread with one connection, which performs all writes of this process.
//!
//! Waiting jobs are done in one transaction, so that many writers share one flush of the disk. Each
//! change set is checked separately: a refused one writes nothing. A job is answered after the
//! transaction has committed. If the database refuses a statement, the whole transaction is undone,
//! and every job in it fails.

use crate::arena::signed;
use crate::check::{SqliteCheckReport, check};
use crate::commit::{GroupedSet, SetAnswer, TransactionEnds, another, commit, copy};
use crate::connect::SqliteParts;
use crate::dictionary::ChosenDictionaries;
use crate::fault::translate;
use crate::feed::retention;
use crate::shared_value;
use crate::signal::Touched;
use crate::signal::WriteSignal;
use crate::work::modification;
use crate::work::{self, Turns};
use sqlx::{Executor, SqliteConnection};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    ChangeSet, Claim, ClaimRequest, Committed, ContentHash, Entity, Error, ErrorKind, Key,
    Modification, Outcome, Result, Revision, SharedLimits, Stage, Token, Want,
};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

/// Maximum number of jobs that share a transaction.
const BATCH: usize = 64;

/// Capacity of the queue of jobs; while it is full, callers wait to submit theirs.
const QUEUE: usize = 256;

type ReplySender<T> = oneshot::Sender<Result<T>>;

/// One write.
pub(crate) enum WriteJob {
    Commit(Box<ChangeSet>, ReplySender<Committed>),
    Modify(Key, Duration, Want, ReplySender<Modification>),
    Claim(ClaimRequest, ReplySender<Vec<Claim>>),
    Renew(Vec<Token>, Duration, ReplySender<Vec<bool>>),
    Settle(Vec<(Token, Outcome)>, ReplySender<Vec<bool>>),
    PutShared(ContentHash, Vec<u8>, SharedLimits, ReplySender<()>),
    /// Deletes a batch of old changes; answers whether there may be more.
    Trim(ReplySender<bool>),
    /// Deletes all data.
    Clear(ReplySender<()>),
    /// Prepares an empty store for the entities of a backup of this revision.
    StartRestore(Revision, ReplySender<()>),
    /// Commits entities of a backup.
    Restore(
        Box<ChangeSet>,
        BTreeMap<Key, Entity>,
        ReplySender<Committed>,
    ),
    /// Checks the file, and repairs it.
    Repair(ReplySender<SqliteCheckReport>),
}

/// A handle that sends jobs to the writer.
#[derive(Clone)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<WriteJob>,
    ended: watch::Receiver<bool>,
}

impl Writer {
    /// Starts the thread. It ends when all handles are gone and all jobs are done.
    ///
    /// # Errors
    /// `Internal`: the system has no thread left.
    pub(crate) fn start(
        connection: SqliteConnection,
        shared: Arc<SqliteParts>,
        signal: Arc<WriteSignal>,
    ) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let task = WriterTask {
            connection,
            shared,
            signal,
            turns: [None; Stage::ALL.len()],
            dictionaries: ChosenDictionaries::default(),
        };
        let (end, ended) = watch::channel(false);
        let runtime = Handle::current();
        let work = async move {
            task.run(receiver).await;
            end.send_replace(true);
        };
        // A task would move between the runtime's threads, and each answer of SQLite would wake two
        // of them.
        std::thread::Builder::new()
            .name("tko-writer".to_owned())
            .spawn(move || runtime.block_on(work))
            .map_err(|error| Error::internal("start the thread that writes", error))?;
        Ok(Self {
            jobs: sender,
            ended,
        })
    }

    /// Completes when the thread has closed the file.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + use<> {
        let mut ended = self.ended.clone();
        async move {
            // The sender is dropped when the thread ends.
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }

    /// Sends a job to the writer, and waits for the answer.
    pub(crate) async fn send<T>(&self, job: impl FnOnce(ReplySender<T>) -> WriteJob) -> Result<T> {
        let gone = || Error::unavailable("write", "the backend is shutting down");
        let (sender, answer) = oneshot::channel();
        self.jobs.send(job(sender)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// An answer that is given after the transaction, with the error if that failed.
type PendingAnswer = Box<dyn FnOnce(Option<Error>) + Send>;

/// The result of a job, and whether the transaction can continue.
struct JobDone {
    answer: PendingAnswer,
    touched: Touched,
    /// Whether the job failed in the database rather than by a rule.
    is_broken: bool,
}

fn done<T: Send + 'static>(reply: ReplySender<T>, result: Result<T>, touched: Touched) -> JobDone {
    let is_broken = result
        .as_ref()
        .is_err_and(|error| matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Internal));
    let touched = if result.is_ok() {
        touched
    } else {
        Touched::default()
    };
    JobDone {
        answer: Box::new(move |failed| {
            let result = match (failed, result) {
                // The error of the job itself says more.
                (_, Err(error)) | (Some(error), Ok(_)) => Err(error),
                (None, Ok(value)) => Ok(value),
            };
            // The caller may be gone; the write remains.
            let _ = reply.send(result);
        }),
        touched,
        is_broken,
    }
}

struct WriterTask {
    connection: SqliteConnection,
    shared: Arc<SqliteParts>,
    signal: Arc<WriteSignal>,
    turns: Turns,
    dictionaries: ChosenDictionaries,
}

impl WriterTask {
    async fn run(mut self, mut jobs: mpsc::Receiver<WriteJob>) {
        let mut batch = Vec::with_capacity(BATCH);
        while jobs.recv_many(&mut batch, BATCH).await > 0 {
            self.transaction(&mut batch).await;
        }
        let close = sqlx::Connection::close(self.connection).await;
        if let Err(error) = close {
            tracing::debug!(%error, "failed to close the file");
        }
    }

    /// Does all jobs of a batch in one transaction.
    async fn transaction(&mut self, batch: &mut Vec<WriteJob>) {
        let mut answers: Vec<PendingAnswer> = Vec::with_capacity(batch.len());
        let mut touched = Touched::default();
        let mut failed = None;
        let (mut is_begun, mut is_committed) = (false, false);
        let mut jobs = batch.drain(..).peekable();
        while let Some(job) = jobs.next() {
            if failed.is_some() {
                answers.push(refuse(job));
                continue;
            }
            let mut all_done = Vec::new();
            match into_set(job) {
                Ok(first) => {
                    let (mut sets, mut replies) = (vec![first.0], vec![first.1]);
                    while let Some(next) = jobs.next_if(is_set) {
                        if let Ok((set, reply)) = into_set(next) {
                            sets.push(set);
                            replies.push(reply);
                        }
                    }
                    let ends = TransactionEnds {
                        begin: !is_begun,
                        commit: jobs.peek().is_none(),
                    };
                    is_begun = true;
                    let set_answers = self.commit_sets(&mut sets, ends).await;
                    is_committed = set_answers.1;
                    for (reply, answer) in replies.into_iter().zip(set_answers.0) {
                        all_done.push(match answer {
                            Ok((committed, touched)) => done(reply, Ok(committed), touched),
                            Err(error) => done(reply, Err(error), Touched::default()),
                        });
                    }
                }
                Err(job) => {
                    if !std::mem::replace(&mut is_begun, true) {
                        failed = self.end("BEGIN IMMEDIATE", "begin a write").await.err();
                        if failed.is_some() {
                            answers.push(refuse(job));
                            continue;
                        }
                    }
                    all_done.extend(self.perform(job).await);
                }
            }
            for done in all_done {
                answers.push(done.answer);
                touched.merge(done.touched);
                if done.is_broken {
                    failed = Some(another());
                }
            }
        }
        drop(jobs);
        if failed.is_none() && !is_committed {
            failed = self.end("COMMIT", "commit a write").await.err();
        }
        if let Some(error) = failed {
            // After some errors SQLite has rolled back by itself; then this rollback fails, which
            // does no harm.
            let _ = self.connection.execute("ROLLBACK").await;
            self.dictionaries.clear();
            self.shared.file.dictionaries.clear();
            for answer in answers {
                answer(Some(copy(&error)));
            }
            return;
        }
        self.signal.wrote(touched);
        for answer in answers {
            answer(None);
        }
    }

    async fn commit_sets(
        &mut self,
        sets: &mut [GroupedSet],
        ends: TransactionEnds,
    ) -> (Vec<SetAnswer>, bool) {
        let now = self.shared.clock.now();
        let (connection, dictionaries) = (&mut self.connection, &mut self.dictionaries);
        commit(connection, &self.shared, dictionaries, sets, ends, now).await
    }

    async fn end(&mut self, statement: &'static str, action: &'static str) -> Result<()> {
        let path = &self.shared.file.settings.path;
        let ended = self.connection.execute(statement).await;
        ended
            .map(drop)
            .map_err(|error| translate(action, path, error))
    }

    /// Does one job. `None`: its caller is gone, and nothing was done.
    async fn perform(&mut self, job: WriteJob) -> Option<JobDone> {
        let Self {
            connection,
            shared,
            turns,
            ..
        } = self;
        let now = shared.clock.now();
        let nothing = Touched::default();
        Some(match job {
            // Change sets are committed together, not here.
            WriteJob::Commit(..) | WriteJob::Restore(..) => return None,
            WriteJob::StartRestore(revision, reply) => {
                let started = start_restore(connection, shared, revision).await;
                done(reply, started, nothing)
            }
            WriteJob::Modify(key, ttl, want, reply) => {
                let started = modification::start(connection, shared, &key, ttl, want, now).await;
                done(reply, started, nothing)
            }
            WriteJob::Claim(request, reply) => {
                if reply.is_closed() {
                    return None;
                }
                let claims = work::claim(connection, shared, turns, &request, now).await;
                done(reply, claims, nothing)
            }
            WriteJob::Renew(tokens, ttl, reply) => {
                let renewed = work::renew(connection, shared, &tokens, ttl, now).await;
                done(reply, renewed, Touched::all_stages())
            }
            WriteJob::Settle(outcomes, reply) => {
                match work::settle(connection, shared, &outcomes, now).await {
                    Ok((settled, touched)) => done(reply, Ok(settled), touched),
                    Err(error) => done(reply, Err(error), nothing),
                }
            }
            WriteJob::PutShared(key, value, limits, reply) => {
                let shared = shared_value::put(connection, shared, key, value, limits, now).await;
                done(reply, shared, nothing)
            }
            WriteJob::Trim(reply) => {
                let trimmed = retention::trim(connection, shared, now).await;
                done(reply, trimmed, nothing)
            }
            WriteJob::Clear(reply) => {
                let cleared = clear(connection, shared).await;
                done(reply, cleared, Touched::all_stages())
            }
            WriteJob::Repair(reply) => {
                let checked = check(connection, shared, true).await;
                done(reply, checked, Touched::all_stages())
            }
        })
    }
}

/// Deletes all data. Skips one revision, so that even a watcher at the head has to list again.
async fn clear(connection: &mut SqliteConnection, shared: &SqliteParts) -> Result<()> {
    sqlx::query(
        "DELETE FROM entity; DELETE FROM body; DELETE FROM term; DELETE FROM posting; \
         DELETE FROM holder; DELETE FROM work; DELETE FROM modification; DELETE FROM change; \
         DELETE FROM dictionary; DELETE FROM shared_value; \
         UPDATE head SET revision = revision + 1, oldest = revision + 1;",
    )
    .execute(connection)
    .await
    .map_err(shared.file.fault("delete all data"))?;
    Ok(())
}

/// Makes the next revisions of an empty store start after this one.
async fn start_restore(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    revision: Revision,
) -> Result<()> {
    let fault = shared.file.fault("begin to restore");
    let entities: i64 = sqlx::query_scalar("SELECT count(*) FROM entity")
        .fetch_one(&mut *connection)
        .await
        .map_err(&fault)?;
    if entities > 0 {
        return Err(Error::bad(
            "backend",
            format!("it has {entities} entities; a backup is restored into an empty one"),
        ));
    }
    sqlx::query(
        "DELETE FROM change; \
         UPDATE head SET revision = max(revision, $1) + 1, oldest = max(revision, $1) + 1;",
    )
    .bind(signed(revision.0))
    .execute(connection)
    .await
    .map_err(&fault)?;
    Ok(())
}

/// Whether a job commits a change set.
fn is_set(job: &WriteJob) -> bool {
    matches!(job, WriteJob::Commit(..) | WriteJob::Restore(..))
}

/// The change set of a job; any other job is returned.
fn into_set(job: WriteJob) -> Result<(GroupedSet, ReplySender<Committed>), WriteJob> {
    match job {
        WriteJob::Commit(set, reply) => Ok((GroupedSet::new(*set, BTreeMap::new()), reply)),
        WriteJob::Restore(set, entities, reply) => Ok((GroupedSet::new(*set, entities), reply)),
        job => Err(job),
    }
}

/// Answers a job with an error, because its transaction failed before the job started.
#[allow(clippy::match_same_arms)] // Each answer has a type of its own.
fn refuse(job: WriteJob) -> PendingAnswer {
    const CAUSE: &str = "an earlier write of the same transaction failed";
    fn with<T: Send + 'static>(reply: ReplySender<T>) -> PendingAnswer {
        Box::new(move |failed| {
            let error = failed.unwrap_or_else(|| Error::unavailable("write", CAUSE));
            let _ = reply.send(Err(error));
        })
    }
    match job {
        WriteJob::Commit(_, reply) => with(reply),
        WriteJob::Modify(_, _, _, reply) => with(reply),
        WriteJob::Claim(_, reply) => with(reply),
        WriteJob::Renew(_, _, reply) => with(reply),
        WriteJob::Settle(_, reply) => with(reply),
        WriteJob::PutShared(_, _, _, reply) => with(reply),
        WriteJob::Trim(reply) => with(reply),
        WriteJob::Clear(reply) => with(reply),
        WriteJob::Repair(reply) => with(reply),
        WriteJob::StartRestore(_, reply) => with(reply),
        WriteJob::Restore(_, _, reply) => with(reply),
    }
}
