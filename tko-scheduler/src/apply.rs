//! The resources that are applied to a workload cluster, and their order.
//!
//! Resources for orchestration or package tools are left out. These are resources of groups that
//! end in `nephio.org`, `Kptfile`s, and resources with the annotation
//! `config.kubernetes.io/local-config: "true"`, as in `kpt` and `kustomize`.

use std::collections::BTreeMap;
use std::sync::Arc;
use tko_core::cluster_scope::is_cluster_scoped;
use tko_core::{Gvk, Package, Resource};

/// A phase of applying. Earlier phases are applied first, and removed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Namespaces, and definitions of custom resources: others need them.
    Foundations,
    /// Other cluster-scoped resources.
    Cluster,
    /// Namespaced resources, and resources of unknown scope.
    Namespaced,
    /// Webhook configurations and API services: clusters call the workloads that they name, which
    /// must already run.
    Extensions,
}

impl Phase {
    /// The first part of a file name: `010`, `020`, `030` or `040`.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Foundations => "010",
            Self::Cluster => "020",
            Self::Namespaced => "030",
            Self::Extensions => "040",
        }
    }
}

/// The resources of a package to apply: by phase, and within a phase in the order of the package.
pub fn to_apply(package: &Package) -> Vec<(Phase, &Arc<Resource>)> {
    let custom = custom_scopes(package);
    let mut found: Vec<_> = package
        .iter()
        .filter(|resource| is_for_cluster(resource))
        .map(|resource| (phase(resource, &custom), resource))
        .collect();
    found.sort_by_key(|(phase, _)| *phase);
    found
}

/// Whether a resource is meant for clusters.
pub fn is_for_cluster(resource: &Resource) -> bool {
    let gvk = resource.gvk();
    let local = resource.annotation("config.kubernetes.io/local-config");
    let tooling = &*gvk.group == "kpt.dev" && &*gvk.kind == "Kptfile";
    !is_orchestration(gvk) && !tooling && local.as_deref() != Some("true")
}

/// Whether resources of this kind are for orchestration, so that clusters never get them.
pub fn is_orchestration(kind: &Gvk) -> bool {
    kind.group.ends_with("nephio.org")
}

/// Whether custom resources are cluster-scoped, by group and kind, as defined in the package.
type Scopes<'a> = BTreeMap<(&'a str, &'a str), bool>;

fn custom_scopes(package: &Package) -> Scopes<'_> {
    let definitions = package.iter().filter(|resource| is_definition(resource));
    let scopes = definitions.filter_map(|definition| {
        let group = definition.get(&["spec", "group"])?.as_str()?;
        let kind = definition.get(&["spec", "names", "kind"])?.as_str()?;
        let scope = definition.get(&["spec", "scope"])?.as_str()?;
        Some(((group, kind), scope == "Cluster"))
    });
    scopes.collect()
}

fn is_definition(resource: &Resource) -> bool {
    let gvk = resource.gvk();
    &*gvk.group == "apiextensions.k8s.io" && &*gvk.kind == "CustomResourceDefinition"
}

fn phase(resource: &Resource, custom: &Scopes<'_>) -> Phase {
    let gvk = resource.gvk();
    let (group, kind) = (&*gvk.group, &*gvk.kind);
    if is_definition(resource) || (group, kind) == ("", "Namespace") {
        return Phase::Foundations;
    }
    if is_extension(group, kind) {
        return Phase::Extensions;
    }
    let cluster = match custom.get(&(group, kind)) {
        Some(cluster) => *cluster,
        None => is_cluster_scoped(gvk),
    };
    if cluster {
        Phase::Cluster
    } else {
        Phase::Namespaced
    }
}

/// Whether a cluster calls a workload that the resource names. If the resource came first, the
/// cluster would refuse the workload itself, or fail to discover its resources.
fn is_extension(group: &str, kind: &str) -> bool {
    match group {
        "admissionregistration.k8s.io" => kind.ends_with("WebhookConfiguration"),
        "apiregistration.k8s.io" => kind == "APIService",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase, to_apply};
    use serde_json::{Value, json};
    use tko_core::Package;

    fn resource(api: &str, kind: &str, name: &str) -> Value {
        json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}})
    }

    fn order(values: Vec<Value>) -> Vec<(Phase, String)> {
        let package = Package::from_values(values).expect("distinct resources");
        to_apply(&package)
            .into_iter()
            .map(|(phase, resource)| (phase, resource.identifier().to_string()))
            .collect()
    }

    #[test]
    fn foundations_come_first_then_cluster_scoped_then_the_rest_in_package_order() {
        let custom = |name: &str, kind: &str, scope: &str| {
            json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": name},
                "spec": {"group": "x.example", "names": {"kind": kind}, "scope": scope},
            })
        };
        let found = order(vec![
            resource("apps/v1", "Deployment", "a"),
            resource("x.example/v1", "Wide", "w"),
            resource("x.example/v1", "Narrow", "n"),
            resource("rbac.authorization.k8s.io/v1", "ClusterRole", "r"),
            resource("v1", "ConfigMap", "b"),
            custom("wides", "Wide", "Cluster"),
            custom("narrows", "Narrow", "Namespaced"),
            resource("v1", "Namespace", "ns"),
        ]);
        let expected = [
            (Phase::Foundations, "CustomResourceDefinition wides"),
            (Phase::Foundations, "CustomResourceDefinition narrows"),
            (Phase::Foundations, "Namespace ns"),
            (Phase::Cluster, "Wide w"),
            (Phase::Cluster, "ClusterRole r"),
            (Phase::Namespaced, "Deployment a"),
            (Phase::Namespaced, "Narrow n"),
            (Phase::Namespaced, "ConfigMap b"),
        ];
        let expected = expected.map(|(phase, name)| (phase, name.to_owned()));
        assert_eq!(found, expected);
    }

    /// O14: a webhook that is configured before its server runs refuses everything.
    #[test]
    fn webhook_configurations_come_after_workloads() {
        let webhooks = "admissionregistration.k8s.io/v1";
        let found = order(vec![
            resource(webhooks, "ValidatingWebhookConfiguration", "v"),
            resource(webhooks, "MutatingWebhookConfiguration", "m"),
            resource(webhooks, "ValidatingAdmissionPolicy", "p"),
            resource("apiregistration.k8s.io/v1", "APIService", "a"),
            resource("apps/v1", "Deployment", "server"),
        ]);
        let expected = [
            (Phase::Cluster, "ValidatingAdmissionPolicy p"),
            (Phase::Namespaced, "Deployment server"),
            (Phase::Extensions, "ValidatingWebhookConfiguration v"),
            (Phase::Extensions, "MutatingWebhookConfiguration m"),
            (Phase::Extensions, "APIService a"),
        ];
        let expected = expected.map(|(phase, name)| (phase, name.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn resources_for_orchestration_are_never_applied() {
        let mut local = resource("v1", "ConfigMap", "local");
        local["metadata"]["annotations"] = json!({"config.kubernetes.io/local-config": "true"});
        let found = order(vec![
            resource("nephio.org/v1", "X", "a"),
            resource("workload.nephio.org/v1alpha1", "HelmChart", "a"),
            resource("deployment.nephio.org/v1alpha1", "Deployment", "deployment"),
            resource("kpt.dev/v1", "Kptfile", "a"),
            local,
            // Similar to a group of TKO, but not one.
            resource("nephio.org.example/v1", "X", "kept"),
        ]);
        assert_eq!(found, [(Phase::Namespaced, "X kept".to_owned())]);
    }
}
