//! The scheduler of charts: installs them as releases on the clusters of their sites.
//!
//! It serves sites whose package has a `KubernetesCluster` of `cluster.nephio.org/v1alpha1` or a
//! `Cluster` of Cluster API. It ignores charts with `spec.render: true`, which are already rendered
//! to resources.
//!
//! - A release is known by labels of Helm: the site, the deployment, and a hash of everything that it
//!   is made from. The cluster is the only inventory, so a restart loses nothing.
//! - A release whose hash is unchanged is left alone. Otherwise `helm upgrade --install` runs.
//! - A release of the site that no deployment needs any more is uninstalled before others are
//!   installed.
//! - A release that exists but does not belong to this site is refused.
//! - A release that a killed helm left in an intermediate state is rolled back or uninstalled
//!   first.
//! - A chart that fails does not block the others.

mod archive;
mod desired;
mod empty_sites;
mod inventory;
mod kubeconfig;

use crate::program::HelmRun;
use crate::settings::HelmSettings;
use crate::template::parameters;
use archive::ChartArchives;
use async_trait::async_trait;
use desired::{DesiredRelease, desired, has_charts};
use empty_sites::EmptySites;
use inventory::{FoundRelease, ReleaseKey, hash, parse};
pub use kubeconfig::{KubeconfigFinder, SiteKubeconfig};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    BoxError, Condition, Entity, Error, Record, Registry, Result, ScheduleCall, Scheduler,
    error::chain,
};
use tko_plugin::log::LogSubject;

/// The `apiVersion` of the resource of a site that names its cluster.
pub const CLUSTER_API_VERSION: &str = "cluster.nephio.org/v1alpha1";
/// The kind of the resource of a site that names its cluster.
pub const CLUSTER_KIND: &str = "KubernetesCluster";
/// The group of Cluster API.
pub(crate) const CLUSTER_API: &str = "cluster.x-k8s.io";
/// The condition of a site whose charts are installed.
pub const CONDITION: &str = "ChartsInstalled";
/// The reason of the condition once the last release of a site is gone.
const NO_CHARTS: &str = "NoCharts";

/// The label with the hash of the site's id.
const SITE: &str = "nephio.org/site";
/// The label with the hash of the deployment's id.
const DEPLOYMENT: &str = "nephio.org/deployment";
/// The label with the hash of everything that the release is made from.
const INPUT: &str = "nephio.org/input";

/// Maximum number of releases of a cluster that are listed.
const MAX_LISTED: usize = 100_000;
/// Maximum number of releases of one site.
const MAX_RELEASES: usize = 500;
/// Revisions of a release that Helm keeps.
const HISTORY: usize = 3;
/// Extra time for Helm to report the timeout of a hook itself.
const REPORT: Duration = Duration::from_secs(5);

/// Settings of the [`HelmScheduler`].
#[derive(Clone)]
#[non_exhaustive]
pub struct InstallSettings {
    /// The program, the folder of charts, and the time limit of one run of helm.
    pub helm: HelmSettings,
    /// The folder of the kubeconfigs that sites name. Paths in it must not lead out of it.
    pub kubeconfigs: PathBuf,
    /// The folder that keeps downloaded charts, at most 256. Without a folder, every change
    /// downloads its chart again.
    pub cache: Option<PathBuf>,
    /// Finds the kubeconfig of a site, in place of the folder. Default: none.
    pub finder: Option<KubeconfigFinder>,
}

impl fmt::Debug for InstallSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstallSettings")
            .field("helm", &self.helm)
            .field("kubeconfigs", &self.kubeconfigs)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

impl InstallSettings {
    /// Settings with a folder of kubeconfigs and a time limit of two minutes.
    pub fn new(kubeconfigs: impl Into<PathBuf>) -> Self {
        Self {
            helm: HelmSettings::default().with_timeout(Duration::from_mins(2)),
            kubeconfigs: kubeconfigs.into(),
            cache: None,
            finder: None,
        }
    }

    /// Sets the [settings of helm](Self::helm).
    #[must_use]
    pub fn with_helm(mut self, helm: HelmSettings) -> Self {
        self.helm = helm;
        self
    }

    /// Sets the [folder of downloaded charts](Self::cache).
    #[must_use]
    pub fn with_cache(mut self, folder: impl Into<Option<PathBuf>>) -> Self {
        self.cache = folder.into();
        self
    }

    /// Sets what [finds the kubeconfig](Self::finder) of a site.
    #[must_use]
    pub fn with_finder(mut self, finder: KubeconfigFinder) -> Self {
        self.finder = Some(finder);
        self
    }
}

/// Installs charts.
#[derive(Debug)]
pub struct HelmScheduler {
    settings: InstallSettings,
    archives: ChartArchives,
    empty: EmptySites,
}

impl HelmScheduler {
    /// The name that conditions show.
    pub const NAME: &'static str = "helm";

    /// A scheduler with these settings.
    pub fn new(settings: InstallSettings) -> Self {
        Self {
            archives: ChartArchives::new(settings.cache.clone()),
            empty: EmptySites::default(),
            settings,
        }
    }

