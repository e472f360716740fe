//! The scheduler that applies deployments to Kubernetes clusters: its flags.

use clap::Args;
use std::path::PathBuf;
use tko_core::{Registry, Scheduler};

/// Whether and how to apply deployments to the clusters of sites
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Clusters")]
pub(crate) struct ClusterArgs {
    /// Apply deployments to the Kubernetes clusters of their sites
    #[arg(long)]
    clusters: bool,
    /// Folder with the kubeconfigs that sites name by spec.kubeconfig.file
    #[arg(long, value_name = "DIR", requires = "clusters")]
    kubeconfigs: Option<PathBuf>,
    /// Kubeconfig of the management cluster, for sites that Cluster API provisions and for
    /// kubeconfigs in Secrets [default: the service account of the pod]
    #[arg(long, value_name = "FILE", requires = "clusters")]
    management_kubeconfig: Option<PathBuf>,
}

impl ClusterArgs {
    /// Adds the scheduler, if it is switched on.
    #[cfg(feature = "kubernetes")]
    pub(super) fn add_to(
        &self,
        registry: Registry<dyn Scheduler>,
        timeout: std::time::Duration,
    ) -> Registry<dyn Scheduler> {
        use std::sync::Arc;
        use tko_kubernetes::{KubernetesScheduler, KubernetesSettings};
        if !self.clusters {
            return registry;
        }
        let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        let mut settings = KubernetesSettings::default()
            .with_in_cluster(in_cluster)
            // Its own error says more than that of the controller's timeout.
            .with_deadline(timeout.mul_f64(0.9));
        if let Some(folder) = &self.kubeconfigs {
            settings = settings.with_kubeconfigs(folder);
        }
        if let Some(file) = &self.management_kubeconfig {
            settings = settings.with_management(file);
        }
        Arc::new(KubernetesScheduler::new(settings)).add_to(registry)
    }

    /// Refuses the flag: this program was built without the scheduler.
    #[cfg(not(feature = "kubernetes"))]
    pub(super) fn add_to(
        &self,
        registry: Registry<dyn Scheduler>,
        _timeout: std::time::Duration,
    ) -> Registry<dyn Scheduler> {
        if self.clusters {
            tracing::error!(
                kubeconfigs = ?self.kubeconfigs,
                management = ?self.management_kubeconfig,
                "--clusters has no effect: this program was built without the feature kubernetes"
            );
        }
        registry
    }
}
