//! The repository: opened or made, and locked.

use super::command::Command;
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::Duration;
use tko_core::{Error, Result};

/// The branch of a new repository.
const BRANCH: &str = "main";

/// Where the remote's branch is kept while it is merged.
pub(super) const THEIRS: &str = "refs/tko/theirs";

/// How often to look whether another process is done.
const LOOK: Duration = Duration::from_millis(50);

/// How often in all.
const LOOKS: u32 = 400;

pub(super) struct Repository {
    /// The repository's own folder.
    pub(super) git: PathBuf,
    /// In it, TKO's.
    pub(super) own: PathBuf,
    pub(super) branch: String,
    /// Folders that were committed and are not in the index yet.
    pub(super) pending: Vec<String>,
}

/// Other processes keep off until it is dropped.
pub(super) struct Lock {
    #[expect(dead_code, reason = "holds the lock")]
    file: File,
}

impl Repository {
    /// Opens the repository, or makes it; with a remote that has the branch, from that.
    pub(super) async fn open(command: &Command) -> Result<Self> {
        let root = &command.root;
        let trouble = |error| Error::unavailable(format!("make {}", root.display()), error);
        tokio::fs::create_dir_all(root).await.map_err(trouble)?;
        let wanted = command.settings.branch.as_deref();
        if !root.join(".git").exists() {
            make(command, wanted.unwrap_or(BRANCH)).await?;
        }
        let git = command.run(&["rev-parse", "--absolute-git-dir"]).await?;
        let git = PathBuf::from(git.trim_end());
        let own = git.join("tko");
        tokio::fs::create_dir_all(own.join("sites"))
            .await
            .map_err(trouble)?;
        let head = command
            .ask(&["symbolic-ref", "--short", "HEAD"], "")
            .await?;
        let branch = head.out.trim_end().to_owned();
        if !head.success || wanted.is_some_and(|wanted| wanted != branch) {
            let is = if head.success { &branch } else { "no branch" };
            let wanted = wanted.unwrap_or("a branch");
            return Err(Error::bad(
                "manifests",
                format!(
                    "the repository {} has {is} checked out; check out {wanted} there",
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

    /// Begins a new repository with what the remote has: histories that begin apart cannot be
    /// pushed.
    async fn adopt(&self, command: &Command, remote: &str) -> Result<()> {
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
        command.run(&["reset", "--quiet", "--hard", THEIRS]).await?;
        Ok(())
    }

    /// The fence file of a site.
    pub(super) fn fence(&self, name: &str) -> PathBuf {
        self.own.join("sites").join(name)
    }

    /// Keeps other processes off the work tree and the index.
    pub(super) async fn lock(&self) -> Result<Lock> {
        let path = self.own.join("lock");
        let trouble =
            |error: std::io::Error| Error::unavailable(format!("lock {}", path.display()), error);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(trouble)?;
        for _ in 0..LOOKS {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { file }),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOOK).await,
                // Some file systems have no locks: git's own then has to do.
                Err(TryLockError::Error(error))
                    if error.kind() == std::io::ErrorKind::Unsupported =>
                {
                    return Ok(Lock { file });
                }
                Err(TryLockError::Error(error)) => return Err(trouble(error)),
            }
        }
        Err(Error::unavailable(
            format!("lock {}", path.display()),
            "another process has it for too long",
        ))
    }
}

/// Makes the repository elsewhere and moves it into place, so that another process finds a whole
/// one or none.
async fn make(command: &Command, branch: &str) -> Result<()> {
    let root = &command.root;
    let trouble =
        |error| Error::unavailable(format!("make {}", root.join(".git").display()), error);
    let aside = tempfile::Builder::new()
        .prefix(".tko-")
        .tempdir_in(root)
        .map_err(trouble)?;
    let name = aside.path().file_name().and_then(|name| name.to_str());
    let branch = format!("--initial-branch={branch}");
    let arguments = ["init", "--quiet", &branch, "--", name.unwrap_or_default()];
    command.run(&arguments).await?;
    let moved = tokio::fs::rename(aside.path().join(".git"), root.join(".git")).await;
    match moved {
        // Another process was quicker.
        Err(_) if root.join(".git").exists() => Ok(()),
        moved => moved.map_err(trouble),
    }
}

/// Fetches a branch of the remote, to be adopted or merged.
pub(super) async fn fetch(command: &Command, remote: &str, branch: &str) -> Result<()> {
    let what = format!("+refs/heads/{branch}:{THEIRS}");
    let arguments = ["fetch", "--quiet", "--no-tags", "--", remote, &what];
    command.run(&arguments).await.map(|_| ())
}

/// The last commit; `None`: there is none yet.
pub(super) async fn head(command: &Command) -> Result<Option<String>> {
    let said = command
        .ask(&["rev-parse", "--quiet", "--verify", "HEAD"], "")
        .await?;
    Ok(said.success.then(|| said.out.trim_end().to_owned()))
}
