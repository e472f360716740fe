//! Manifests in a Git repository: one commit for each change of a site.
//!
//! One site at a time is written and committed, in one process or several. Pushing is separate, so
//! that a slow remote delays no commit. Every write is compared with the last commit. So files that
//! were written but not committed, and commits that were not pushed, are completed by the next
//! write.
//!
//! The work tree belongs to TKO: people commit in their own clones. Changes that they staged here
//! are kept.
//!
//! Fences are in `.git/tko`, because they change with every write and are not part of the history.

mod command;
mod commit;
mod merge;
mod message;
mod push;
mod repository;
mod settings;
mod tree;

pub use settings::GitSettings;

use super::blocking::blocking;
use super::folder::{SiteFolder, WriteSummary};
use super::job::SiteManifests;
use command::GitCommand;
use push::Pusher;
use repository::Repository;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tko_core::{Error, Result};
use tokio::sync::Mutex;

/// Maximum number of commits before the index is updated, although other sites wait.
const MAX_PENDING: usize = 256;

/// Writes manifests into one repository.
pub(super) struct GitWriter {
    command: GitCommand,
    /// Opened by the first write; locked while a site is written and committed.
    repository: Mutex<Option<Repository>>,
    /// Number of sites that wait for it.
    waiting: AtomicUsize,
    pusher: Pusher,
}

impl GitWriter {
    pub(super) fn new(root: PathBuf, settings: GitSettings) -> Self {
        Self {
            command: GitCommand { root, settings },
            repository: Mutex::new(None),
            waiting: AtomicUsize::new(0),
            pusher: Pusher::default(),
        }
    }

    /// The root of the work tree.
    pub(super) fn root(&self) -> &Path {
        &self.command.root
    }

    pub(super) async fn schedule(
        self: &Arc<Self>,
        job: SiteManifests,
    ) -> Result<(SiteManifests, WriteSummary)> {
        let git = self.clone();
        // A commit that was started is completed even if this future is dropped.
        let recorded = tokio::spawn(async move { git.record(job).await }).await;
        let done = recorded.map_err(|error| Error::internal("commit manifests", error))??;
        if let Some(remote) = &self.command.settings.remote {
            let (command, repository) = (&self.command, &self.repository);
            self.pusher.push(command, repository, remote).await?;
        }
        Ok(done)
    }

    async fn record(&self, job: SiteManifests) -> Result<(SiteManifests, WriteSummary)> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let mut repository = self.repository.lock().await;
        let others = self.waiting.fetch_sub(1, Ordering::Relaxed) - 1;
        if repository
            .as_ref()
            .is_some_and(|open| !open.is_there(&self.command))
        {
            // Its folder was removed meanwhile, so it is created again.
            *repository = None;
        }
        let repository = match &mut *repository {
            Some(repository) => repository,
            none => none.insert(Repository::open(&self.command).await?),
        };
        let held = repository.lock().await?;
        repository.end_merge(&self.command).await?;
        let folder = SiteFolder {
            path: self.command.root.join(&job.name),
            // Git decides what is forced to disk.
            sync: false,
        };
        let path = repository.fence(&job.name);
        let (job, written) = blocking(move || {
            let fence = job.fence().raise(&path)?;
            let written = folder.write(&job)?;
            drop(fence);
            if job.deleting {
                // This is the last claim of the site.
                let _ = std::fs::remove_file(&path);
            }
            Ok((job, written))
        })
        .await?;
        repository.commit(&self.command, &job).await?;
        if (others == 0 || repository.pending.len() >= MAX_PENDING)
            && let Err(error) = repository.index(&self.command).await
        {
            // The site is committed; only `git status` in the work tree is wrong meanwhile.
            tracing::warn!(error = %error.chain(), "failed to update the index of Git; retrying with the next commit");
        }
        drop(held);
        Ok((job, written))
    }
}
