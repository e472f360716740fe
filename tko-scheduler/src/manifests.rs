//! The scheduler `manifests`: writes what is to be applied to each site into a directory or a git
//! repository, for GitOps tools (Flux, Argo CD) to take from there.
//!
//! ```text
//! india+bangalore+south-100/                    a site: its escaped id
//!   .tko                                        whose folder this is
//!   0198c0de7a3f7d1c9f0f3c1d2e4b5a69/           a deployment
//!     010-namespace-upf.yaml                    namespaces, definitions of custom resources
//!     020-clusterrole-upf.yaml                  other cluster-scoped resources
//!     030-configmap-upf-upf-config.yaml         namespaced ones: kind, namespace, name
//! ```
//!
//! - A site's folder is TKO's own: whatever else is in it is removed by the next pass. A folder
//!   that is not marked with `.tko` is refused, not taken over.
//! - Every pass writes the whole state, so whatever a crash left is mended by the next one. Files
//!   are replaced as a whole (written aside, then renamed); what is as it is to be is not touched.
//! - Two deployments of a site with the same resource are kept apart: whoever applies both decides.
//! - A pass under an older claim than the last one's is refused: a worker that was thought dead
//!   cannot undo what another has written meanwhile. Claims of a site that was registered anew, or
//!   in a new store, are newer.
//! - Names are lower-case ASCII, at most 200 bytes, and safe on every common file system, those
//!   that fold case included. No id can name anything outside the directory, or hide in another's
//!   folder.
//! - What is left out, and the order, is [`apply`](crate::apply)'s.

mod fence;
mod folder;
pub mod git;
mod names;
mod render;
mod verify;

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tko_core::{
    Condition, DataApi, DeploymentId, Error, Generation, Key, Package, Result, ScheduleCall,
    Scheduler, SiteId, Timestamp,
};

use fence::Fence;
use folder::{Folder, Written};
use git::{Git, GitSettings};

/// What this scheduler is called by whoever puts it into a registry.
pub const NAME: &str = "manifests";

/// Kind of the condition that tells where a site's manifests are.
pub const CONDITION: &str = "Manifests";

/// Writes the manifests of sites. Needs no trigger: register it
/// [for every site](tko_core::Registry::with_everywhere).
pub struct Manifests(Place);

enum Place {
    Directory { root: PathBuf, sync: bool },
    Git(Arc<Git>),
}

impl Manifests {
    /// Into a directory, which is made when it is first needed.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self(Place::Directory {
            root: path.into(),
            sync: true,
        })
    }

    /// Into a git repository with a work tree, which is made when it is first needed; one commit
    /// for each change of a site.
    pub fn git(path: impl Into<PathBuf>, settings: GitSettings) -> Self {
        Self(Place::Git(Arc::new(Git::new(path.into(), settings))))
    }

    /// Whether files are forced onto the disk one by one, so that a loss of power harms none.
    /// Default for a directory: yes. Without, such harm lasts until the site is scheduled again.
    /// A repository does as git's own settings say.
    #[must_use]
    pub fn with_sync(mut self, to_disk: bool) -> Self {
        if let Place::Directory { sync, .. } = &mut self.0 {
            *sync = to_disk;
        }
        self
    }

    /// The folder of a site, below the directory or the repository's root.
    pub fn folder(site: &SiteId) -> String {
        names::folder(site.as_str())
    }

    /// The files of a deployment, by name, in the order of application.
    pub fn files(package: &Package) -> BTreeMap<String, Vec<u8>> {
        render::files(package)
    }

    /// Holds what is in a directory against what the data say must be there, and counts the files.
    /// Takes time in proportion to what is there. While schedulers work, what they have not come to
    /// yet is a difference.
    ///
    /// # Errors
    /// - `BadArgument`: the first difference, in words.
    /// - `Unavailable`: a folder or file cannot be read; or as [`DataApi::list`].
    pub async fn verify(data: &dyn DataApi, directory: &Path) -> Result<usize> {
        verify::verify(data, directory).await
    }

    /// The folder of a deployment, below its site's.
    pub fn deployment_folder(deployment: &DeploymentId) -> String {
        names::folder(deployment.as_str())
    }
}

/// What is to be written of a site; owned, as it is written on another thread.
struct Job {
    site: SiteId,
    name: String,
    generation: Generation,
    created: Timestamp,
    fence: u64,
    going: bool,
    wanted: Vec<(DeploymentId, Package)>,
    removed: Vec<DeploymentId>,
}

impl Job {
    fn of(call: &ScheduleCall<'_>) -> Result<Self> {
        let entity = &call.site.entity;
        let Key::Site(site) = &entity.key else {
            return Err(Error::bad("site", format!("{} is no site", entity.key)));
        };
        let id = |key: &Key| match key {
            Key::Deployment(id) => Some(id.clone()),
            _ => None,
        };
        let wanted = call.wanted.iter().filter_map(|record| {
            let package = record.package.clone().unwrap_or_default();
            Some((id(&record.entity.key)?, package))
        });
        let removed = call.removed.iter();
        Ok(Self {
            name: names::folder(site.as_str()),
            generation: entity.generation,
            created: entity.created,
            fence: call.fence,
            going: entity.deleting,
            wanted: wanted.collect(),
            removed: removed.filter_map(|r| id(&r.entity.key)).collect(),
            site: site.clone(),
        })
    }

    fn fence(&self) -> Fence {
        Fence {
            site: self.site.clone(),
            created: self.created,
            number: self.fence,
        }
    }

    /// Its words change only when the site does, for conditions are rows.
    fn condition(&self, written: Written) -> Condition {
        let message = format!(
            "{} resources of {} deployments in folder {}",
            written.resources,
            self.wanted.len(),
            self.name
        );
        Condition::new(CONDITION, true, "Written", message, self.generation)
    }
}

#[async_trait]
impl Scheduler for Manifests {
    async fn schedule(&self, call: ScheduleCall<'_>) -> Result<Vec<Condition>> {
        let job = Job::of(&call)?;
        let (job, written) = match &self.0 {
            Place::Directory { root, sync } => in_directory(root, *sync, job).await?,
            Place::Git(git) => git.schedule(job).await?,
        };
        Ok(vec![job.condition(written)])
    }
}

async fn in_directory(root: &Path, sync: bool, job: Job) -> Result<(Job, Written)> {
    let path = root.join(&job.name);
    aside(move || {
        let folder = Folder { path, sync };
        let written = folder.write_fenced(&job)?;
        Ok((job, written))
    })
    .await
}

/// On a thread for blocking calls. Goes on if it is not waited for any more; the fence keeps what
/// is then late from harm.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::internal("write manifests", error)),
    }
}
