//! Merging what others pushed.

use super::command::Command;
use super::repository::{Repository, THEIRS};
use tko_core::{Error, Result};

/// Says that a merge that is going on is ours.
const MERGING: &str = "merging";

impl Repository {
    /// Merges what was fetched. Where both changed the same lines, ours count: they are what the
    /// sites are to run.
    pub(super) async fn merge(&mut self, command: &Command, remote: &str) -> Result<()> {
        // A merge wants the index as it is committed.
        self.index(command).await?;
        let mark = self.own.join(MERGING);
        let trouble = |error| Error::unavailable(format!("write {}", mark.display()), error);
        tokio::fs::write(&mark, "").await.map_err(trouble)?;
        let arguments = [
            "merge",
            "--quiet",
            "--no-edit",
            "--strategy-option=ours",
            THEIRS,
        ];
        let said = command.ask(&arguments, "").await?;
        if !said.success {
            self.end_merge(command).await?;
            let why = format!(
                "{}{}; merge it by hand in {}",
                said.out,
                said.error,
                command.root.display()
            );
            let what = format!("merge what others pushed to {remote}");
            return Err(Error::unavailable(what, why));
        }
        tokio::fs::remove_file(&mark).await.map_err(trouble)
    }

    /// Gives up a merge of ours that was interrupted: nothing can be committed in the middle of
    /// one. A merge by somebody else is left alone.
    pub(super) async fn end_merge(&self, command: &Command) -> Result<()> {
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