    /// Adds the scheduler to a registry.
    #[must_use]
    pub fn add_to(self, registry: Registry<dyn Scheduler>) -> Registry<dyn Scheduler> {
        let scheduler = Arc::new(self);
        kubeconfig::triggers().fold(registry, |registry, kind| {
            registry.with(kind, Self::NAME, scheduler.clone())
        })
    }

    /// The kubeconfig of a site's cluster; `None` if the cluster does not exist.
    async fn kubeconfig(&self, site: &Record) -> Result<Option<SiteKubeconfig>> {
        let package = site.package.clone().unwrap_or_default();
        match &self.settings.finder {
            Some(find) => find(package).await,
            None => SiteKubeconfig::in_folder(&package, &self.settings.kubeconfigs)
                .await
                .map(Some),
        }
    }
}

#[async_trait]
impl Scheduler for HelmScheduler {
    async fn schedule(&self, call: ScheduleCall<'_>) -> Result<Vec<Condition>> {
        let site = call.site.entity.key.id();
        if !kubeconfig::is_primary(&call) {
            return Ok(Vec::new());
        }
        let (wanted, mut faults) = desired(call.wanted).await?;
        if wanted.len() > MAX_RELEASES {
            return Err(Error::bad(
                "charts",
                format!(
                    "{} are too many; a site has at most {MAX_RELEASES}",
                    wanted.len()
                ),
            ));
        }
        let has_none = wanted.is_empty() && faults.is_empty();
        // Another process may have installed releases since this one saw the site.
        let is_known = self.empty.take(site);
        if has_none && is_known && !may_have_releases(&call) {
            self.empty.add(&call.site.entity);
            return Ok(Vec::new());
        }
        let found = match self.kubeconfig(call.site).await {
            // Without a management cluster nothing was installed on a cluster of Cluster API. If a
            // kubeconfig is invalid, however, charts may be installed.
            Err(Error::BadArgument { argument, .. })
                if has_none && argument == "site" && kubeconfig::is_provisioned(&call) =>
            {
                None
            }
            found => found?,
        };
        let Some(cluster) = found else {
            if has_none {
                // The releases disappeared with their cluster.
                return Ok(without_charts(&call.site.entity));
            }
            return Err(Error::unavailable(
                "install charts",
                "the site's cluster does not exist yet: wait until it is provisioned",
            ));
        };
        let work = SiteReleases {
            settings: &self.settings,
            archives: &self.archives,
            cluster: &cluster,
            label: hash(site),
            subject: LogSubject {
                plugin: Self::NAME.to_owned(),
                deployment: None,
                site: Some(site.to_owned()),
                resource: call.target.map(ToString::to_string),
            },
        };
        // A chart that cannot be read may be installed, so nothing is removed then.
        let is_complete = faults.is_empty();
        faults.extend(work.run(&wanted, is_complete).await?);
        if !faults.is_empty() {
            // Other charts may be installed: the condition tells other processes to query the
            // cluster.
            let message =
                "some charts are not installed or not removed; see the condition Scheduled";
            let generation = call.site.entity.generation;
            call.report(
                &call.site.entity.key,
                Condition::new(CONDITION, None, "Failed", message, generation),
            );
            return Err(Error::unavailable("install charts", faults.join("; ")));
        }
        if wanted.is_empty() {
            self.empty.add(&call.site.entity);
            return Ok(without_charts(&call.site.entity));
        }
        let names: Vec<String> = wanted.keys().map(ToString::to_string).collect();
        Ok(vec![Condition::new(
            CONDITION,
            true,
            "Installed",
            format!("releases: {}", names.join(", ")),
            call.site.entity.generation,
        )])
    }
}

/// Whether the condition of a site says that its cluster may have releases.
fn has_installed(site: &Entity) -> bool {
    site.condition(CONDITION)
        .is_some_and(|condition| condition.reason != NO_CHARTS)
}

/// Whether the cluster of a site without charts may still have releases: those of deployments to
/// remove, or those that the site's condition names.
fn may_have_releases(call: &ScheduleCall<'_>) -> bool {
    let mut removed = call.removed.iter();
    has_installed(&call.site.entity)
        || removed.any(|record| record.package.as_ref().is_some_and(has_charts))
}

/// The condition of a site whose last release is gone. A site that never had one needs none.
fn without_charts(site: &Entity) -> Vec<Condition> {
    if !has_installed(site) {
        return Vec::new();
    }
    let message = "the site has no charts";
    vec![Condition::new(
        CONDITION,
        true,
        NO_CHARTS,
        message,
        site.generation,
    )]
}

/// The work on the releases of one site.
struct SiteReleases<'a> {
    settings: &'a InstallSettings,
    archives: &'a ChartArchives,
    cluster: &'a SiteKubeconfig,
    label: String,
    subject: LogSubject,
}

