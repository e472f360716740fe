//! [`Kubeconfigs`]: the kubeconfigs of sites, for programs that connect to their clusters themselves.

use crate::clusters::Clusters;
use crate::kubeconfig::{locate, of_secret};
use crate::settings::KubernetesSettings;
use crate::target::{KubeconfigReference, SiteTarget};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use tko_core::{Package, Result};

/// The place where the kubeconfig of a site was found.
#[derive(Clone, PartialEq, Eq)]
pub enum FoundKubeconfig {
    /// A file of this machine.
    File {
        /// The path of the file, below the folder that the settings name.
        path: PathBuf,
        /// The context in it; the current one by default.
        context: Option<String>,
    },
    /// The text in a Secret of the management cluster. It names neither files nor programs.
    Secret {
        /// The content of the Secret: a kubeconfig in YAML.
        text: String,
        /// The context in it; the current one by default.
        context: Option<String>,
    },
    /// There is no kubeconfig: Cluster API has not provisioned the cluster, or has deleted it.
    NotProvisioned,
}

/// Omits the credentials.
impl fmt::Debug for FoundKubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => f.debug_tuple("File").field(path).finish(),
            Self::Secret { .. } => f.write_str("Secret"),
            Self::NotProvisioned => f.write_str("NotProvisioned"),
        }
    }
}

/// Finds kubeconfigs as the [`KubernetesScheduler`](crate::KubernetesScheduler) does. They are read
/// again for each call.
pub struct Kubeconfigs(Clusters);

impl Kubeconfigs {
    /// Finds them by these settings.
    pub fn new(settings: KubernetesSettings) -> Self {
        Self(Clusters::new(Arc::new(settings), Arc::default()))
    }

    /// The kubeconfig of the site with this package.
    ///
    /// # Errors
    /// - `BadArgument`: the site names no cluster, or its kubeconfig is missing or not valid.
    /// - `Unavailable`: the management cluster cannot be asked.
    pub async fn find(&self, site: &Package) -> Result<FoundKubeconfig> {
        let target = SiteTarget::of(site)?;
        let context = target.context;
        match &target.kubeconfig {
            KubeconfigReference::File(file) => Ok(FoundKubeconfig::File {
                path: locate(self.0.folder()?, file).await?,
                context,
            }),
            KubeconfigReference::Secret {
                name,
                namespace,
                key,
            } => {
                let read = self.0.secret_text(name, namespace.as_deref(), key).await?;
                match read {
                    Ok((text, full)) => {
                        // Refuses a kubeconfig that names files or programs of this machine.
                        of_secret(&text, &full, context.clone()).await?;
                        Ok(FoundKubeconfig::Secret { text, context })
                    }
                    Err(_) if target.provisioned.is_some() => Ok(FoundKubeconfig::NotProvisioned),
                    Err(missing) => Err(missing),
                }
            }
        }
    }
}

impl fmt::Debug for Kubeconfigs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubeconfigs").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{FoundKubeconfig, Kubeconfigs};
    use crate::settings::KubernetesSettings;
    use serde_json::{Value, json};
    use tko_core::Package;

    fn site(spec: &Value) -> Package {
        let cluster = json!({
            "apiVersion": "cluster.nephio.org/v1alpha1", "kind": "KubernetesCluster",
            "metadata": {"name": "edge"}, "spec": spec,
        });
        Package::from_values([cluster]).expect("a package")
    }

    #[tokio::test]
    async fn a_file_below_the_folder_is_found_and_a_secret_needs_a_management_cluster() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("edge.yaml");
        std::fs::write(&path, "apiVersion: v1\nkind: Config\n").expect("a file");
        let settings = KubernetesSettings::default().with_kubeconfigs(folder.path());
        let kubeconfigs = Kubeconfigs::new(settings);
        let file = site(&json!({"kubeconfig": {"file": "edge.yaml"}, "context": "a"}));
        let found = kubeconfigs.find(&file).await.expect("it is there");
        let path = path.canonicalize().expect("it is there");
        let context = Some("a".to_owned());
        assert_eq!(found, FoundKubeconfig::File { path, context });
        for (spec, words) in [
            (
                json!({"kubeconfig": {"file": "../edge.yaml"}}),
                "below the folder",
            ),
            (
                json!({"kubeconfig": {"secretRef": {"name": "edge"}}}),
                "--management-kubeconfig",
            ),
        ] {
            let error = kubeconfigs.find(&site(&spec)).await.expect_err("a refusal");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
