//! Merges commits that others pushed.

use super::command::GitCommand;
use super::repository::{REMOTE_REF, Repository};
use tko_core::{Error, Result};

/// File that marks a merge in progress as TKO's.
const MERGING: &str = "merging";

impl Repository {
    /// Merges the fetched branch. If both sides changed the same lines, the local side wins,
    /// because it is what the sites should run.
    pub(super) async fn merge(&mut self, command: &GitCommand, remote: &str) -> Result<()> {
        // A merge needs an index that matches the last commit.
        self.index(command).await?;
        let mark = self.own.join(MERGING);
        let failed = |error| Error::unavailable(format!("write {}", mark.display()), error);
        tokio::fs::write(&mark, "").await.map_err(failed)?;
        let arguments = [
            "merge",
            "--quiet",
            "--no-edit",
            "--strategy-option=ours",
            REMOTE_REF,
        ];
        let output = command.ask(&arguments, "").await?;
        if !output.success {
            self.end_merge(command).await?;
            let why = format!(
                "{}{}; merge it manually in {}",
                output.stdout,
                output.stderr,
                command.root.display()
            );
            let what = format!("merge the commits that others pushed to {remote}");
            return Err(Error::unavailable(what, why));
        }
        tokio::fs::remove_file(&mark).await.map_err(failed)
    }

    /// Aborts an interrupted merge of TKO's, because it would prevent commits. A merge that somebody
    /// else started is left alone.
    pub(super) async fn end_merge(&self, command: &GitCommand) -> Result<()> {
        let mark = self.own.join(MERGING);
        if !mark.exists() {
            return Ok(());
        }
        if self.git.join("MERGE_HEAD").exists() {
            command.run(&["merge", "--abort"]).await?;
        }
        let removed = tokio::fs::remove_file(&mark).await;
        removed.map_err(|error| Error::unavailable(format!("remove {}", mark.display()), error))
    }
}
