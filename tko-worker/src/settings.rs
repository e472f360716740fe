//! Settings of a worker.

use std::time::Duration;

/// Minimum duration of a lease. Renewing shorter leases at a third of their duration would load the
/// store for no benefit.
const MIN_LEASE: Duration = Duration::from_secs(1);

/// Settings of a [`Worker`](crate::Worker), the same for every controller.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerSettings {
    /// Name shown to people as the holder of a claim.
    pub name: String,
    /// Number of claims that are processed at the same time; at least 1. Default: 16.
    pub concurrency: usize,
    /// Duration of a lease, at least 1 s. A live worker renews it whenever a third has passed;
    /// others take over the work of a dead worker after this time. Default: 30 s.
    pub lease: Duration,
    /// Time that work in flight may take to finish after shutdown was requested. Unfinished work is
    /// released. Default: 10 s.
    pub grace: Duration,
}

impl WorkerSettings {
    /// Default settings for a worker of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            concurrency: 16,
            lease: Duration::from_secs(30),
            grace: Duration::from_secs(10),
        }
    }

    /// Sets the [name](Self::name).
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the [number of claims](Self::concurrency) processed at the same time; 0 counts as 1.
    #[must_use]
    pub fn with_concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Sets the [lease](Self::lease); less than 1 s counts as 1 s.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets the [grace period](Self::grace) of a shutdown.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The settings with every value in its range.
    pub(crate) fn checked(mut self) -> Self {
        self.concurrency = self.concurrency.max(1);
        self.lease = self.lease.max(MIN_LEASE);
        self
    }
}
