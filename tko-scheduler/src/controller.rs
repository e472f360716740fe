//! The controller that schedules sites.

use crate::context::ScheduleContext;
use crate::reconcile::ScheduleHandle;
use crate::settings::ScheduleSettings;
use crate::sweep::SiteSweep;
use std::sync::Arc;
use tko_core::system::SystemClock;
use tko_core::{Clock, Executor, PluginType, Registry, Result, Scheduler, Stage, WorkerApi};
use tko_worker::{CancellationToken, PluginFollower, Worker, close_executors};

/// Schedules sites: brings each to the state that its deployments require, until it is shut down.
///
/// Any number of controllers, in one process or many, share the work. See the [crate](crate) for an
/// example.
pub struct ScheduleController {
    context: ScheduleContext,
    executors: Vec<Arc<dyn Executor>>,
}

impl ScheduleController {
    /// A controller for the sites of `data`, without schedulers or executors, with the system's
    /// clock and default settings.
    pub fn new(data: Arc<dyn WorkerApi>) -> Self {
        Self {
            context: ScheduleContext {
                data,
                registry: Arc::default(),
                clock: Arc::new(SystemClock::new()),
                settings: ScheduleSettings::default(),
            },
            executors: Vec::new(),
        }
    }

    /// Sets the schedulers, which registered plugins join.
    #[must_use]
    pub fn with_registry(mut self, registry: impl Into<Arc<Registry<dyn Scheduler>>>) -> Self {
        self.context.registry = registry.into();
        self
    }

    /// Sets the executors that make schedulers of plugins.
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

    /// Sets the limits and intervals. Default: those of the settings' `Default`.
    #[must_use]
    pub fn with_settings(mut self, settings: ScheduleSettings) -> Self {
        self.context.settings = settings;
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
            plugin_type: PluginType::Schedule,
            registry: context.registry.clone(),
            executors: self.executors.clone(),
            make: |executor, plugin| executor.scheduler(plugin),
        };
        let sweep = Arc::new(SiteSweep::new(context.clone()));
        let changes = sweep.clone();
        let handle = Arc::new(ScheduleHandle::new(context.clone()));
        let ended = Worker::new(context.data.clone(), Stage::Schedule, handle)
            .with_clock(context.clock.clone())
            .with_settings(context.settings.worker.clone())
            .with_companion(|ready| {
                plugins.follow(ready, move |triggers| changes.plugins_changed(triggers))
            })
            .with_companion(|_| async move { sweep.run().await })
            .run(shutdown)
            .await;
        close_executors(&self.executors).await;
        ended
    }
}
