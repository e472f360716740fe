//! Infrastructure of a site: resources of its package from which Cluster API provisions its
//! cluster.
//!
//! They are applied to the management cluster, as a separate set.

use crate::apply::{Application, ApplyReport, RemovedKeys};
use crate::applyset::ApplySet;
use crate::clusters::{Clusters, SiteCluster};
use crate::conditions::failure;
use crate::desired::{WantedResource, wanted_resources};
use crate::health::{Health, health};
use crate::settings::KubernetesSettings;
use crate::target::{CLUSTER_API, ProvisionedCluster};
use serde_json::Value;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use tko_core::{Clock, Error, Package, Result, Timestamp};

/// The infrastructure of one site.
pub(crate) struct Infrastructure<'a> {
    pub(crate) clusters: &'a Clusters,
    pub(crate) settings: &'a KubernetesSettings,
    pub(crate) site: &'a str,
    pub(crate) package: &'a Package,
    pub(crate) cluster: &'a ProvisionedCluster,
    /// Whether fields of other managers are taken over.
    pub(crate) force: bool,
}

impl Infrastructure<'_> {
    /// Applies the resources.
    ///
    /// # Errors
    /// `Unavailable`: a resource is not applied, or the cluster is not ready yet.
    pub(crate) async fn provision(&self) -> Result<()> {
        let packages = [(format!("site {}", self.site), self.package)];
        let wanted = wanted_resources(packages.into_iter());
        let management = self.clusters.management().await?;
        let report = self.apply(&management, &wanted).await?;
        if let Some(why) = failure(&report) {
            return Err(why);
        }
        self.ready(&management).await
    }

    /// Removes the resources.
    ///
    /// # Errors
    /// `Unavailable`: some objects still exist.
    pub(crate) async fn remove(&self) -> Result<()> {
        let management = self.clusters.management().await?;
        let report = self.apply(&management, &[]).await?;
        failure(&report).map_or(Ok(()), Err)
    }

    async fn apply(
        &self,
        management: &SiteCluster,
        wanted: &[WantedResource],
    ) -> Result<ApplyReport> {
        let namespace = &management.client.namespace;
        let application = Application {
            client: &management.client,
            set: ApplySet::new("infra", self.site, namespace),
            settings: self.settings,
            // The remembered state of the management cluster belongs to no site.
            memory: &self.clusters.infrastructure_memory(self.site),
            clock: self.clusters.clock(),
            force: self.force,
            lost: AtomicBool::new(false),
            lists: Mutex::default(),
        };
        application.run(wanted, &RemovedKeys::new()).await
    }

    /// Whether the cluster is provisioned. Its own status says what is missing.
    async fn ready(&self, management: &SiteCluster) -> Result<()> {
        let ProvisionedCluster {
            version,
            name,
            namespace,
        } = self.cluster;
        let namespace = namespace.as_deref().unwrap_or(&management.client.namespace);
        let unavailable = |why: String| {
            Error::unavailable(format!("wait for the cluster {namespace}/{name}"), why)
        };
        let client = &management.client;
        let served = client.kind(CLUSTER_API, version, "Cluster").await;
        let served = served.map_err(|failure| unavailable(failure.to_string()))?;
        let Some(served) = served else {
            return Err(unavailable(format!(
                "the management cluster has no Cluster API {version}; install it there"
            )));
        };
        let path = served.path(Some(namespace), Some(name));
        let found = client.get(&path).await;
        let found = found.map_err(|failure| unavailable(failure.to_string()))?;
        let now = self.clusters.clock().now();
        match found.as_ref().map(|found| provisioned(found, now)) {
            Some(Ok(())) => Ok(()),
            Some(Err(why)) => Err(unavailable(format!("it is being provisioned: {why}"))),
            None => Err(unavailable("it is gone; it is created again".to_owned())),
        }
    }
}

/// Whether Cluster API has provisioned a cluster, or what it waits for.
fn provisioned(cluster: &Value, now: Timestamp) -> Result<(), String> {
    // Before it is provisioned, it has no control plane that could be queried.
    let phase = cluster.pointer("/status/phase").and_then(Value::as_str);
    let initialized = [
        "/status/initialization/controlPlaneInitialized",
        "/status/controlPlaneReady",
    ]
    .iter()
    .any(|path| cluster.pointer(path) == Some(&Value::Bool(true)));
    if phase == Some("Provisioned") && initialized {
        return Ok(());
    }
    let conditions = cluster
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let open = conditions.into_iter().flatten().filter(|condition| {
        condition["status"] != "True"
            && !matches!(
                condition["type"].as_str(),
                Some(
                    "Paused"
                        | "Deleting"
                        | "RollingOut"
                        | "ScalingUp"
                        | "ScalingDown"
                        | "Remediating"
                )
            )
    });
    let named: Vec<String> = open
        .take(3)
        .map(|condition| {
            let part = |name: &str| condition[name].as_str().unwrap_or_default();
            crate::failure::shown(&format!(
                "{} ({} {})",
                part("type"),
                part("reason"),
                part("message")
            ))
        })
        .collect();
    if !named.is_empty() {
        return Err(format!("its open conditions are {}", named.join(", ")));
    }
    match health(cluster, now) {
        Health::InProgress(why) | Health::Failed(why) => Err(why),
        Health::Terminating => Err("it is being deleted".to_owned()),
        Health::Current => Err(format!("its phase is {}", phase.unwrap_or("unknown"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tko_core::Timestamp;

    fn provisioned(cluster: &Value) -> Result<(), String> {
        super::provisioned(cluster, Timestamp::default())
    }

    #[test]
    fn a_cluster_is_ready_once_its_control_plane_is() {
        for status in [
            json!({"phase": "Provisioned", "controlPlaneReady": true}),
            json!({"phase": "Provisioned", "initialization": {"controlPlaneInitialized": true}}),
        ] {
            assert_eq!(provisioned(&json!({"status": status})), Ok(()));
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let why = provisioned(&json!({"status": {"phase": "Provisioning", "conditions": [
            {"type": "InfrastructureReady", "status": "False", "reason": "NoMachines", "message": "of this size"},
            {"type": "Paused", "status": "False"},
        ]}}));
        let why = why.expect_err("it is not ready");
        assert_eq!(
            why,
            "its open conditions are InfrastructureReady (NoMachines of this size)"
        );
        assert!(
            provisioned(&json!({}))
                .expect_err("unknown")
                .contains("unknown")
        );
        let early = json!({"status": {"phase": "Provisioned"}});
        assert!(provisioned(&early).is_err(), "no control plane yet");
    }
}
