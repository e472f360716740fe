//! Reads that arrive while others are running, joined into one statement.
//!
//! A read that finds nothing in its way runs at once and alone, so a single caller waits for
//! nothing. The others wait for the statement that is running, and then share the next one.

use super::concerning;
use super::get::get;
use super::labelled;
use super::list::list;
use super::reader::EntityReader;
use futures_core::future::BoxFuture;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tko_core::{Key, List, MAX_CHANGES, Page, Record, Result, SiteId, Want};
use tokio::sync::oneshot;

/// Maximum number of keys of a read that is joined with others.
const MAX_OF_ONE: usize = 20;

/// Maximum number of sites whose deployments one statement lists.
const MAX_SITES: usize = 50;

/// Maximum number of reads of one sort that run alone at the same time.
const ALONE: usize = 2;

/// The reads of a process that are joined: by key, and of the deployments of a site.
pub(crate) struct SharedReads {
    reader: Arc<EntityReader>,
    keys: Arc<ReadQueue<Vec<Key>, Vec<Option<Record>>>>,
    sites: Arc<ReadQueue<SiteId, Page>>,
    labels: Arc<ReadQueue<String, Option<Page>>>,
}

impl SharedReads {
    pub(crate) fn new(reader: Arc<EntityReader>) -> Self {
        Self {
            reader,
            keys: Arc::default(),
            sites: Arc::default(),
            labels: Arc::default(),
        }
    }

    /// Returns the records of these keys, in order; `None` for keys that do not exist.
    pub(crate) async fn get(&self, keys: &[Key], want: Want) -> Result<Vec<Option<Record>>> {
        if keys.len() > MAX_OF_ONE || keys.is_empty() {
            return get(&self.reader, keys, want).await;
        }
        let sort = ReadSort {
            want,
            limit: 0,
            deleting: true,
        };
        let most = MAX_CHANGES / MAX_OF_ONE;
        let alone = || get(&self.reader, keys, want);
        let reader = self.reader.clone();
        let run = move |all: Vec<Vec<Key>>, sort: ReadSort| -> BoxFuture<'static, _> {
            let reader = reader.clone();
            Box::pin(async move { get_all(&reader, all, sort.want).await })
        };
        let turn = self.keys.turn(sort, || keys.to_vec(), most, run);
        finish(turn, alone).await
    }

    /// Returns one page of a listing.
    pub(crate) async fn list(&self, of: &List) -> Result<Page> {
        if let Some(key) = labelled::key_of(of) {
            let turn = self.without_label(key);
            return match turn {
                ReadTurn::Alone(_counted) => list(&self.reader, of).await,
                ReadTurn::Together(answer) => match answer.await {
                    Ok(Some(page)) => Ok(page),
                    Ok(None) | Err(_) => list(&self.reader, of).await,
                },
            };
        }
        let Some(site) = concerning::site_of(of) else {
            return list(&self.reader, of).await;
        };
        let sort = ReadSort {
            want: of.want,
            limit: of.most(),
            deleting: of.select.deleting,
        };
        let alone = || list(&self.reader, of);
        let reader = self.reader.clone();
        let run = move |sites: Vec<SiteId>, sort: ReadSort| -> BoxFuture<'static, _> {
            let reader = reader.clone();
            Box::pin(async move { concerning::pages(&reader, &sites, sort).await })
        };
        let turn = self.sites.turn(sort, || site.clone(), MAX_SITES, run);
        finish(turn, alone).await
    }
}

impl SharedReads {
    /// Returns the page of deployments with this metadata key if no deployment has it.
    fn without_label(&self, key: &str) -> ReadTurn<'_, Option<Page>> {
        let sort = ReadSort {
            want: Want::ROW,
            limit: 0,
            deleting: true,
        };
        let reader = self.reader.clone();
        let run = move |keys: Vec<String>, _| -> BoxFuture<'static, _> {
            let reader = reader.clone();
            Box::pin(async move { labelled::empty_pages(&reader, &keys).await })
        };
        self.labels.turn(sort, || key.to_owned(), MAX_CHANGES, run)
    }
}

/// The properties that all reads of one statement share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadSort {
    pub(super) want: Want,
    /// Maximum number of entities of a page; 0 for reads by key.
    pub(super) limit: usize,
    pub(super) deleting: bool,
}

/// Performs the reads of several calls as one.
async fn get_all(
    reader: &EntityReader,
    all: Vec<Vec<Key>>,
    want: Want,
) -> Result<Vec<Vec<Option<Record>>>> {
    // Sorted, so that equal keys are read once and the index is followed in order.
    let keys: BTreeSet<Key> = all.iter().flatten().cloned().collect();
    let keys: Vec<Key> = keys.into_iter().collect();
    let records = get(reader, &keys, want).await?;
    let found: HashMap<&Key, &Option<Record>> = keys.iter().zip(&records).collect();
    let answers = all.iter().map(|keys| {
        let own = keys.iter();
        own.map(|key| found.get(key).and_then(|record| (*record).clone()))
            .collect()
    });
    Ok(answers.collect())
}

