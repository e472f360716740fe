//! Manifests in a git repository: one commit for each change of a site.
//!
//! Writing and committing is done by one pass at a time, in one process or several; pushing is
//! apart from it, so that a slow remote holds up no commit. Every pass compares with what is
//! committed, not with what it wrote, so what was written and not committed, or committed and not
//! pushed, is made good by the next pass.
//!
//! The work tree is TKO's: people commit in clones of their own. What they have staged here stays.
//!
//! The fences are kept in `.git/tko`, for they change with every pass and are no news to anybody.

mod command;
mod commit;
mod merge;
mod message;
mod push;
mod repository;
mod tree;

use super::folder::{Folder, Written};
use super::{Job, aside};
use command::Command;
use repository::Repository;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tko_core::{Error, Result};
use tokio::sync::Mutex;

/// How many folders are committed before the index follows, although others wait.
const MOST_PENDING: usize = 256;

/// How to keep a repository.
#[derive(Clone, Debug)]
pub struct GitSettings {
    /// What must be checked out; a new repository gets this branch. Default: whatever is checked
    /// out, `main` in a new one.
    pub branch: Option<String>,
    /// Who commits. Default: `TKO`.
    pub author: String,
    /// The committer's address. Default: `tko@localhost`.
    pub email: String,
    /// Where to push each commit: anything that `git push` takes, to the branch of the same name.
    /// What others pushed there is merged, never overwritten. Default: nowhere.
    pub remote: Option<String>,
    /// The program. Default: `git`, searched in `PATH`.
    pub program: PathBuf,
    /// Longest run of one git command. Default: 60 s.
    pub timeout: Duration,
}

impl Default for GitSettings {
    fn default() -> Self {
        Self {
            branch: None,
            author: "TKO".to_owned(),
            email: "tko@localhost".to_owned(),
            remote: None,
            program: "git".into(),
            timeout: Duration::from_mins(1),
        }
    }
}

pub(super) struct Git {
    command: Command,
    /// Opened at the first pass; held by whoever writes or commits.
    repository: Mutex<Option<Repository>>,
    /// How many wait for it.
    waiting: AtomicUsize,
    /// The last commit that the remote is known to have; held by whoever pushes.
    pushed: Mutex<Option<String>>,
}

impl Git {
    pub(super) fn new(root: PathBuf, settings: GitSettings) -> Self {
        Self {
            command: Command { root, settings },
            repository: Mutex::new(None),
            waiting: AtomicUsize::new(0),
            pushed: Mutex::new(None),
        }
    }

    pub(super) async fn schedule(self: &Arc<Self>, job: Job) -> Result<(Job, Written)> {
        let git = self.clone();
        // A commit that was begun is ended, whoever still waits for it.
        let recorded = tokio::spawn(async move { git.record(job).await }).await;
        let done = recorded.map_err(|error| Error::internal("commit manifests", error))??;
        if let Some(remote) = &self.command.settings.remote {
            self.push(remote).await?;
        }
        Ok(done)
    }

    async fn record(&self, job: Job) -> Result<(Job, Written)> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let mut repository = self.repository.lock().await;
        let others = self.waiting.fetch_sub(1, Ordering::Relaxed) - 1;
        let repository = match &mut *repository {
            Some(repository) => repository,
            none => none.insert(Repository::open(&self.command).await?),
        };
        let held = repository.lock().await?;
        repository.end_merge(&self.command).await?;
        let folder = Folder {
            path: self.command.root.join(&job.name),
            // Git decides what reaches the disk.
            sync: false,
        };
        let path = repository.fence(&job.name);
        let (job, written) = aside(move || {
            let fence = job.fence().raise(&path)?;
            let written = folder.write(&job)?;
            drop(fence);
            if job.going {
                // The claim is the site's last.
                let _ = std::fs::remove_file(&path);
            }
            Ok((job, written))
        })
        .await?;
        repository.commit(&self.command, &job).await?;
        if (others == 0 || repository.pending.len() >= MOST_PENDING)
            && let Err(error) = repository.index(&self.command).await
        {
            // It is committed; only people who look at the work tree are told wrong.
            tracing::warn!(error = %error.chain(), "cannot bring git's index up to date; trying again later");
        }
        drop(held);
        Ok((job, written))
    }
}
