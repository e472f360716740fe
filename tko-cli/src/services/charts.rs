//! The flags of Helm, and the handlers of charts that are made from them.

use super::clusters::ClusterArgs;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;
use tko_core::{Preparer, Registry, Scheduler};
use tko_helm::condition::ChartCondition;
use tko_helm::{HelmPreparer, HelmScheduler, HelmSettings, InstallSettings};
use tko_preparer::topology::MergeConditions;

/// The language of merge conditions, which is that of charts.
pub(super) fn conditions() -> MergeConditions {
    MergeConditions::new(|source, package| ChartCondition::parse(source)?.holds(package))
}

/// How to run Helm
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Helm")]
pub(crate) struct HelmArgs {
    /// Program of Helm 3 or 4, which renders and installs charts
    #[arg(long, value_name = "PROGRAM", default_value = "helm")]
    helm: String,
    /// Base folder for relative paths of charts
    #[arg(long, value_name = "DIR")]
    helm_charts: Option<PathBuf>,
}

impl HelmArgs {
    /// Sets the folder of charts.
    pub(super) fn with_charts(mut self, folder: PathBuf) -> Self {
        self.helm_charts = Some(folder);
        self
    }

    fn settings(&self, timeout: Duration) -> HelmSettings {
        HelmSettings::default()
            .with_program(self.helm.clone())
            .with_timeout(timeout)
            .with_charts(self.helm_charts.clone())
    }

    /// Adds the preparer that renders charts.
    pub(super) fn add_preparer(
        &self,
        registry: Registry<dyn Preparer>,
        timeout: Duration,
    ) -> Registry<dyn Preparer> {
        HelmPreparer::new(self.settings(timeout)).add_to(registry)
    }

    /// Adds the scheduler that installs charts on these clusters, if it is switched on. `cache` is
    /// the user's directory for caches.
    pub(super) fn add_scheduler(
        &self,
        registry: Registry<dyn Scheduler>,
        clusters: &ClusterArgs,
        cache: Option<PathBuf>,
        timeout: Duration,
    ) -> Registry<dyn Scheduler> {
        if !clusters.install_charts {
            return registry;
        }
        let finder = clusters.finder();
        if finder.is_none() && clusters.kubeconfigs.is_none() {
            tracing::error!(
                "--install-charts has no effect without --kubeconfigs: this program was built without \
                 the feature kubernetes"
            );
            return registry;
        }
        // The scheduler's own error is more specific than the controller's timeout.
        let folder = clusters.kubeconfigs.clone().unwrap_or_default();
        let mut settings = InstallSettings::new(folder)
            .with_helm(self.settings(timeout.mul_f64(0.9)))
            .with_cache(cache.map(|cache| cache.join("charts")));
        if let Some(finder) = finder {
            settings = settings.with_finder(finder);
        }
        HelmScheduler::new(settings).add_to(registry)
    }
}

impl Default for HelmArgs {
    fn default() -> Self {
        Self {
            helm: "helm".to_owned(),
            helm_charts: None,
        }
    }
}
