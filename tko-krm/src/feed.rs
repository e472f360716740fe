//! [`WatchFeed`]: the latest changes of all entities, read once for all watches.
//!
//! A task follows the changes of all kinds in the order of their revisions, and keeps the last
//! ones. Each watch reads them at its own pace. A watch that is too slow, or begins too far back,
//! reads from the data service itself until it has caught up.

mod dense;
mod kept;

pub(crate) use dense::DenseChanges;

use crate::object;
use bytes::Bytes;
use kept::{ChangeWeight, KeptChanges, weight_of};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tko_core::{Caller, DataApi, Error, Key, Record, Result, Revision};
use tokio::sync::{OnceCell, watch};
use tokio_util::task::AbortOnDropHandle;

/// Shortest and longest pause after the data service failed.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// One change of one entity.
pub(crate) struct FeedChange {
    pub(crate) revision: Revision,
    /// The entity after the change or, if it is gone, before.
    pub(crate) record: Record,
    pub(crate) is_gone: bool,
    /// Whether the entity was created.
    pub(crate) is_new: bool,
    /// The entity before the change, once it has been requested.
    before: OnceCell<Option<Record>>,
    /// The object as JSON, once it has been requested.
    json: OnceLock<Bytes>,
    /// Its weight, if it is kept.
    weight: Option<ChangeWeight>,
}

impl FeedChange {
    fn new(revision: Revision, record: Record, is_gone: bool, is_new: bool) -> Self {
        Self {
            revision,
            record,
            is_gone,
            is_new,
            before: OnceCell::new(),
            json: OnceLock::new(),
            weight: None,
        }
    }

    /// Adds bytes to the weight, if the change is kept.
    fn add_weight(&self, bytes: usize) {
        if let Some(weight) = &self.weight {
            weight.add(bytes);
        }
    }

    /// Removes the weight from the sum, because the change is no longer kept.
    fn leave_sum(&self) {
        if let Some(weight) = &self.weight {
            weight.leave();
        }
    }

    /// The object with the resource version of the change, as JSON.
    pub(crate) fn json(&self) -> Bytes {
        let json = self.json.get_or_init(|| {
            let record = self.record.clone().revision(self.revision);
            let object = object::object(&record);
            let json: Bytes = serde_json::to_vec(&object).unwrap_or_default().into();
            self.add_weight(json.len());
            json
        });
        json.clone()
    }

    /// The entity before the change.
    pub(crate) async fn before(&self, data: &dyn DataApi) -> Result<Option<Record>> {
        if self.is_new {
            return Ok(None);
        }
        if self.is_gone {
            return Ok(Some(self.record.clone()));
        }
        let key = &self.record.entity.key;
        let read = self.before.get_or_try_init(|| async {
            let found = before(data, key, self.revision).await?;
            self.add_weight(found.as_ref().map_or(0, weight_of));
            Ok::<_, Error>(found)
        });
        Ok(read.await?.clone())
    }
}

/// The state of an entity before its change of this revision.
pub(crate) async fn before(
    data: &dyn DataApi,
    key: &Key,
    revision: Revision,
) -> Result<Option<Record>> {
    let next = Revision(revision.0.saturating_add(1));
    let changes = data.history(key, Some(next), 1).await?;
    match changes.into_iter().next() {
        Some(change) if change.revision == revision => Ok(change.before),
        _ => Err(Error::Expired { oldest: revision }),
    }
}

/// The latest changes, and the task that reads them.
pub(crate) struct WatchFeed {
    data: Arc<dyn DataApi>,
    kept: Arc<Mutex<KeptChanges>>,
    /// The revision up to which changes were read.
    head: watch::Sender<Revision>,
    follower: OnceCell<AbortOnDropHandle<()>>,
}

/// The position of a watch relative to the kept changes.
pub(crate) enum Batch {
    /// The next changes, and the revision up to which they are complete.
    Changes(Vec<Arc<FeedChange>>, Revision),
    /// The next changes are no longer kept.
    Behind,
}

impl WatchFeed {
    /// A feed that keeps this many changes with this weight in bytes.
    pub(crate) fn new(data: Arc<dyn DataApi>, most: usize, most_bytes: usize) -> Self {
        Self {
            // The feed serves every caller; each watch shows only what its caller may see.
            data: data.with_caller(Caller::process()),
            kept: Arc::new(Mutex::new(KeptChanges::new(most, most_bytes))),
            head: watch::Sender::new(Revision(0)),
            follower: OnceCell::new(),
        }
    }

    /// The data service on behalf of this process.
    pub(crate) fn data(&self) -> &Arc<dyn DataApi> {
        &self.data
    }

    /// Starts to follow the changes, if that has not begun.
    pub(crate) async fn start(&self) -> Result<()> {
        let started = self.follower.get_or_try_init(|| async {
            let position = self.data.feed_position().await?;
            lock(&self.kept).restart(position.revision);
            self.head.send_replace(position.revision);
            let following = follow(self.data.clone(), self.kept.clone(), self.head.clone());
            Ok::<_, Error>(AbortOnDropHandle::new(tokio::spawn(following)))
        });
        started.await.map(|_| ())
    }

    /// The revision up to which changes were read; it is updated when there are more.
    pub(crate) fn head(&self) -> watch::Receiver<Revision> {
        self.head.subscribe()
    }

    /// The changes after a revision.
    pub(crate) fn after(&self, revision: Revision) -> Batch {
        lock(&self.kept).after(revision)
    }

    /// Waits until the changes up to a revision were read, at most this long.
    pub(crate) async fn reach(&self, revision: Revision, patience: Duration) -> bool {
        let mut head = self.head();
        let reached = head.wait_for(|head| *head >= revision);
        matches!(tokio::time::timeout(patience, reached).await, Ok(Ok(_)))
    }
}

/// Follows the changes, and keeps the last ones.
async fn follow(
    data: Arc<dyn DataApi>,
    kept: Arc<Mutex<KeptChanges>>,
    head: watch::Sender<Revision>,
) {
    let mut pause = PAUSES.0;
    loop {
        let mut changes = DenseChanges::after(&*data, *head.borrow());
        let error = loop {
            match changes.next().await {
                Ok(change) => {
                    let revision = change.revision;
                    // Before the lock, because it reads the whole package.
                    let weight = weight_of(&change.record);
                    lock(&kept).push(change, weight);
                    head.send_replace(revision);
                    pause = PAUSES.0;
                }
                Err(error) => break error,
            }
        };
        // After a restore, the store has a different history; and one change that cannot be read
        // must not stop the watches of all entities. In both cases watches read for themselves.
        if matches!(error, Error::Expired { .. } | Error::Internal { .. }) {
            tracing::error!(
                error = error.chain(),
                "the feed does not continue; starting over at its end"
            );
            if let Ok(position) = data.feed_position().await {
                lock(&kept).restart(position.revision);
                head.send_replace(position.revision);
            }
        } else {
            tracing::warn!(
                error = error.chain(),
                ?pause,
                "cannot follow the changes; retrying"
            );
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

fn lock(kept: &Mutex<KeptChanges>) -> std::sync::MutexGuard<'_, KeptChanges> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
