//! [`WatchLimits`]: how many watches one cluster, and this process, may have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum number of watches of one process.
const MAX_WATCHES: usize = 10_000;

/// Limits the watches of one process.
pub(crate) struct WatchLimits {
    per_cluster: usize,
    all: Arc<Semaphore>,
    /// By the address of the cluster, which several sites may share.
    clusters: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// The right to one watch.
pub(crate) struct WatchPermit {
    _cluster: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl WatchLimits {
    pub(crate) fn new(per_cluster: usize) -> Self {
        let per_cluster = per_cluster.min(MAX_WATCHES);
        Self {
            per_cluster,
            all: Arc::new(Semaphore::new(MAX_WATCHES)),
            clusters: Mutex::default(),
        }
    }

    pub(crate) fn are_on(&self) -> bool {
        self.per_cluster > 0
    }

    /// The right to a watch of a cluster; `None` if there are too many.
    pub(crate) fn permit(&self, cluster: &str) -> Option<WatchPermit> {
        let of_cluster = {
            let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
            let per_cluster = self.per_cluster;
            // Clusters that nothing is watched of.
            clusters.retain(|name, free| name == cluster || free.available_permits() < per_cluster);
            let new = || Arc::new(Semaphore::new(per_cluster));
            clusters
                .entry(cluster.to_owned())
                .or_insert_with(new)
                .clone()
        };
        Some(WatchPermit {
            _cluster: of_cluster.try_acquire_owned().ok()?,
            _all: self.all.clone().try_acquire_owned().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::WatchLimits;

    #[test]
    fn a_cluster_has_its_own_limit_and_permits_come_back() {
        let limits = WatchLimits::new(2);
        let held = [limits.permit("a"), limits.permit("a")];
        assert!(held.iter().all(Option::is_some));
        assert!(limits.permit("a").is_none());
        assert!(limits.permit("b").is_some());
        drop(held);
        assert!(limits.permit("a").is_some());
        assert!(!WatchLimits::new(0).are_on());
    }
}
