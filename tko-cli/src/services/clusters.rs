//! The schedulers that bring deployments to Kubernetes clusters: their flags.

use clap::{ArgGroup, Args};
use std::path::PathBuf;
use std::sync::Arc;
use tko_core::{Registry, Scheduler, WorkerApi};
use tko_helm::KubeconfigFinder;

/// Whether and how to apply deployments to the clusters of sites
#[derive(Clone, Debug, Default, Args)]
#[command(
    next_help_heading = "Clusters",
    group = ArgGroup::new("cluster_work").multiple(true)
)]
pub(crate) struct ClusterArgs {
    /// Apply deployments to the Kubernetes clusters of their sites
    #[arg(long, group = "cluster_work")]
    clusters: bool,
    /// Install Helm charts on the Kubernetes clusters of sites
    #[arg(long, group = "cluster_work")]
    pub(super) install_charts: bool,
    /// Folder with the kubeconfigs that sites name by spec.kubeconfig.file
    #[arg(long, value_name = "DIR", requires = "cluster_work")]
    pub(super) kubeconfigs: Option<PathBuf>,
    /// Kubeconfig of the management cluster, for sites that Cluster API provisions and for
    /// kubeconfigs in Secrets [default: the service account of the pod]
    #[arg(long, value_name = "FILE", requires = "cluster_work")]
    management_kubeconfig: Option<PathBuf>,
    /// Maximum number of watches on clusters, one for each kind of object of a site; 0 leaves
    /// changes in clusters to the resync interval
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 500,
        requires = "cluster_work"
    )]
    cluster_watches: usize,
}

#[cfg(feature = "kubernetes")]
impl ClusterArgs {
    fn settings(&self) -> tko_kubernetes::KubernetesSettings {
        let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        let mut settings =
            tko_kubernetes::KubernetesSettings::default().with_in_cluster(in_cluster);
        if let Some(folder) = &self.kubeconfigs {
            settings = settings.with_kubeconfigs(folder);
        }
        if let Some(file) = &self.management_kubeconfig {
            settings = settings.with_management(file);
        }
        settings
    }

    /// Adds the scheduler that applies deployments, if it is switched on.
    pub(super) fn add_to(
        &self,
        registry: Registry<dyn Scheduler>,
        timeout: std::time::Duration,
        data: &Arc<dyn WorkerApi>,
    ) -> Registry<dyn Scheduler> {
        if !self.clusters {
            return registry;
        }
        // The scheduler's own error is more specific than the controller's timeout.
        let settings = self.settings().with_deadline(timeout.mul_f64(0.9));
        let mut scheduler = tko_kubernetes::KubernetesScheduler::new(settings);
        if self.cluster_watches > 0 {
            scheduler = scheduler.with_drift(enqueue(data.clone()), self.cluster_watches);
        }
        Arc::new(scheduler).add_to(registry)
    }

    /// Finds the kubeconfigs of sites for charts.
    #[allow(clippy::unnecessary_wraps)] // Without the feature there is none.
    pub(super) fn finder(&self) -> Option<KubeconfigFinder> {
        use tko_helm::SiteKubeconfig;
        use tko_kubernetes::{FoundKubeconfig, Kubeconfigs};
        let kubeconfigs = Arc::new(Kubeconfigs::new(self.settings()));
        Some(Arc::new(move |package| {
            let kubeconfigs = kubeconfigs.clone();
            Box::pin(async move {
                match kubeconfigs.find(&package).await? {
                    FoundKubeconfig::File { path, context } => {
                        Ok(Some(SiteKubeconfig::file(path, context)))
                    }
                    FoundKubeconfig::Secret { text, context } => {
                        SiteKubeconfig::text(&text, context).map(Some)
                    }
                    FoundKubeconfig::NotProvisioned => Ok(None),
                }
            })
        }))
    }
}

/// Returns a sink that enqueues the sites whose objects changed in their clusters.
#[cfg(feature = "kubernetes")]
fn enqueue(data: Arc<dyn WorkerApi>) -> tko_kubernetes::DriftSink {
    use tko_core::{Enqueue, Lane, Stage};
    Arc::new(move |site, after| {
        tracing::debug!(
            site = site.as_str(),
            ?after,
            "objects of the site changed in its cluster"
        );
        let data = data.clone();
        let work = Enqueue::now(Stage::Schedule, &site, Lane::of(site.as_str())).after(after);
        tokio::spawn(async move {
            if let Err(error) = data.enqueue(vec![work]).await {
                tracing::warn!(
                    site = site.as_str(),
                    error = error.chain(),
                    "failed to enqueue a site whose objects changed; its resync will find it"
                );
            }
        });
    })
}

/// This program was built without the feature `kubernetes`.
#[cfg(not(feature = "kubernetes"))]
impl ClusterArgs {
    /// Logs that the flag has no effect.
    pub(super) fn add_to(
        &self,
        registry: Registry<dyn Scheduler>,
        _timeout: std::time::Duration,
        _data: &Arc<dyn WorkerApi>,
    ) -> Registry<dyn Scheduler> {
        if self.clusters {
            tracing::error!(
                kubeconfigs = ?self.kubeconfigs,
                management = ?self.management_kubeconfig,
                watches = self.cluster_watches,
                "--clusters has no effect: this program was built without the feature kubernetes"
            );
        }
        registry
    }

    /// Returns `None`: charts find only the kubeconfigs in the folder.
    #[allow(clippy::unused_self)] // As with the feature.
    pub(super) fn finder(&self) -> Option<KubeconfigFinder> {
        None
    }
}
