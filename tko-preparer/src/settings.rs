//! Settings of the preparer.

use std::time::Duration;
use tko_core::SharedLimits;
use tko_worker::WorkerSettings;

/// Settings of a [`PrepareController`](crate::PrepareController).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PrepareSettings {
    /// Name, concurrency, lease and grace period. Default: `preparer`, 64 deployments at a time.
    pub worker: WorkerSettings,
    /// Time limit of one call of one preparer, unless it [limits
    /// itself](tko_core::Preparer::limits_itself). Default: 30 s.
    pub timeout: Duration,
    /// Interval at which all deployments that wait for a selection, or follow one, are enqueued
    /// even if no event arrived. This repairs missed events. Default: 10 min.
    pub resync: Duration,
    /// Whether prepared deployments with `nephio.org/approve: Default` are approved. Default: true.
    pub auto_approve: bool,
    /// Maximum number of rounds over the resources of one package that leave as many of them to
    /// prepare as before; at least 1. Default: 100.
    ///
    /// More rounds count as an endless preparation. So do 100 times as many answers of preparers
    /// that leave as many resources to prepare as before, not counting one for each resource that
    /// was there at first. A large package is not endless: its resources are finished one by one.
    pub max_rounds: usize,
    /// How many results of pure preparers the data service keeps for all processes. Default: none,
    /// so each process has its own.
    pub shared_results: Option<SharedLimits>,
}

impl Default for PrepareSettings {
    fn default() -> Self {
        Self {
            worker: WorkerSettings::new("preparer").with_concurrency(64),
            timeout: Duration::from_secs(30),
            resync: Duration::from_mins(10),
            auto_approve: true,
            max_rounds: 100,
            shared_results: None,
        }
    }
}

impl PrepareSettings {
    /// Sets the settings of the [worker](Self::worker).
    #[must_use]
    pub fn with_worker(mut self, worker: WorkerSettings) -> Self {
        self.worker = worker;
        self
    }

    /// Sets the [time limit](Self::timeout) of one call of one preparer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the [resync interval](Self::resync).
    #[must_use]
    pub fn with_resync(mut self, resync: Duration) -> Self {
        self.resync = resync;
        self
    }

    /// Sets whether deployments are [approved](Self::auto_approve) by default.
    #[must_use]
    pub fn with_auto_approve(mut self, auto_approve: bool) -> Self {
        self.auto_approve = auto_approve;
        self
    }

    /// Sets the [maximum number of rounds](Self::max_rounds); 0 counts as 1.
    #[must_use]
    pub fn with_max_rounds(mut self, max_rounds: usize) -> Self {
        self.max_rounds = max_rounds;
        self
    }

    /// Sets [how many results](Self::shared_results) all processes share.
    ///
    /// Share only among processes with the same setup. A result depends on the code of functions,
    /// and on the files and programs that this code finds on its machine.
    #[must_use]
    pub fn with_shared_results(mut self, limits: impl Into<Option<SharedLimits>>) -> Self {
        self.shared_results = limits.into();
        self
    }
}
