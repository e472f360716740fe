//! The controller of catalogs and inventories.

use crate::follow::{EntryEvent, follow};
use crate::metrics::CatalogMetrics;
use crate::provenance::{SYNC_ACCEPTED, SYNC_DONE};
use crate::settings::CatalogSettings;
use crate::worker::{EntryWorker, SyncContext};
use futures_util::FutureExt;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tko_core::system::SystemClock;
use tko_core::work::backoff;
use tko_core::{Clock, Entity, Error, Key, PluginType, Result, Timestamp, WorkerApi};
use tko_worker::{CancellationToken, panic_message};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Capacity of the queue of changed entries.
const QUEUE: usize = 64;

/// Syncs the registered catalogs and inventories until it is shut down.
///
/// A catalog is a plugin of type `catalog`, an inventory one of type `inventory`. Every write is
/// idempotent and has a precondition, so several controllers may run; each then reads the sources
/// independently.
pub struct CatalogController {
    data: Arc<dyn WorkerApi>,
    clock: Arc<dyn Clock>,
    settings: CatalogSettings,
    metrics: CatalogMetrics,
}

/// The controller's state of one entry.
struct Tracked {
    entity: Arc<Entity>,
    /// The time of its next sync.
    due: Timestamp,
    /// The state between syncs; `None` during a sync.
    worker: Option<Box<EntryWorker>>,
    failures: u32,
    /// Whether the entry changed or a sync was requested while it was syncing.
    again: bool,
}

/// A finished sync.
struct EndedSync {
    key: Key,
    worker: Box<EntryWorker>,
    /// The time until the next sync; `None` after a failure.
    next: Option<Duration>,
}

impl CatalogController {
    /// A controller for the entries of `data`, with the system's clock and default settings.
    pub fn new(data: Arc<dyn WorkerApi>) -> Self {
        Self {
            data,
            clock: Arc::new(SystemClock::new()),
            settings: CatalogSettings::default(),
            metrics: CatalogMetrics::default(),
        }
    }

    /// Sets the clock that measures intervals, pauses and timeouts. Default: the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the limits and intervals.
    #[must_use]
    pub fn with_settings(mut self, settings: CatalogSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Counts syncs in these metrics.
    #[must_use]
    pub fn with_metrics(mut self, metrics: CatalogMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Works until `shutdown`. Syncs in progress are dropped: what they registered stays, and the
    /// next sync continues from there. Needs a tokio runtime.
    ///
    /// # Errors
    /// A [permanent](tko_worker::is_permanent) error of reading the entries. An unreachable store
    /// is not an error: the controller retries until the store is available.
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let (sender, mut events) = mpsc::channel(QUEUE);
        let mut follower = tokio::spawn(follow(self.data.clone(), self.clock.clone(), sender));
        let context = Arc::new(SyncContext {
            data: self.data,
            clock: self.clock.clone(),
            settings: self.settings,
            metrics: self.metrics,
        });
        tracing::info!("catalogs and inventories: started");
        let mut entries = Entries {
            tracked: HashMap::new(),
            running: JoinSet::new(),
            clock: self.clock,
            context,
        };
        let ended = loop {
            entries.start_due();
            let sleep = entries.sleep();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break Ok(()),
                Some(event) = events.recv() => entries.apply(event),
                ended = &mut follower => break match ended {
                    Ok(ended) => ended,
                    Err(error) => Err(Error::internal("follow catalogs and inventories", error)),
                },
                Some(ended) = entries.running.join_next() => entries.ended(ended),
                () = sleep => {}
            }
        };
        follower.abort();
        entries.running.shutdown().await;
        tracing::info!("catalogs and inventories: stopped");
        ended
    }
}

/// All entries, and the syncs in progress.
struct Entries {
    tracked: HashMap<Key, Tracked>,
    running: JoinSet<EndedSync>,
    clock: Arc<dyn Clock>,
    context: Arc<SyncContext>,
}