impl SiteReleases<'_> {
    /// Removes and installs releases; returns the failures, release by release.
    ///
    /// # Errors
    /// The releases of the cluster cannot be listed.
    async fn run(
        &self,
        wanted: &BTreeMap<ReleaseKey, DesiredRelease>,
        removes: bool,
    ) -> Result<Vec<String>> {
        let own = self.list(Some(format!("{SITE}={}", self.label))).await?;
        let mut faults = Vec::new();
        for (key, _) in own.iter().filter(|(key, _)| !wanted.contains_key(*key)) {
            if !removes {
                continue;
            }
            if let Err(error) = self.uninstall(key).await {
                faults.push(format!("uninstall {key}: {}", chain(&*error)));
            }
        }
        // The releases of others are needed only if something is installed for the first time.
        let others = if wanted.keys().all(|key| own.contains_key(key)) {
            BTreeMap::new()
        } else {
            self.list(None).await?
        };
        for (key, release) in wanted {
            let found = own.get(key);
            let done = match (found, others.contains_key(key)) {
                (None, true) => Err(BoxError::from(
                    "this release exists already, and is not of this site; uninstall it, or rename \
                     the HelmChart",
                )),
                _ => self.bring(key, release, found).await,
            };
            if let Err(error) = done {
                faults.push(format!(
                    "HelmChart {} of deployment {}: {}",
                    release.chart.release,
                    release.deployment,
                    chain(&*error)
                ));
            }
        }
        Ok(faults)
    }

    /// Installs or upgrades a release if its input has changed.
    async fn bring(
        &self,
        key: &ReleaseKey,
        release: &DesiredRelease,
        found: Option<&FoundRelease>,
    ) -> std::result::Result<(), BoxError> {
        let archive = self
            .archives
            .find(&self.settings.helm, &release.chart, &self.subject)
            .await?;
        let input = release.input(&archive.digest);
        if let Some(found) = found {
            if found.is_deployed() && self.is_current(key, &input).await? {
                return Ok(());
            }
            self.settle(key, found).await?;
        }
        let chart = &release.chart;
        let limit = self.settings.helm.timeout;
        let labels = [
            format!("{SITE}={}", self.label),
            format!("{DEPLOYMENT}={}", hash(&release.deployment)),
            format!("{INPUT}={input}"),
        ];
        let mut arguments = vec![
            "upgrade".to_owned(),
            "--install".to_owned(),
            key.name.clone(),
            archive.path.display().to_string(),
            "--create-namespace".to_owned(),
            format!("--labels={}", labels.join(",")),
            format!("--history-max={HISTORY}"),
            format!(
                "--timeout={}s",
                limit.saturating_sub(REPORT).as_secs().max(1)
            ),
        ];
        if !chart.crds {
            arguments.push("--skip-crds".to_owned());
        }
        if !chart.hooks {
            arguments.push("--no-hooks".to_owned());
        }
        arguments.extend(parameters(chart));
        self.helm(Some(&key.namespace), arguments).await?;
        Ok(())
    }

    /// Whether a release has this label.
    async fn is_current(
        &self,
        key: &ReleaseKey,
        input: &str,
    ) -> std::result::Result<bool, BoxError> {
        let selector = format!("{SITE}={},{INPUT}={input}", self.label);
        Ok(self.list(Some(selector)).await?.contains_key(key))
    }

    /// Ends an operation that a killed helm began: until then Helm refuses every other operation.
    async fn settle(
        &self,
        key: &ReleaseKey,
        found: &FoundRelease,
    ) -> std::result::Result<(), BoxError> {
        match found.status.as_str() {
            "pending-install" | "uninstalling" => self.uninstall(key).await,
            "pending-upgrade" | "pending-rollback" => {
                let arguments = vec!["rollback".to_owned(), key.name.clone()];
                self.helm(Some(&key.namespace), arguments).await?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn uninstall(&self, key: &ReleaseKey) -> std::result::Result<(), BoxError> {
        let arguments = vec![
            "uninstall".to_owned(),
            key.name.clone(),
            "--ignore-not-found".to_owned(),
        ];
        self.helm(Some(&key.namespace), arguments).await?;
        Ok(())
    }

    /// The releases of the cluster.
    async fn list(&self, selector: Option<String>) -> Result<BTreeMap<ReleaseKey, FoundRelease>> {
        let mut arguments: Vec<String> = [
            "list",
            "--all-namespaces",
            "--output=json",
            // Lists every state except uninstalled, because Helm 3 shows fewer by default.
            "--deployed",
            "--failed",
            "--pending",
            "--uninstalling",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("--max={MAX_LISTED}"));
        arguments.extend(selector.map(|selector| format!("--selector={selector}")));
        let failed =
            |error: BoxError| Error::unavailable("list the releases of the cluster", error);
        let printed = self.helm(None, arguments).await.map_err(failed)?;
        parse(&printed).map_err(failed)
    }

    async fn helm(
        &self,
        namespace: Option<&str>,
        mut arguments: Vec<String>,
    ) -> std::result::Result<Vec<u8>, BoxError> {
        arguments.extend(namespace.map(|namespace| format!("--namespace={namespace}")));
        let context = self.cluster.context.iter();
        arguments.extend(context.map(|context| format!("--kube-context={context}")));
        let run = HelmRun {
            arguments,
            timeout: self.settings.helm.timeout,
            kubeconfig: Some(self.cluster.path.clone()),
        };
        run.run(&self.settings.helm, &self.subject).await
    }
}
