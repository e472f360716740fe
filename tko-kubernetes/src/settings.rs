//! [`KubernetesSettings`]: the locations of kubeconfigs, and limits.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of a [`KubernetesScheduler`](crate::KubernetesScheduler).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KubernetesSettings {
    /// The folder of the kubeconfigs that sites name by `file`. Default: none, so they are refused.
    pub kubeconfigs: Option<PathBuf>,
    /// The kubeconfig of the management cluster. Default: none.
    pub management: Option<PathBuf>,
    /// Whether the management cluster is the cluster that this process runs in, if there is no
    /// kubeconfig of that cluster. It is accessed with the service account of this process's pod.
    /// Default: false.
    pub in_cluster: bool,
    /// Maximum number of objects of one site. Default: 10,000.
    pub max_objects: usize,
    /// Maximum number of requests in flight to one cluster. Default: 8.
    pub in_flight: usize,
    /// Maximum number of requests a second to one cluster. Default: 50.
    pub rate: u32,
    /// Time limit of one request. Default: 30 s.
    pub request_timeout: Duration,
    /// Time limit of one call for one site. Should be less than that of the controller, so that
    /// this scheduler's own error is reported. Default: 4 min.
    pub deadline: Duration,
    /// Maximum wait for a definition of custom resources to be established, and for a deleted
    /// object to disappear. Default: 60 s.
    pub patience: Duration,
    /// Maximum number of corrections of one object in an hour, and, counted separately, of
    /// creations of an object after the first one. Beyond that, the object is left as it is or
    /// missing, and a condition says so. Default: 6.
    pub corrections: usize,
}

impl Default for KubernetesSettings {
    fn default() -> Self {
        Self {
            kubeconfigs: None,
            management: None,
            in_cluster: false,
            max_objects: 10_000,
            in_flight: 8,
            rate: 50,
            request_timeout: Duration::from_secs(30),
            deadline: Duration::from_mins(4),
            patience: Duration::from_mins(1),
            corrections: 6,
        }
    }
}

impl KubernetesSettings {
    /// Sets the [folder of kubeconfigs](Self::kubeconfigs).
    #[must_use]
    pub fn with_kubeconfigs(mut self, folder: impl Into<PathBuf>) -> Self {
        self.kubeconfigs = Some(folder.into());
        self
    }

    /// Sets the [kubeconfig of the management cluster](Self::management).
    #[must_use]
    pub fn with_management(mut self, kubeconfig: impl Into<PathBuf>) -> Self {
        self.management = Some(kubeconfig.into());
        self
    }

    /// Sets whether the management cluster is [that of this pod](Self::in_cluster).
    #[must_use]
    pub fn with_in_cluster(mut self, in_cluster: bool) -> Self {
        self.in_cluster = in_cluster;
        self
    }

    /// Sets the [maximum number of objects](Self::max_objects) of one site.
    #[must_use]
    pub fn with_max_objects(mut self, count: usize) -> Self {
        self.max_objects = count;
        self
    }

    /// Sets the [maximum number of requests in flight](Self::in_flight) to one cluster.
    #[must_use]
    pub fn with_in_flight(mut self, count: usize) -> Self {
        self.in_flight = count;
        self
    }

    /// Sets the [maximum number of requests a second](Self::rate) to one cluster.
    #[must_use]
    pub fn with_rate(mut self, rate: u32) -> Self {
        self.rate = rate;
        self
    }

    /// Sets the [time limit of one request](Self::request_timeout).
    #[must_use]
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets the [time limit of one call](Self::deadline).
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets the [longest wait](Self::patience) for definitions and deletions.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets the [maximum number of corrections](Self::corrections) of one object in an hour, and of
    /// its creations after the first one.
    #[must_use]
    pub fn with_corrections(mut self, count: usize) -> Self {
        self.corrections = count;
        self
    }
}