/// Runs a read alone, or waits for its share of a statement.
async fn finish<A, F>(turn: ReadTurn<'_, A>, alone: impl FnOnce() -> F) -> Result<A>
where
    F: Future<Output = Result<A>>,
{
    match turn {
        ReadTurn::Alone(_counted) => alone().await,
        ReadTurn::Together(answer) => match answer.await {
            Ok(answer) => Ok(answer),
            // The joint statement failed. Read alone, so that this call gets its own error.
            Err(_) => alone().await,
        },
    }
}

/// Reads of one sort that wait for a statement.
struct ReadQueue<Q, A> {
    alone: AtomicUsize,
    state: Mutex<ReadQueueState<Q, A>>,
}

struct ReadQueueState<Q, A> {
    waiting: Vec<WaitingRead<Q, A>>,
    is_running: bool,
}

struct WaitingRead<Q, A> {
    sort: ReadSort,
    asked: Q,
    answer: oneshot::Sender<A>,
}

impl<Q, A> Default for ReadQueue<Q, A> {
    fn default() -> Self {
        Self {
            alone: AtomicUsize::new(0),
            state: Mutex::new(ReadQueueState {
                waiting: Vec::new(),
                is_running: false,
            }),
        }
    }
}

/// How a read is made.
enum ReadTurn<'a, A> {
    Alone(AloneRead<'a>),
    Together(oneshot::Receiver<A>),
}

/// Counts a read until it is dropped.
struct AloneRead<'a>(&'a AtomicUsize);

impl Drop for AloneRead<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<Q: Send + 'static, A: Send + 'static> ReadQueue<Q, A> {
    fn lock(&self) -> MutexGuard<'_, ReadQueueState<Q, A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides how a read is made. `run` makes at most `most` reads together.
    fn turn<R>(
        self: &Arc<Self>,
        sort: ReadSort,
        asked: impl FnOnce() -> Q,
        most: usize,
        run: R,
    ) -> ReadTurn<'_, A>
    where
        R: Fn(Vec<Q>, ReadSort) -> BoxFuture<'static, Result<Vec<A>>> + Send + 'static,
    {
        let mut state = self.lock();
        if !state.is_running && self.alone.load(Ordering::SeqCst) < ALONE {
            self.alone.fetch_add(1, Ordering::SeqCst);
            return ReadTurn::Alone(AloneRead(&self.alone));
        }
        let (answer, answered) = oneshot::channel();
        state.waiting.push(WaitingRead {
            sort,
            asked: asked(),
            answer,
        });
        if !state.is_running {
            state.is_running = true;
            // A task: callers may stop polling, and others must not wait for them.
            let running = RunningReads {
                queue: self.clone(),
                has_ended: false,
            };
            tokio::spawn(running.run(most, run));
        }
        ReadTurn::Together(answered)
    }

    /// Takes the next reads that fit into one statement; none ends the task.
    fn next(&self, most: usize) -> Vec<WaitingRead<Q, A>> {
        let mut state = self.lock();
        let mut taken: Vec<WaitingRead<Q, A>> = Vec::new();
        for read in std::mem::take(&mut state.waiting) {
            let is_same = taken.first().is_none_or(|first| first.sort == read.sort);
            if is_same && taken.len() < most {
                taken.push(read);
            } else {
                state.waiting.push(read);
            }
        }
        state.is_running = !taken.is_empty();
        taken
    }
}

/// The task that reads. If it ends early, the waiting callers read for themselves.
struct RunningReads<Q: Send + 'static, A: Send + 'static> {
    queue: Arc<ReadQueue<Q, A>>,
    has_ended: bool,
}

impl<Q: Send + 'static, A: Send + 'static> RunningReads<Q, A> {
    async fn run<R>(mut self, most: usize, run: R)
    where
        R: Fn(Vec<Q>, ReadSort) -> BoxFuture<'static, Result<Vec<A>>> + Send + 'static,
    {
        loop {
            let next = self.queue.next(most);
            let Some(sort) = next.first().map(|read| read.sort) else {
                self.has_ended = true;
                return;
            };
            let (asked, waiting): (Vec<Q>, Vec<oneshot::Sender<A>>) = next
                .into_iter()
                .map(|read| (read.asked, read.answer))
                .unzip();
            let Ok(answers) = run(asked, sort).await else {
                continue;
            };
            for (waiting, answer) in waiting.into_iter().zip(answers) {
                // The caller may be gone.
                let _ = waiting.send(answer);
            }
        }
    }
}

impl<Q: Send + 'static, A: Send + 'static> Drop for RunningReads<Q, A> {
    fn drop(&mut self) {
        if !self.has_ended {
            let mut state = self.queue.lock();
            state.is_running = false;
            state.waiting.clear();
        }
    }
}
