//! Finds the cluster of a site.

use crate::failure::FORCE;
use crate::kinds::is_name;
use serde_json::Value;
use tko_core::{Error, Gvk, Package, Resource, Result};

/// The group of Cluster API.
pub(crate) const CLUSTER_API: &str = "cluster.x-k8s.io";

/// The versions of Cluster API's `Cluster` that trigger the scheduler.
const CLUSTER_API_VERSIONS: [&str; 2] = ["v1beta1", "v1beta2"];

/// The kind of resource that names an existing cluster.
pub(crate) fn own_kind() -> Gvk {
    Gvk::new("cluster.nephio.org", "v1alpha1", "KubernetesCluster")
}

/// The kinds of resource that trigger the scheduler.
pub(crate) fn triggers() -> impl Iterator<Item = Gvk> {
    let versions = CLUSTER_API_VERSIONS.into_iter();
    let provisioned = versions.map(|version| Gvk::new(CLUSTER_API, version, "Cluster"));
    [own_kind()].into_iter().chain(provisioned)
}

/// The cluster of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SiteTarget {
    pub(crate) kubeconfig: KubeconfigReference,
    pub(crate) context: Option<String>,
    /// The namespace of the inventory, and of objects without a namespace; by default that of the
    /// kubeconfig.
    pub(crate) namespace: Option<String>,
    /// Whether fields of other managers are taken over.
    pub(crate) force: bool,
    /// The site's Cluster of Cluster API, if its package has one.
    pub(crate) provisioned: Option<ProvisionedCluster>,
}

/// The location of the kubeconfig of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KubeconfigReference {
    /// A file below the operator's folder.
    File(String),
    /// A Secret of the management cluster.
    Secret {
        name: String,
        /// The namespace that the management kubeconfig chooses by default.
        namespace: Option<String>,
        key: String,
    },
}

/// A Cluster of Cluster API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProvisionedCluster {
    pub(crate) version: String,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
}

impl SiteTarget {
    /// Reads the package of a site.
    ///
    /// # Errors
    /// `BadArgument`: there is no cluster, more than one, or its resource is not valid.
    pub(crate) fn of(package: &Package) -> Result<Self> {
        let own = only(package.iter().filter(|r| *r.gvk() == own_kind()))?;
        let provisioned = only(package.iter().filter(|resource| {
            let gvk = resource.gvk();
            &*gvk.group == CLUSTER_API && &*gvk.kind == "Cluster"
        }))?;
        let cluster = provisioned.map(provisioned_cluster).transpose()?;
        match (own, provisioned, cluster) {
            (Some(own), _, cluster) => existing(own, cluster),
            (None, Some(resource), Some(cluster)) => Ok(Self {
                kubeconfig: KubeconfigReference::Secret {
                    name: format!("{}-kubeconfig", cluster.name),
                    namespace: cluster.namespace.clone(),
                    key: "value".to_owned(),
                },
                context: None,
                namespace: None,
                force: is_forced(resource),
                provisioned: Some(cluster),
            }),
            _ => Err(Error::bad(
                "site",
                "its package has no KubernetesCluster and no Cluster of Cluster API; add one",
            )),
        }
    }

    /// Whether this resource is the one to act on. The other triggering resources are parts of the
    /// same site.
    pub(crate) fn is_primary(package: &Package, gvk: &Gvk) -> bool {
        let has_own = package.iter().any(|resource| *resource.gvk() == own_kind());
        !has_own || *gvk == own_kind()
    }
}

fn only<'a>(
    mut found: impl Iterator<Item = &'a std::sync::Arc<Resource>>,
) -> Result<Option<&'a Resource>> {
    let first = found.next();
    match (first, found.next()) {
        (Some(first), Some(second)) => Err(Error::bad(
            "site",
            format!(
                "a site has one cluster, and its package has {} and {}; make a site of each",
                first.identifier(),
                second.identifier()
            ),
        )),
        (first, _) => Ok(first.map(|resource| &**resource)),
    }
}

fn is_forced(resource: &Resource) -> bool {
    resource.annotation(FORCE).as_deref() == Some("true")
}

fn existing(resource: &Resource, provisioned: Option<ProvisionedCluster>) -> Result<SiteTarget> {
    let bad = |field: &str, message: &str| {
        let argument = format!("{}: spec{field}", resource.identifier());
        Err(Error::bad(argument, message.to_owned()))
    };
    let text = |path: &[&str]| text(resource, path);
    let file = text(&["spec", "kubeconfig", "file"])?;
    let secret = text(&["spec", "kubeconfig", "secretRef", "name"])?;
    let kubeconfig = match (file, secret) {
        (Some(file), None) => KubeconfigReference::File(file),
        (None, Some(name)) => KubeconfigReference::Secret {
            name,
            namespace: text(&["spec", "kubeconfig", "secretRef", "namespace"])?,
            key: text(&["spec", "kubeconfig", "secretRef", "key"])?
                .unwrap_or_else(|| "value".to_owned()),
        },
        (Some(_), Some(_)) => {
            return bad(".kubeconfig", "has file and secretRef; choose one");
        }
        (None, None) => {
            return bad(
                ".kubeconfig",
                "has neither file nor secretRef; name a file below the scheduler's --kubeconfigs, \
                 or a Secret of the management cluster",
            );
        }
    };
    if let KubeconfigReference::Secret {
        name, namespace, ..
    } = &kubeconfig
        && !(is_name(name) && namespace.as_deref().is_none_or(is_name))
    {
        return bad(".kubeconfig.secretRef", "is not the name of a Secret");
    }
    let namespace = text(&["spec", "namespace"])?;
    if !namespace.as_deref().is_none_or(is_name) {
        return bad(".namespace", "is not the name of a namespace");
    }
    Ok(SiteTarget {
        kubeconfig,
        context: text(&["spec", "context"])?,
        namespace,
        force: is_forced(resource),
        provisioned,
    })
}

