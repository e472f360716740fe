//! Pushes commits, and merges commits that others pushed.

use super::command::GitCommand;
use super::repository::{Repository, fetch, head};
use std::time::Duration;
use tko_core::{Error, Result};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Maximum number of pushes in a row that others may overtake.
const MAX_ATTEMPTS: u32 = 5;

/// Age from which the result of a push is not trusted: the remote may have been created again, or
/// restored from a backup.
const MAX_AGE: Duration = Duration::from_mins(1);

/// Age from which a failed push is tried again. It is short, because every site of the repository
/// fails with it.
const RETRY: Duration = Duration::from_secs(5);

/// Pushes the commits of a repository. One push includes the commits of several sites.
#[derive(Default)]
pub(super) struct Pusher {
    /// The last commit that was pushed; locked during a push.
    pushed: Mutex<Option<PushedCommit>>,
}

/// A commit that the remote got.
struct PushedCommit {
    id: String,
    /// When it was last pushed, or when that failed.
    checked: Instant,
    /// Why it could not be pushed again.
    failure: Option<String>,
}

impl PushedCommit {
    /// The result of pushing a commit, if it is known and recent.
    ///
    /// Failures are kept for a moment, too: during an outage of the remote, not every site waits for
    /// a push.
    fn result(&self, commit: &str, remote: &str) -> Option<Result<()>> {
        let age = if self.failure.is_some() {
            RETRY
        } else {
            MAX_AGE
        };
        if self.id != commit || self.checked.elapsed() >= age {
            return None;
        }
        Some(match &self.failure {
            None => Ok(()),
            Some(why) => Err(Error::unavailable(format!("push to {remote}"), why.clone())),
        })
    }
}

impl Pusher {
    /// Brings the remote to the last local commit or a later one. A commit that was pushed is pushed
    /// again after a while, because the remote may have lost it.
    ///
    /// # Errors
    ///
    /// `Unavailable`: a command failed, or others kept pushing.
    pub(super) async fn push(
        &self,
        command: &GitCommand,
        repository: &Mutex<Option<Repository>>,
        remote: &str,
    ) -> Result<()> {
        let mut pushed = self.pushed.lock().await;
        for _ in 0..MAX_ATTEMPTS {
            let Some(ours) = head(command).await? else {
                return Ok(());
            };
            let known = pushed.as_ref().and_then(|last| last.result(&ours, remote));
            if let Some(result) = known {
                return result;
            }
            let branch = branch(repository).await?;
            match push_once(command, remote, &ours, &branch).await {
                Ok(true) => {
                    *pushed = Some(PushedCommit {
                        id: ours,
                        checked: Instant::now(),
                        failure: None,
                    });
                    return Ok(());
                }
                Ok(false) => merge(command, repository, remote, &branch).await?,
                Err(error) => {
                    if let Some(last) = pushed.as_mut()
                        && last.id == ours
                    {
                        last.checked = Instant::now();
                        last.failure = Some(error.chain());
                    }
                    return Err(error);
                }
            }
        }
        Err(Error::unavailable(
            format!("push to {remote}"),
            "others push there all the time",
        ))
    }
}

/// Pushes a commit. Returns false if the remote has commits that are to be merged first.
async fn push_once(command: &GitCommand, remote: &str, commit: &str, branch: &str) -> Result<bool> {
    let refspec = format!("{commit}:refs/heads/{branch}");
    let arguments = ["push", "--porcelain", "--", remote, &refspec];
    let output = command.ask(&arguments, "").await?;
    if output.success {
        return Ok(true);
    }
    // A line that starts with `!` is a refused reference; the brackets show which side refused it.
    let outdated = output
        .stdout
        .lines()
        .any(|line| line.starts_with('!') && line.contains("[rejected]"));
    if outdated {
        Ok(false)
    } else {
        Err(command.failed(&arguments, &output))
    }
}

async fn branch(repository: &Mutex<Option<Repository>>) -> Result<String> {
    let repository = repository.lock().await;
    let branch = repository.as_ref().map(|r| r.branch.clone());
    branch.ok_or_else(|| Error::internal("push", "the repository is not open"))
}

async fn merge(
    command: &GitCommand,
    repository: &Mutex<Option<Repository>>,
    remote: &str,
    branch: &str,
) -> Result<()> {
    // Fetched without the lock of the repository, because the network may be slow. No other task of
    // this process fetches, because pushes are serialized.
    fetch(command, remote, branch).await?;
    let mut repository = repository.lock().await;
    let Some(repository) = &mut *repository else {
        return Ok(());
    };
    let _lock = repository.lock().await?;
    repository.merge(command, remote).await
}
