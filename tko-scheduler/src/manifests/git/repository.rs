//! The repository: opened or created, and locked.

use super::command::GitCommand;
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::Duration;
use tko_core::{Error, Result};

/// The branch of a new repository.
const BRANCH: &str = "main";

/// Reference of the remote's branch while it is merged.
pub(super) const REMOTE_REF: &str = "refs/tko/theirs";

/// Interval at which a lock of another process is checked.
const LOCK_CHECK: Duration = Duration::from_millis(50);

/// Maximum number of checks, 20 s in total.
const MAX_LOCK_CHECKS: u32 = 400;

/// An open repository.
pub(super) struct Repository {
    /// The folder `.git`.
    pub(super) git: PathBuf,
    /// The folder `.git/tko`.
    pub(super) own: PathBuf,
    pub(super) branch: String,
    /// Folders that are committed but not in the index yet.
    pub(super) pending: Vec<String>,
}

/// Locks other processes out until it is dropped.
pub(super) struct RepositoryLock {
    #[expect(dead_code, reason = "holds the lock")]
    file: File,
}

impl Repository {
    /// Opens the repository, or creates it, from the branch of the remote if that exists.
    pub(super) async fn open(command: &GitCommand) -> Result<Self> {
        let root = &command.root;
        let failed = |error| Error::unavailable(format!("create {}", root.display()), error);
        tokio::fs::create_dir_all(root).await.map_err(failed)?;
        let wanted = command.settings.branch.as_deref();
        if !root.join(".git").exists() {
            create(command, wanted.unwrap_or(BRANCH)).await?;
        }
        let git = command.run(&["rev-parse", "--absolute-git-dir"]).await?;
        let git = PathBuf::from(git.trim_end());
        let own = git.join("tko");
        tokio::fs::create_dir_all(own.join("sites"))
            .await
            .map_err(failed)?;
        let head = command
            .ask(&["symbolic-ref", "--short", "HEAD"], "")
            .await?;
        let branch = head.stdout.trim_end().to_owned();
        if !head.success || wanted.is_some_and(|wanted| wanted != branch) {
            let is = if head.success { &branch } else { "no branch" };
            let wanted = wanted.unwrap_or("a branch");
            return Err(Error::bad(
                "manifests",
                format!(
                    "the repository {} has {is} checked out; check out {wanted}",
                    root.display()
                ),
            ));
        }
        let mut repository = Self {
            git,
            own,
            branch,
            pending: Vec::new(),
        };
        repository.recall(command).await?;
        if let Some(remote) = &command.settings.remote {
            repository.adopt(command, remote).await?;
        }
        Ok(repository)
    }

    /// Starts a new repository from the branch of the remote: unrelated histories cannot be pushed.
    async fn adopt(&self, command: &GitCommand, remote: &str) -> Result<()> {
        if head(command).await?.is_some() {
            return Ok(());
        }
        let _lock = self.lock().await?;
        let branch = format!("refs/heads/{}", self.branch);
        let there = command.run(&["ls-remote", "--", remote, &branch]).await?;
        if there.trim().is_empty() {
            return Ok(());
        }
        fetch(command, remote, &self.branch).await?;
        command
            .run(&["reset", "--quiet", "--hard", REMOTE_REF])
            .await?;
        Ok(())
    }

    /// Whether the folders that [`open`](Self::open) found or created still exist.
    pub(super) fn is_there(&self, command: &GitCommand) -> bool {
        command.root.join(".git").exists() && self.own.join("sites").is_dir()
    }

    /// The fence file of a site.
    pub(super) fn fence(&self, name: &str) -> PathBuf {
        self.own.join("sites").join(name)
    }

    /// Locks the work tree and the index against other processes.
    pub(super) async fn lock(&self) -> Result<RepositoryLock> {
        let path = self.own.join("lock");
        let failed =
            |error: std::io::Error| Error::unavailable(format!("lock {}", path.display()), error);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        for _ in 0..MAX_LOCK_CHECKS {
            match file.try_lock() {
                Ok(()) => return Ok(RepositoryLock { file }),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_CHECK).await,
                // Some file systems have no locks; the lock files of Git then have to suffice.
                Err(TryLockError::Error(error))
                    if error.kind() == std::io::ErrorKind::Unsupported =>
                {
                    return Ok(RepositoryLock { file });
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        Err(Error::unavailable(
            format!("lock {}", path.display()),
            "another process has held it for 20 s",
        ))
    }
}

/// Creates the repository under a temporary name and moves it into place, so that no other process
/// finds a partial one.
async fn create(command: &GitCommand, branch: &str) -> Result<()> {
    let root = &command.root;
    let failed =
        |error| Error::unavailable(format!("create {}", root.join(".git").display()), error);
    let aside = tempfile::Builder::new()
        .prefix(".tko-")
        .tempdir_in(root)
        .map_err(failed)?;
    let name = aside.path().file_name().and_then(|name| name.to_str());
    let branch = format!("--initial-branch={branch}");
    let name = name.unwrap_or_default();
    // The objects contain Secrets, whose files in the work tree have this mode, too.
    let arguments = ["init", "--quiet", "--shared=0600", &branch, "--", name];
    command.run(&arguments).await?;
    let moved = tokio::fs::rename(aside.path().join(".git"), root.join(".git")).await;
    match moved {
        // Another process was faster.
        Err(_) if root.join(".git").exists() => Ok(()),
        moved => moved.map_err(failed),
    }
}

/// Fetches a branch of the remote.
pub(super) async fn fetch(command: &GitCommand, remote: &str, branch: &str) -> Result<()> {
    let refspec = format!("+refs/heads/{branch}:{REMOTE_REF}");
    let arguments = ["fetch", "--quiet", "--no-tags", "--", remote, &refspec];
    command.run(&arguments).await.map(|_| ())
}

/// The last commit; `None` if there is none yet.
pub(super) async fn head(command: &GitCommand) -> Result<Option<String>> {
    let output = command
        .ask(&["rev-parse", "--quiet", "--verify", "HEAD"], "")
        .await?;
    Ok(output.success.then(|| output.stdout.trim_end().to_owned()))
}