impl Entries {
    fn apply(&mut self, event: EntryEvent) {
        let now = self.clock.now();
        match event {
            EntryEvent::Absent(key) => {
                self.tracked.remove(&key);
                let (kind, name) = labels(&key);
                self.context.metrics.forget((kind, name));
            }
            EntryEvent::Present(entity) => {
                if let Some(tracked) = self.tracked.get_mut(&entity.key) {
                    // The controller's own conditions are not a reason to sync.
                    let is_asked = tracked.entity.facts != entity.facts
                        || is_request(&tracked.entity, &entity);
                    if is_asked {
                        tracked.failures = 0;
                        tracked.due = now;
                        tracked.again = tracked.worker.is_none();
                    }
                    tracked.entity = entity;
                } else {
                    let tracked = Tracked {
                        entity: entity.clone(),
                        due: now,
                        worker: Some(Box::default()),
                        failures: 0,
                        again: false,
                    };
                    self.tracked.insert(entity.key.clone(), tracked);
                }
            }
        }
    }

    /// Starts the syncs that are due, the longest overdue first.
    fn start_due(&mut self) {
        let now = self.clock.now();
        while self.running.len() < self.context.settings.concurrency {
            let due = self
                .tracked
                .iter_mut()
                .filter(|(_, tracked)| tracked.worker.is_some() && tracked.due <= now)
                .min_by_key(|(_, tracked)| tracked.due);
            let Some((key, tracked)) = due else { return };
            let Some(mut worker) = tracked.worker.take() else {
                return;
            };
            tracked.again = false;
            let (key, entity, context) =
                (key.clone(), tracked.entity.clone(), self.context.clone());
            self.running.spawn(async move {
                let sync = AssertUnwindSafe(worker.sync(&context, &entity));
                let synced = sync.catch_unwind().await;
                let (worker, next) = match synced {
                    Ok(next) => (worker, next),
                    Err(panic) => {
                        let message = panic_message(&*panic);
                        tracing::error!(%key, panic = message, "a sync panicked; retrying");
                        // The state that it left behind may be broken.
                        (Box::default(), None)
                    }
                };
                EndedSync { key, worker, next }
            });
        }
    }

    /// Completes when the next sync is due.
    fn sleep(&self) -> tko_core::BoxFuture<'static, ()> {
        let is_full = self.running.len() >= self.context.settings.concurrency;
        let waiting = self
            .tracked
            .values()
            .filter(|tracked| tracked.worker.is_some());
        match waiting.map(|tracked| tracked.due).min() {
            Some(due) if !is_full => self.clock.sleep_until(due),
            _ => Box::pin(std::future::pending()),
        }
    }

    fn ended(&mut self, ended: std::result::Result<EndedSync, tokio::task::JoinError>) {
        let now = self.clock.now();
        let EndedSync { key, worker, next } = match ended {
            Ok(ended) => ended,
            // The task catches panics, and is cancelled only at shutdown.
            Err(error) => {
                tracing::error!(%error, "a sync of a catalog or inventory was cancelled");
                return;
            }
        };
        let Some(tracked) = self.tracked.get_mut(&key) else {
            return;
        };
        tracked.worker = Some(worker);
        if tracked.again {
            tracked.due = now;
            return;
        }
        let pause = if let Some(pause) = next {
            tracked.failures = 0;
            pause
        } else {
            tracked.failures = tracked.failures.saturating_add(1);
            backoff(tracked.failures, tko_worker::jitter())
        };
        tracked.due = now.plus(pause);
    }
}

/// Whether a change of an entry's given metadata requests a sync. The controller's own changes do
/// not: it writes its answer, and removes the acceptance of a disappearance that has ended.
fn is_request(before: &Entity, after: &Entity) -> bool {
    let others = |entity: &Entity| {
        let mut given = entity.given.clone();
        given.retain(|key, _| key != SYNC_DONE && key != SYNC_ACCEPTED);
        given
    };
    let accepted = after.given.get(SYNC_ACCEPTED);
    let is_accepted = accepted.is_some() && accepted != before.given.get(SYNC_ACCEPTED);
    is_accepted || others(before) != others(after)
}

/// The type and name of an entry, for metrics.
pub(crate) fn labels(key: &Key) -> (&'static str, &str) {
    match key {
        Key::Plugin(id) if id.plugin_type() == PluginType::Inventory => ("inventory", id.name()),
        Key::Plugin(id) => ("catalog", id.name()),
        key => ("catalog", key.id()),
    }
}
