//! Pushes commits, and merges commits that others pushed.

use super::command::GitCommand;
use super::repository::{Repository, fetch, head};
use tko_core::{Error, Result};
use tokio::sync::Mutex;

/// Maximum number of pushes in a row that others may overtake.
const MAX_ATTEMPTS: u32 = 5;

/// Pushes the commits of a repository. One push includes the commits of several sites.
#[derive(Default)]
pub(super) struct Pusher {
    /// The last commit that is known to be pushed; locked during a push.
    pushed: Mutex<Option<String>>,
}

impl Pusher {
    /// Brings the remote to the last local commit or a later one.
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
            if pushed.as_ref() == Some(&ours) {
                return Ok(());
            }
            let branch = branch(repository).await?;
            let refspec = format!("{ours}:refs/heads/{branch}");
            let arguments = ["push", "--porcelain", "--", remote, &refspec];
            let output = command.ask(&arguments, "").await?;
            if output.success {
                *pushed = Some(ours);
                return Ok(());
            }
            // A line that starts with `!` is a refused reference; the brackets show which side
            // refused it.
            let outdated = output
                .stdout
                .lines()
                .any(|line| line.starts_with('!') && line.contains("[rejected]"));
            if !outdated {
                return Err(command.failed(&arguments, &output));
            }
            merge(command, repository, remote, &branch).await?;
        }
        Err(Error::unavailable(
            format!("push to {remote}"),
            "others push there all the time",
        ))
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
