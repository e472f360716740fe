//! Settings of the scheduling controller.

use std::collections::BTreeSet;
use std::time::Duration;
use tko_worker::WorkerSettings;

/// Settings of a [`ScheduleController`](crate::ScheduleController).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScheduleSettings {
    /// Name, concurrency, lease and grace period. Default: `scheduler`, 16 sites at a time.
    pub worker: WorkerSettings,
    /// Time limit of one call of one scheduler, unless it [limits
    /// itself](tko_core::Scheduler::limits_itself). Default: 5 min.
    pub timeout: Duration,
    /// Interval after which a site is scheduled again even if nothing changed. This repairs drift.
    /// Each site takes up to a tenth less, so that sites spread out. Zero means never. Default: 10
    /// min.
    pub resync: Duration,
    /// Maximum number of deployments of one site. A site with more is not scheduled, and its
    /// condition says so. All deployments of a site are in memory together, with their packages, so
    /// the memory is bounded by this limit times the worker's concurrency. Default: 100,000.
    pub max_deployments: usize,
    /// Names of schedulers that are given up. What they placed on a site stays there once nothing in
    /// the site's package triggers them, and no removal waits for them. Default: none.
    ///
    /// The name of a plugin is its id, such as `schedule|rack`.
    pub abandoned: BTreeSet<String>,
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        Self {
            worker: WorkerSettings::new("scheduler").with_concurrency(16),
            timeout: Duration::from_mins(5),
            resync: Duration::from_mins(10),
            max_deployments: 100_000,
            abandoned: BTreeSet::new(),
        }
    }
}

impl ScheduleSettings {
    /// Sets the settings of the [worker](Self::worker).
    #[must_use]
    pub fn with_worker(mut self, worker: WorkerSettings) -> Self {
        self.worker = worker;
        self
    }

    /// Sets the [time limit](Self::timeout) of one call of one scheduler.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the [resync interval](Self::resync); zero disables resyncing.
    #[must_use]
    pub fn with_resync(mut self, resync: Duration) -> Self {
        self.resync = resync;
        self
    }

    /// Sets the [maximum number of deployments](Self::max_deployments) of one site.
    #[must_use]
    pub fn with_max_deployments(mut self, max_deployments: usize) -> Self {
        self.max_deployments = max_deployments;
        self
    }

    /// Sets the names of schedulers that are [given up](Self::abandoned).
    #[must_use]
    pub fn with_abandoned(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.abandoned = names.into_iter().collect();
        self
    }
}
