//! The kubeconfig of a site's cluster: a file below the operator's folder.

use super::{CLUSTER_API_VERSION, CLUSTER_KIND};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tko_core::{Error, Gvk, Resource, Result, ScheduleCall};
use tko_source::file_below;

/// Maximum size of a kubeconfig, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The kubeconfig of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SiteKubeconfig {
    pub(crate) path: PathBuf,
    /// The context in it; the current one by default.
    pub(crate) context: Option<String>,
}

impl SiteKubeconfig {
    /// Finds the kubeconfig of a site.
    ///
    /// # Errors
    /// `BadArgument`: the site names none, or it is not a file below the folder.
    pub(crate) async fn of(call: &ScheduleCall<'_>, folder: &Path) -> Result<Self> {
        let resource = call.site.package.as_ref().and_then(|package| {
            let kind = Gvk::of(CLUSTER_API_VERSION, CLUSTER_KIND);
            match call.target {
                Some(target) => package.find(target),
                None => package.iter().find(|resource| *resource.gvk() == kind),
            }
        });
        let Some(resource) = resource else {
            return Err(Error::bad(
                "site",
                format!("its package has no {CLUSTER_KIND}; add one with spec.kubeconfig.file"),
            ));
        };
        let Some(file) = text(resource, &["spec", "kubeconfig", "file"])? else {
            return Err(Error::bad(
                "spec.kubeconfig.file",
                format!(
                    "{} has none; charts are installed by kubeconfigs in files, not in Secrets",
                    resource.identifier()
                ),
            ));
        };
        Ok(Self {
            path: file_below("spec.kubeconfig.file", folder, &file, MAX_BYTES).await?,
            context: text(resource, &["spec", "context"])?,
        })
    }
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
