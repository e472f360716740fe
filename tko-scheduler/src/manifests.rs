//! The scheduler `manifests`: writes the resources of each site into a directory or a Git
//! repository, for GitOps tools (Flux, Argo CD) to apply.
//!
//! ```text
//! india+bangalore+south-100/                    a site: its escaped id
//!   .tko                                        marks the folder as TKO's
//!   0198c0de7a3f7d1c9f0f3c1d2e4b5a69/           a deployment
//!     010-namespace-upf.yaml                    namespaces, definitions of custom resources
//!     020-clusterrole-upf.yaml                  other cluster-scoped resources
//!     030-configmap-upf-upf-config.yaml         namespaced resources: kind, namespace, name
//! ```
//!
//! - The folder of a site belongs to TKO: every write removes anything else in it. A folder without
//!   the mark `.tko` is refused.
//! - Every write brings the whole folder to its state, so it repairs the remains of a crash. A file
//!   is written under a temporary name and renamed; a file that is up to date is not touched.
//! - Two deployments of a site may contain the same resource. Both are written; the tool that
//!   applies them decides.
//! - A write under an older claim than the last one is refused. So a worker that was presumed dead
//!   cannot undo what another has written since. Claims of a site that was registered again, or in
//!   a new store, count as newer.
//! - Names are lower-case ASCII, at most 200 bytes, and safe on every common file system, including
//!   those that fold case. No id can name anything outside the directory, or in another folder.
//! - [`apply`](crate::apply) decides which resources are written, and their order.

mod blocking;
mod fence;
mod folder;
pub mod git;
mod job;
mod names;
mod render;
mod verify;

use crate::apply::is_orchestration;
use async_trait::async_trait;
use blocking::blocking;
use folder::{SiteFolder, WriteSummary, is_unmarked};
use git::{GitSettings, GitWriter};
use job::SiteManifests;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tko_core::{
    Condition, DataApi, DeploymentId, Gvk, Package, Result, ScheduleCall, Scheduler, SiteId,
};

pub use job::CONDITION;

/// The name of this scheduler in a registry.
pub const NAME: &str = "manifests";

/// Writes the manifests of sites. It has no trigger: register it
/// [for every site](tko_core::Registry::with_everywhere).
pub struct Manifests(ManifestTarget);

enum ManifestTarget {
    Directory { root: PathBuf, sync: bool },
    Git(Arc<GitWriter>),
}

impl Manifests {
    /// Writes into a directory, which is created when it is first needed.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self(ManifestTarget::Directory {
            root: path.into(),
            sync: true,
        })
    }

    /// Writes into a Git repository with a work tree, which is created when it is first needed.
    /// Every change of a site is one commit.
    pub fn git(path: impl Into<PathBuf>, settings: GitSettings) -> Self {
        let writer = GitWriter::new(path.into(), settings);
        Self(ManifestTarget::Git(Arc::new(writer)))
    }

    /// Sets whether every file of a directory is forced to disk, so that a loss of power damages no
    /// file. Default: true. Without it, a damaged file is repaired when its site is scheduled next.
    /// A repository follows the settings of Git instead.
    #[must_use]
    pub fn with_sync(mut self, to_disk: bool) -> Self {
        if let ManifestTarget::Directory { sync, .. } = &mut self.0 {
            *sync = to_disk;
        }
        self
    }

    /// The folder of a site, relative to the directory or the root of the repository.
    pub fn folder(site: &SiteId) -> String {
        names::folder(site.as_str())
    }

    /// The folder of a deployment, relative to the folder of its site.
    pub fn deployment_folder(deployment: &DeploymentId) -> String {
        names::folder(deployment.as_str())
    }

    /// The files of a deployment, by name, in the order in which they should be applied.
    pub fn files(package: &Package) -> BTreeMap<String, Vec<u8>> {
        let files = render::files(package).into_iter();
        files.map(|(name, file)| (name, file.text)).collect()
    }

    /// Compares a directory with the data, and returns the number of files.
    ///
    /// Reads all sites, deployments and files. While schedulers are working, sites that they have
    /// not reached yet differ.
    ///
    /// # Errors
    ///
    /// - `BadArgument`: the first difference, as a message.
    /// - `Unavailable`: a folder or file cannot be read; or as [`DataApi::list`].
    pub async fn verify(data: &dyn DataApi, directory: &Path) -> Result<usize> {
        verify::verify(data, directory).await
    }
}

#[async_trait]
impl Scheduler for Manifests {
    async fn schedule(&self, call: ScheduleCall<'_>) -> Result<Vec<Condition>> {
        let job = SiteManifests::of(&call)?;
        let (job, written) = match &self.0 {
            ManifestTarget::Directory { root, sync } => write_folder(root, *sync, job).await?,
            ManifestTarget::Git(git) => git.schedule(job).await?,
        };
        Ok(vec![job.condition(written)])
    }

    /// The sites without a marked folder; all of them if the repository does not exist.
    async fn lost_sites(&self, sites: &[SiteId]) -> Vec<SiteId> {
        let (root, repository) = match &self.0 {
            ManifestTarget::Directory { root, .. } => (root.clone(), None),
            ManifestTarget::Git(git) => (git.root().to_owned(), Some(git.root().join(".git"))),
        };
        let sites = sites.to_vec();
        let lost = blocking(move || {
            let all = repository.is_some_and(|path| !path.exists());
            let is_lost = |site: &SiteId| all || is_unmarked(&root.join(Manifests::folder(site)));
            let lost: Vec<SiteId> = sites.into_iter().filter(is_lost).collect();
            Ok(lost)
        });
        lost.await.unwrap_or_default()
    }

    fn ignores(&self, kind: &Gvk) -> bool {
        is_orchestration(kind)
    }
}

async fn write_folder(
    root: &Path,
    sync: bool,
    job: SiteManifests,
) -> Result<(SiteManifests, WriteSummary)> {
    let path = root.join(&job.name);
    blocking(move || {
        let written = SiteFolder { path, sync }.write_fenced(&job)?;
        Ok((job, written))
    })
    .await
}
