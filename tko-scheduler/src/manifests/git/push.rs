//! Pushing: commits of several sites go together, and what others pushed is merged.

use super::Git;
use super::repository::{self, head};
use tko_core::{Error, Result};

/// How often someone else may be quicker.
const TRIES: u32 = 5;

impl Git {
    /// Brings the remote to our last commit, at least.
    pub(super) async fn push(&self, remote: &str) -> Result<()> {
        let mut pushed = self.pushed.lock().await;
        for _ in 0..TRIES {
            let Some(ours) = head(&self.command).await? else {
                return Ok(());
            };
            if pushed.as_ref() == Some(&ours) {
                return Ok(());
            }
            let branch = self.branch().await?;
            let what = format!("{ours}:refs/heads/{branch}");
            let arguments = ["push", "--porcelain", "--", remote, &what];
            let said = self.command.ask(&arguments, "").await?;
            if said.success {
                *pushed = Some(ours);
                return Ok(());
            }
            // A line that begins with `!` is a reference that was refused; in brackets, by whom.
            let outdated = said
                .out
                .lines()
                .any(|line| line.starts_with('!') && line.contains("[rejected]"));
            if !outdated {
                return Err(self.command.failed(&arguments, &said));
            }
            self.merge(remote).await?;
        }
        Err(Error::unavailable(
            format!("push to {remote}"),
            "others push there all the time",
        ))
    }

    async fn branch(&self) -> Result<String> {
        let repository = self.repository.lock().await;
        let branch = repository.as_ref().map(|r| r.branch.clone());
        branch.ok_or_else(|| Error::internal("push", "the repository is not open"))
    }

    async fn merge(&self, remote: &str) -> Result<()> {
        // The repository is locked for what is done to it, not for what comes over the network;
        // nobody else of this process fetches, as there is one push at a time.
        let branch = self.branch().await?;
        repository::fetch(&self.command, remote, &branch).await?;
        let mut repository = self.repository.lock().await;
        let Some(repository) = &mut *repository else {
            return Ok(());
        };
        let _lock = repository.lock().await?;
        repository.merge(&self.command, remote).await
    }
}
