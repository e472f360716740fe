//! [`KubernetesScheduler`]: applies deployments to the clusters of their sites.

use crate::apply::{Application, ApplyReport, RemovedKeys};
use crate::applyset::ApplySet;
use crate::clusters::{Clusters, SiteCluster};
use crate::conditions::{
    READY, deployment_ready, failure, ready, removed as removed_from, unknown,
};
use crate::desired::{WantedResource, wanted_resources};
use crate::drift::DriftSink;
use crate::health::Health;
use crate::infrastructure::Infrastructure;
use crate::kinds::GroupKind;
use crate::metrics::ClusterCounters;
use crate::settings::KubernetesSettings;
use crate::target::{SiteTarget, triggers};
use async_trait::async_trait;
use serde_json::Value;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use tko_core::{
    Condition, Error, Gvk, Key, Package, Record, Registry, Result, ScheduleCall, Scheduler, SiteId,
};
use tko_scheduler::apply::{is_orchestration, to_apply};

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

    /// Watches the objects of sites, and requests a call by `sink` when they change between two
    /// calls. Without watches, a change waits for the next call. `watches` is the maximum number of
    /// watches. A site needs one for each kind of its objects, and is not watched if fewer are
    /// available.
    #[must_use]
    pub fn with_drift(mut self, sink: DriftSink, watches: usize) -> Self {
        self.clusters.watch(sink, watches);
        self
    }

    /// The counts of its requests to all clusters together.
    pub fn counters(&self) -> Arc<ClusterCounters> {
        self.counters.clone()
    }

    /// Adds the scheduler to a registry, for all kinds of resource that trigger it.
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
        let Key::Site(id) = &call.site.entity.key else {
            return Ok(Vec::new());
        };
        let site = &call.site.entity;
        let report = match self.bring(id, package, call).await {
            Ok(report) => report,
            Err(why) => {
                report_unknown(call);
                return Err(why);
            }
        };
        report_deployments(call, &report);
        let ready = ready(&report, site);
        if let Some(why) = failure(&report) {
            call.report(&site.key, ready);
            return Err(why);
        }
        if call.last {
            self.clusters.forget(id.as_str());
        }
        Ok(vec![ready])
    }

    /// Brings the site's cluster, and its infrastructure if there is any, to the desired state. The
    /// last call removes the infrastructure.
    async fn bring(
        &self,
        id: &SiteId,
        package: &Package,
        call: &ScheduleCall<'_>,
    ) -> Result<ApplyReport> {
        let target = SiteTarget::of(package)?;
        let infrastructure = target.provisioned.as_ref().map(|cluster| Infrastructure {
            clusters: &self.clusters,
            settings: &self.settings,
            site: id.as_str(),
            package,
            cluster,
            force: target.force,
        });
        if let Some(infrastructure) = &infrastructure
            && !call.last
        {
            infrastructure.provision().await?;
        }
        let cluster = match self.clusters.site(id.as_str(), &target).await {
            // The cluster, if it ever existed, is deleted together with its infrastructure.
            Err(Error::BadArgument { .. }) if call.last && infrastructure.is_some() => None,
            cluster => Some(cluster?),
        };
        let report = match &cluster {
            Some(cluster) => self.apply(id, cluster, &target, call).await?,
            None => ApplyReport::default(),
        };
        if let Some(infrastructure) = &infrastructure
            && call.last
            && report.failures.is_empty()
        {
            infrastructure.remove().await?;
        }
        Ok(report)
    }

    async fn apply(
        &self,
        site: &SiteId,
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
            set: ApplySet::new("site", site.as_str(), namespace),
            settings: &self.settings,
            memory: &cluster.memory,
            clock: self.clusters.clock(),
            force: target.force,
            lost: AtomicBool::new(false),
            lists: Mutex::default(),
        };
        let watched = cluster.watches.begin().await;
        let ran = application
            .run(&wanted(call.wanted), &removed(call.removed))
            .await;
        if let Ok(report) = &ran
            && report.failures.is_empty()
        {
            if let Some(watched) = watched {
                let lists = application.lists.into_inner();
                let lists = lists.unwrap_or_else(PoisonError::into_inner);
                watched.finish(&cluster.client, lists, report, is_ready(report));
            }
            return ran;
        }
        // The remembered state may be the cause, so it is dropped.
        cluster.client.kinds.forget();
        ran
    }
}

#[async_trait]
impl Scheduler for KubernetesScheduler {
    async fn schedule(&self, call: ScheduleCall<'_>) -> Result<Vec<Condition>> {
        let deadline = self.settings.deadline;
        if let Ok(done) = tokio::time::timeout(deadline, Box::pin(self.run(&call))).await {
            return done;
        }
        report_unknown(&call);
        Err(Error::unavailable(
            "finish the site in time",
            format!("{deadline:?} are over; the next attempt continues"),
        ))
    }

    fn ignores(&self, kind: &Gvk) -> bool {
        is_orchestration(kind)
    }
}

/// Whether all objects are healthy. Those that failed may recover, such as a pod that gets a node.
fn is_ready(report: &ApplyReport) -> bool {
    let mut health = report.health.iter().map(|(_, _, health)| health);
    health.all(|health| *health == Health::Current)
}

/// Reports the state of each deployment's objects.
fn report_deployments(call: &ScheduleCall<'_>, report: &ApplyReport) {
    for record in call.wanted {
        let entity = &record.entity;
        call.report(&entity.key, deployment_ready(report, entity));
    }
    if !report.failures.is_empty() {
        return;
    }
    for record in call.removed {
        let entity = &record.entity;
        if entity.condition(READY).is_some() {
            call.report(&entity.key, removed_from(entity, call.site.entity.key.id()));
        }
    }
}

/// Reports that the state of the objects is unknown, for deployments whose state was known before.
fn report_unknown(call: &ScheduleCall<'_>) {
    let records = call.wanted.iter().chain([call.site]);
    for record in records {
        let entity = &record.entity;
        if entity.condition(READY).is_some() {
            call.report(&entity.key, unknown(entity));
        }
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
