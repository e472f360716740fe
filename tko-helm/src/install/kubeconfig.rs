//! The kubeconfig of a site's cluster: a file below the operator's folder.

use super::{CLUSTER_API_VERSION, CLUSTER_KIND};
use serde_json::Value;
use std::path::{Component, Path, PathBuf};
use tko_core::{Error, Gvk, Resource, Result, ScheduleCall};

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
            path: locate(folder, &file).await?,
            context: text(resource, &["spec", "context"])?,
        })
    }
}

/// The path of a kubeconfig below a folder.
async fn locate(folder: &Path, file: &str) -> Result<PathBuf> {
    let bad = |message: String| Error::bad("spec.kubeconfig.file", message);
    let relative = Path::new(file);
    let mut parts = relative.components();
    if !parts.all(|part| matches!(part, Component::Normal(_))) {
        return Err(bad(format!(
            "{file:?} is not a path below the folder of kubeconfigs"
        )));
    }
    let unreadable = |error: std::io::Error| bad(format!("{file:?} cannot be read: {error}"));
    let root = tokio::fs::canonicalize(folder).await.map_err(|error| {
        bad(format!(
            "the folder of kubeconfigs {} cannot be read: {error}",
            folder.display()
        ))
    })?;
    let path = tokio::fs::canonicalize(root.join(relative))
        .await
        .map_err(unreadable)?;
    let found = tokio::fs::metadata(&path).await.map_err(unreadable)?;
    if !path.starts_with(&root) {
        return Err(bad(format!(
            "{file:?} leads out of the folder of kubeconfigs"
        )));
    }
    if !found.is_file() || found.len() > MAX_BYTES {
        return Err(bad(format!(
            "{file:?} is not a file of at most {MAX_BYTES} bytes"
        )));
    }
    Ok(path)
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
    use super::locate;

    #[tokio::test]
    async fn no_path_leaves_the_folder() {
        let outer = tempfile::tempdir().expect("a folder");
        let folder = outer.path().join("inner");
        std::fs::create_dir_all(folder.join("sub")).expect("a folder");
        std::fs::write(outer.path().join("secret"), "x").expect("a file");
        std::fs::write(folder.join("sub/a.yaml"), "x").expect("a file");
        std::os::unix::fs::symlink("../secret", folder.join("link")).expect("a link");
        for file in ["../secret", "/etc/passwd", "link", "sub", "none", "."] {
            assert!(locate(&folder, file).await.is_err(), "{file}");
        }
        assert!(locate(&folder, "sub/a.yaml").await.is_ok());
    }
}
