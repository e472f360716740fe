//! [`KubernetesScheduler`]: the scheduler of the program.

use crate::apply::{Application, ApplyReport, RemovedKeys};
use crate::applyset::ApplySet;
use crate::clusters::{Clusters, SiteCluster};
use crate::conditions::{failure, ready};
use crate::desired::{WantedResource, wanted_resources};
use crate::infrastructure::Infrastructure;
use crate::kinds::GroupKind;
use crate::metrics::ClusterCounters;
use crate::settings::KubernetesSettings;
use crate::target::{SiteTarget, triggers};
use async_trait::async_trait;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tko_core::{Condition, Error, Package, Record, Registry, Result, ScheduleCall, Scheduler};
use tko_scheduler::apply::to_apply;

/// Applies the deployments of each site to the site's cluster.
///
/// It is triggered by the cluster resource in the site's package: a `KubernetesCluster` of
/// `cluster.nephio.org/v1alpha1`, or a `Cluster` of Cluster API.
pub struct KubernetesScheduler {
    settings: Arc<KubernetesSettings>,
    counters: Arc<ClusterCounters>,
    clusters: Clusters,
}

impl KubernetesScheduler {
    /// The name of the scheduler, in messages.
    pub const NAME: &'static str = "kubernetes";

    /// Makes a scheduler.
    pub fn new(settings: KubernetesSettings) -> Self {
        let settings = Arc::new(settings);
        let counters = Arc::new(ClusterCounters::default());
        Self {
            clusters: Clusters::new(settings.clone(), counters.clone()),
            settings,
            counters,
        }
    }

    /// What it has asked of all clusters together.
    pub fn counters(&self) -> Arc<ClusterCounters> {
        self.counters.clone()
    }

    /// Adds it to a registry, for all kinds of resource that trigger it.
    #[must_use]
    pub fn add_to(self: Arc<Self>, registry: Registry<dyn Scheduler>) -> Registry<dyn Scheduler> {
        triggers().fold(registry, |registry, trigger| {
            registry.with(trigger, Self::NAME, self.clone() as Arc<dyn Scheduler>)
        })
    }

    async fn run(&self, call: &ScheduleCall<'_>) -> Result<Vec<Condition>> {
        let empty = Package::default();
        let package = call.site.package.as_ref().unwrap_or(&empty);
        let is_mine = |target: &tko_core::Identifier| SiteTarget::is_primary(package, &target.gvk);
        if !call.target.is_some_and(is_mine) {
            return Ok(Vec::new());
        }
        let target = SiteTarget::of(package)?;
        let site = id_of(call.site);
        let deleting = call.site.entity.deleting;
        let infrastructure = target.provisioned.as_ref().map(|cluster| Infrastructure {
            clusters: &self.clusters,
            settings: &self.settings,
            site: &site,
            package,
            cluster,
        });
        if let Some(infrastructure) = &infrastructure
            && !deleting
        {
            infrastructure.provision().await?;
        }
        let cluster = match self.clusters.site(&site, &target).await {
            // The cluster goes with its infrastructure, if it has ever been there.
            Err(Error::BadArgument { .. }) if deleting && infrastructure.is_some() => None,
            cluster => Some(cluster?),
        };
        let report = match &cluster {
            Some(cluster) => self.apply(&site, cluster, &target, call).await?,
            None => ApplyReport::default(),
        };
        if let Some(why) = failure(&report) {
            return Err(why);
        }
        if let Some(infrastructure) = &infrastructure
            && deleting
        {
            infrastructure.remove().await?;
        }
        if deleting {
            self.clusters.forget(&site);
        }
        Ok(vec![ready(&report, &call.site.entity)])
    }

    async fn apply(
        &self,
        site: &str,
        cluster: &SiteCluster,
        target: &SiteTarget,
        call: &ScheduleCall<'_>,
    ) -> Result<ApplyReport> {
        let namespace = target
            .namespace
            .as_ref()
            .unwrap_or(&cluster.client.namespace);
        let application = Application {
            client: &cluster.client,
            set: ApplySet::new("site", site, namespace),
            settings: &self.settings,
            memory: &cluster.memory,
            force: target.force,
            lost: AtomicBool::new(false),
        };
        let ran = application
            .run(&wanted(call.wanted), &removed(call.removed))
            .await;
        if ran.as_ref().is_ok_and(|report| report.failures.is_empty()) {
            return ran;
        }
        // Whatever is remembered may be why.
        cluster.client.kinds.forget();
        ran
    }
}

#[async_trait]
impl Scheduler for KubernetesScheduler {
    async fn schedule(&self, call: ScheduleCall<'_>) -> Result<Vec<Condition>> {
        let deadline = self.settings.deadline;
        match tokio::time::timeout(deadline, Box::pin(self.run(&call))).await {
            Ok(done) => done,
            Err(_) => Err(Error::unavailable(
                "finish the site in time",
                format!("{deadline:?} are over; the next attempt continues"),
            )),
        }
    }
}

fn id_of(record: &Record) -> String {
    match &record.entity.key {
        tko_core::Key::Site(id) => id.to_string(),
        key => key.to_string(),
    }
}

/// The resources of the deployments.
fn wanted(deployments: &[Record]) -> Vec<WantedResource> {
    let packages = deployments.iter().filter_map(|record| {
        let id = record.entity.key.deployment()?.to_string();
        Some((id, record.package.as_ref()?))
    });
    wanted_resources(packages)
}

fn removed(deployments: &[Record]) -> RemovedKeys {
    let packages = deployments
        .iter()
        .filter_map(|record| record.package.as_ref());
    let resources = packages.flat_map(to_apply);
    resources
        .map(|(_, resource)| {
            let identifier = resource.identifier();
            let kind = GroupKind {
                group: identifier.gvk.group.to_string(),
                kind: identifier.gvk.kind.to_string(),
            };
            let namespace = resource.get(&["metadata", "namespace"]);
            let namespace = namespace.and_then(Value::as_str).map(str::to_owned);
            let name = resource.get(&["metadata", "name"]).and_then(Value::as_str);
            (kind, namespace, name.unwrap_or_default().to_owned())
        })
        .collect()
}
