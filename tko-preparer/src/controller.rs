//! The controller that prepares deployments.

use crate::context::PrepareContext;
use crate::reconcile::PrepareHandle;
use crate::result_cache::ResultCache;
use crate::settings::PrepareSettings;
use crate::subscribers::SubscriberFeed;
use crate::topology::native;
use std::sync::Arc;
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{Clock, Executor, Ids, PluginType, Preparer, Registry, Result, Stage, WorkerApi};
use tko_worker::{CancellationToken, PluginFollower, Worker, close_executors};
use tokio::sync::mpsc;

/// Default number of bytes of results of pure preparers that are kept.
const RESULTS: usize = 64 << 20;

/// Prepares deployments: turns them into finished packages until it is shut down.
///
/// Any number of controllers, in one process or many, share the work. See the [crate](crate) for an
/// example.
pub struct PrepareController {
    context: PrepareContext,
    executors: Vec<Arc<dyn Executor>>,
}

impl PrepareController {
    /// A controller for the deployments of `data`, with the [native](crate::native) preparers, no
    /// executors, the system's clock and ids, and default settings.
    pub fn new(data: Arc<dyn WorkerApi>) -> Self {
        Self {
            context: PrepareContext {
                data,
                registry: Arc::new(native()),
                clock: Arc::new(SystemClock::new()),
                ids: Arc::new(TimeOrderedIds),
                settings: PrepareSettings::default(),
                results: Arc::new(ResultCache::new(RESULTS)),
            },
            executors: Vec::new(),
        }
    }

    /// Sets the native preparers; registered plugins are added to them. Replaces the native ones:
    /// start from [`native`](crate::native) to keep them.
    #[must_use]
    pub fn with_registry(mut self, registry: impl Into<Arc<Registry<dyn Preparer>>>) -> Self {
        self.context.registry = registry.into();
        self
    }

    /// Sets the executors that make preparers of plugins.
    #[must_use]
    pub fn with_executors(mut self, executors: Vec<Arc<dyn Executor>>) -> Self {
        self.executors = executors;
        self
    }

    /// Sets the clock that measures leases, pauses and timeouts. Default: the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.context.clock = clock;
        self
    }

    /// Sets the ids of new children and sites.
    #[must_use]
    pub fn with_ids(mut self, ids: Arc<dyn Ids>) -> Self {
        self.context.ids = ids;
        self
    }

    /// Sets the limits and intervals. Default: those of the settings' `Default`.
    #[must_use]
    pub fn with_settings(mut self, settings: PrepareSettings) -> Self {
        self.context.settings = settings;
        self
    }

    /// Sets the cache of results of pure preparers. Default: 64 MiB.
    #[must_use]
    pub fn with_result_cache(mut self, results: Arc<ResultCache>) -> Self {
        self.context.results = results;
        self
    }

    /// Works until `shutdown`, then closes its executors. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// As [`Worker::run`].
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let context = Arc::new(self.context);
        let plugins = PluginFollower {
            data: context.data.clone(),
            clock: context.clock.clone(),
            plugin_type: PluginType::Prepare,
            registry: context.registry.clone(),
            executors: self.executors.clone(),
            make: |executor, plugin| executor.preparer(plugin),
        };
        let subscribers = SubscriberFeed::new(context.clone());
        let (changed, triggers) = mpsc::unbounded_channel();
        let handle = Arc::new(PrepareHandle::new(context.clone()));
        let ended = Worker::new(context.data.clone(), Stage::Prepare, handle)
            .with_clock(context.clock.clone())
            .with_settings(context.settings.worker.clone())
            .with_companion(|ready| {
                plugins.follow(ready, move |triggers| {
                    // The receiver is gone if the controller is ending.
                    let _ = changed.send(triggers.to_vec());
                })
            })
            .with_companion(|ready| subscribers.run(ready, triggers))
            .run(shutdown)
            .await;
        close_executors(&self.executors).await;
        ended
    }
}
