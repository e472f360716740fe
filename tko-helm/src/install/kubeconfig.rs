//! The kubeconfig of a site's cluster.

use super::{CLUSTER_API, CLUSTER_API_VERSION, CLUSTER_KIND};
use serde_json::Value;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::NamedTempFile;
use tko_core::{BoxFuture, Error, Gvk, Package, Resource, Result, ScheduleCall};
use tko_source::file_below;

/// Maximum size of a kubeconfig, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The kubeconfig of a site's cluster.
pub struct SiteKubeconfig {
    pub(super) path: PathBuf,
    /// The context in it; the current one by default.
    pub(super) context: Option<String>,
    /// The temporary file, which is removed with this value.
    _temporary: Option<NamedTempFile>,
}

/// Finds the kubeconfig of a site by the site's package. `None`: the cluster does not exist yet, or
/// no longer exists. A `BadArgument` of `site` says that this program cannot find any kubeconfig of
/// such a site. A `BadArgument` of another argument says that the kubeconfig is invalid.
pub type KubeconfigFinder =
    Arc<dyn Fn(Package) -> BoxFuture<'static, Result<Option<SiteKubeconfig>>> + Send + Sync>;

impl SiteKubeconfig {
    /// A kubeconfig in a file of this machine, and the context in it.
    pub fn file(path: impl Into<PathBuf>, context: Option<String>) -> Self {
        Self {
            path: path.into(),
            context,
            _temporary: None,
        }
    }

    /// A kubeconfig that is not in a file. Because Helm reads only files, it is written to a
    /// temporary file that only this user can read. The file is removed when the returned value is
    /// dropped.
    ///
    /// # Errors
    /// `Unavailable`: the file cannot be written.
    pub fn text(text: &str, context: Option<String>) -> Result<Self> {
        let written = || {
            // Its mode is 0600.
            let mut file = tempfile::Builder::new()
                .prefix("tko-kubeconfig-")
                .tempfile()?;
            file.write_all(text.as_bytes())?;
            Ok::<_, std::io::Error>(file)
        };
        let file =
            written().map_err(|error| Error::unavailable("write a temporary kubeconfig", error))?;
        Ok(Self {
            path: file.path().to_owned(),
            context,
            _temporary: Some(file),
        })
    }

    /// Finds the kubeconfig that a site names in the operator's folder.
    ///
    /// # Errors
    /// `BadArgument`: the site names none, or it is not a file below the folder.
    pub(super) async fn in_folder(package: &Package, folder: &Path) -> Result<Self> {
        let kind = own_kind();
        let Some(resource) = package.iter().find(|resource| *resource.gvk() == kind) else {
            return Err(Error::bad(
                "site",
                format!("its package has no {CLUSTER_KIND}; add one with spec.kubeconfig.file"),
            ));
        };
        let Some(file) = text(resource, &["spec", "kubeconfig", "file"])? else {
            return Err(Error::bad(
                "site",
                format!(
                    "{} has no spec.kubeconfig.file; this program reads kubeconfigs in files, not in \
                     Secrets",
                    resource.identifier()
                ),
            ));
        };
        let path = file_below("spec.kubeconfig.file", folder, &file, MAX_BYTES).await?;
        Ok(Self::file(path, text(resource, &["spec", "context"])?))
    }
}

impl fmt::Debug for SiteKubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteKubeconfig")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn own_kind() -> Gvk {
    Gvk::of(CLUSTER_API_VERSION, CLUSTER_KIND)
}

/// The kinds of resource of a site that trigger the scheduler.
pub(super) fn triggers() -> impl Iterator<Item = Gvk> {
    let provisioned = ["v1beta1", "v1beta2"].map(|v| Gvk::new(CLUSTER_API, v, "Cluster"));
    [own_kind()].into_iter().chain(provisioned)
}

/// Whether a call is for the deciding resource. If a site has both kinds, the scheduler is called
/// for each, and TKO's own kind decides.
pub(super) fn is_primary(call: &ScheduleCall<'_>) -> bool {
    let kind = own_kind();
    let is_own = call.target.is_none_or(|target| target.gvk == kind);
    let mut resources = call.site.package.iter().flat_map(Package::iter);
    is_own || !resources.any(|resource| *resource.gvk() == kind)
}

/// Whether Cluster API makes the cluster of a call.
pub(super) fn is_provisioned(call: &ScheduleCall<'_>) -> bool {
    call.target
        .is_some_and(|target| &*target.gvk.group == CLUSTER_API)
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
