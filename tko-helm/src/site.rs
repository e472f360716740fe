//! The Kubernetes version and APIs of a deployment's site, as the package of the site describes
//! them.

use crate::chart::{HelmChart, api_versions, check_text};
use crate::install::{CLUSTER_API, CLUSTER_API_VERSION, CLUSTER_KIND};
use serde_json::{Value, json};
use tko_core::{DataApi, Error, Gvk, Key, Package, Record, Resource, Result, Want};

/// The Kubernetes that a chart is rendered for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SiteKubernetes {
    version: Option<String>,
    api_versions: Vec<String>,
}

impl SiteKubernetes {
    /// Reads the version and APIs from the package of the deployment's site. There are none if the
    /// deployment has no site, or if the site does not state them.
    ///
    /// # Errors
    /// `BadArgument`: a field of the site is wrong. Other errors: the site cannot be read.
    pub(crate) async fn of(deployment: &Record, data: &dyn DataApi) -> Result<Self> {
        let facts = deployment.entity.deployment();
        let Some(id) = facts.and_then(|deployment| deployment.site.clone()) else {
            return Ok(Self::default());
        };
        let site = data.get(&Key::Site(id.clone()), Want::PACKAGE).await;
        match site {
            Ok(site) => {
                let package = site.package.unwrap_or_default();
                Self::read(&package).map_err(|reason| Error::bad(format!("site {id}"), reason))
            }
            // The site does not exist yet, or no longer exists.
            Err(Error::NotFound(_)) => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Reads a `KubernetesCluster`, or else the topology of a `Cluster` of Cluster API.
    fn read(package: &Package) -> Result<Self, String> {
        let own = Gvk::of(CLUSTER_API_VERSION, CLUSTER_KIND);
        let own = package.iter().find(|resource| *resource.gvk() == own);
        let mut found = Self::default();
        if let Some(own) = own {
            found.version = version(own, &["spec", "kubernetesVersion"])?;
            let list = own.get(&["spec", "apiVersions"]);
            found.api_versions =
                api_versions(list).map_err(|reason| format!("{}: {reason}", own.identifier()))?;
        }
        let provisioned = package.iter().find(|resource| {
            let gvk = resource.gvk();
            &*gvk.group == CLUSTER_API && &*gvk.kind == "Cluster"
        });
        if let (None, Some(cluster)) = (&found.version, provisioned) {
            found.version = version(cluster, &["spec", "topology", "version"])?;
        }
        Ok(found)
    }

    /// Sets the fields that the chart itself does not set.
    pub(crate) fn complete(self, chart: &mut HelmChart) {
        if chart.kube_version.is_none() {
            chart.kube_version = self.version;
        }
        for version in self.api_versions {
            if !chart.api_versions.contains(&version) {
                chart.api_versions.push(version);
            }
        }
    }

    /// The content as JSON, as a part of the input of a rendering.
    pub(crate) fn to_value(&self) -> Value {
        json!([self.version, self.api_versions])
    }
}

fn version(resource: &Resource, path: &[&str]) -> Result<Option<String>, String> {
    let place = || format!("{}: {}", resource.identifier(), path.join("."));
    match resource.get(path) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => {
            check_text(text).map_err(|reason| format!("{}: {reason}", place()))?;
            Ok(Some(text.clone()))
        }
        Some(_) => Err(format!("{}: must be a text such as 1.34.1", place())),
    }
}

#[cfg(test)]
mod tests {
    use super::SiteKubernetes;
    use serde_json::{Value, json};
    use tko_core::Package;

    fn read(resources: Vec<Value>) -> Result<Value, String> {
        let package = Package::from_values(resources).expect("a package");
        SiteKubernetes::read(&package).map(|found| found.to_value())
    }

    fn own(spec: &Value) -> Value {
        json!({
            "apiVersion": "cluster.nephio.org/v1alpha1", "kind": "KubernetesCluster",
            "metadata": {"name": "own"}, "spec": spec,
        })
    }

    #[test]
    fn the_sites_own_cluster_comes_before_that_of_cluster_api() {
        let provisioned = json!({
            "apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Cluster",
            "metadata": {"name": "c1"}, "spec": {"topology": {"version": "v1.30.2"}},
        });
        let given = own(&json!({"kubernetesVersion": "1.34.1", "apiVersions": ["example.com/v1"]}));
        let silent = own(&json!({"kubeconfig": {"file": "a.yaml"}}));
        for (resources, expected) in [
            (vec![], json!([null, []])),
            (vec![silent.clone()], json!([null, []])),
            (vec![provisioned.clone()], json!(["v1.30.2", []])),
            (vec![silent, provisioned.clone()], json!(["v1.30.2", []])),
            (
                vec![provisioned, given],
                json!(["1.34.1", ["example.com/v1"]]),
            ),
        ] {
            assert_eq!(read(resources), Ok(expected));
        }
    }

    #[test]
    fn faults_name_the_resource_and_the_field() {
        for (spec, words) in [
            (
                json!({"kubernetesVersion": 1.34}),
                "KubernetesCluster own: spec.kubernetesVersion: must be a text",
            ),
            (json!({"kubernetesVersion": "1\n2"}), "control characters"),
            (
                json!({"apiVersions": "v1"}),
                "KubernetesCluster own: spec.apiVersions: must be a list",
            ),
        ] {
            let error = read(vec![own(&spec)]).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
    }
}