fn provisioned_cluster(resource: &Resource) -> Result<ProvisionedCluster> {
    let name = text(resource, &["metadata", "name"])?.unwrap_or_default();
    let namespace = text(resource, &["metadata", "namespace"])?;
    if !is_name(&name) || !namespace.as_deref().is_none_or(is_name) {
        let argument = resource.identifier().to_string();
        return Err(Error::bad(argument, "is not a name that Kubernetes allows"));
    }
    Ok(ProvisionedCluster {
        version: resource.gvk().version.to_string(),
        name,
        namespace,
    })
}

/// A text of a resource; empty is absent.
fn text(resource: &Resource, path: &[&str]) -> Result<Option<String>> {
    match resource.get(path) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok((!text.is_empty()).then(|| text.clone())),
        Some(_) => Err(Error::bad(
            format!("{}: {}", resource.identifier(), path.join(".")),
            "is not text",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{KubeconfigReference, SiteTarget};
    use serde_json::{Value, json};
    use tko_core::{Package, Result};

    fn target(resources: &[Value]) -> Result<SiteTarget> {
        let package = Package::from_values(resources.to_vec()).expect("a package");
        SiteTarget::of(&package)
    }

    fn cluster(spec: &Value) -> Value {
        json!({
            "apiVersion": "cluster.nephio.org/v1alpha1", "kind": "KubernetesCluster",
            "metadata": {"name": "edge"}, "spec": spec,
        })
    }

    fn provisioned() -> Value {
        json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
            "metadata": {"name": "c1", "namespace": "fleet"}, "spec": {},
        })
    }

    #[test]
    fn an_existing_cluster_is_named_by_file_or_by_secret() {
        let file = target(&[cluster(
            &json!({"kubeconfig": {"file": "a.yaml"}, "context": "x"}),
        )]);
        let file = file.expect("it is valid");
        assert_eq!(
            file.kubeconfig,
            KubeconfigReference::File("a.yaml".to_owned())
        );
        assert_eq!(file.context.as_deref(), Some("x"));
        let secret = json!({"kubeconfig": {"secretRef": {"name": "a", "namespace": "b"}}});
        let secret = target(&[cluster(&secret)]).expect("it is valid");
        assert_eq!(
            secret.kubeconfig,
            KubeconfigReference::Secret {
                name: "a".to_owned(),
                namespace: Some("b".to_owned()),
                key: "value".to_owned(),
            }
        );
    }

    #[test]
    fn cluster_api_keeps_the_kubeconfig_in_a_secret() {
        let found = target(&[provisioned()]).expect("it is valid");
        assert_eq!(
            found.kubeconfig,
            KubeconfigReference::Secret {
                name: "c1-kubeconfig".to_owned(),
                namespace: Some("fleet".to_owned()),
                key: "value".to_owned(),
            }
        );
        // The own resource decides, and the infrastructure is applied nevertheless.
        let both = [
            provisioned(),
            cluster(&json!({"kubeconfig": {"file": "a"}})),
        ];
        let found = target(&both).expect("it is valid");
        assert_eq!(found.kubeconfig, KubeconfigReference::File("a".to_owned()));
        assert!(found.provisioned.is_some());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (spec, expected) in [
            (json!({}), "neither file nor secretRef"),
            (json!({"kubeconfig": {"file": 1}}), "is not text"),
            (
                json!({"kubeconfig": {"file": "a", "secretRef": {"name": "b"}}}),
                "choose one",
            ),
            (
                json!({"kubeconfig": {"secretRef": {"name": "../b"}}}),
                "not the name of a Secret",
            ),
            (
                json!({"kubeconfig": {"file": "a"}, "namespace": "a/b"}),
                "name of a namespace",
            ),
        ] {
            let error = target(&[cluster(&spec)])
                .expect_err("it is wrong")
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
        let mut second = cluster(&json!({"kubeconfig": {"file": "a"}}));
        second["metadata"]["name"] = json!("second");
        let two = [cluster(&json!({"kubeconfig": {"file": "a"}})), second];
        assert!(
            target(&two)
                .expect_err("two")
                .to_string()
                .contains("one cluster")
        );
        assert!(target(&[]).is_err());
    }
}
