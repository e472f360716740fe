//! Merges commits that others pushed.

use super::super::blocking::blocking;
use super::command::GitCommand;
use super::repository::{REMOTE_REF, Repository, head};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use tko_core::{Error, Result};

/// File that marks a merge in progress as TKO's. It contains the [`MergedFiles`] in JSON.
const MERGING: &str = "merging";

/// The files that a merge may write, and that can be restored without loss if it is interrupted.
#[derive(Deserialize, Serialize)]
struct MergedFiles {
    /// The commit before the merge.
    head: String,
    /// Files that the merge adds, and that do not exist yet.
    added: Vec<String>,
    /// Files that the merge changes or removes, and that are as in the last commit.
    changed: Vec<String>,
}

impl MergedFiles {
    /// The files of a merge of the fetched branch.
    async fn find(command: &GitCommand) -> Result<Self> {
        let theirs = [
            "diff",
            "--name-status",
            "--no-renames",
            "-z",
            "HEAD",
            REMOTE_REF,
        ];
        let theirs = command.run(&theirs).await?;
        // Git refuses to merge over changes that are not committed, so they are not the merge's.
        let written = ["diff", "--name-only", "--no-renames", "-z", "HEAD"];
        let written = command.run(&written).await?;
        let staged = [
            "diff",
            "--cached",
            "--name-only",
            "--no-renames",
            "-z",
            "HEAD",
        ];
        let staged = command.run(&staged).await?;
        let uncommitted: BTreeSet<&str> = written.split('\0').chain(staged.split('\0')).collect();
        let mut files = Self {
            head: head(command).await?.unwrap_or_default(),
            added: Vec::new(),
            changed: Vec::new(),
        };
        let mut parts = theirs.split('\0');
        while let (Some(status), Some(path)) = (parts.next(), parts.next()) {
            if status != "A" {
                if !uncommitted.contains(path) {
                    files.changed.push(path.to_owned());
                }
            } else if command.root.join(path).symlink_metadata().is_err() {
                files.added.push(path.to_owned());
            }
        }
        Ok(files)
    }

    /// Restores the files in the index and the work tree.
    async fn restore(self, command: &GitCommand) -> Result<()> {
        // After the commit of the merge, they are part of it.
        if head(command).await?.as_ref() != Some(&self.head) {
            return Ok(());
        }
        let listed = ["--pathspec-from-file=-", "--pathspec-file-nul"];
        if !self.added.is_empty() {
            let remove = ["rm", "--quiet", "--cached", "--force", "--ignore-unmatch"];
            let remove = [&remove[..], &listed[..]].concat();
            command.run_with(&remove, &self.added.join("\0")).await?;
            let (root, added) = (command.root.clone(), self.added);
            blocking(move || added.iter().try_for_each(|file| remove_file(&root, file))).await?;
        }
        if !self.changed.is_empty() {
            let checkout = ["checkout", "--quiet", listed[0], listed[1], "HEAD"];
            let files = self.changed.join("\0");
            command.run_with(&checkout, &files).await?;
        }
        Ok(())
    }
}

/// Removes a file if it exists, and the folders that are empty without it.
fn remove_file(root: &Path, file: &str) -> Result<()> {
    let path = root.join(file);
    let is_file = path.symlink_metadata().is_ok_and(|found| !found.is_dir());
    if !is_file {
        return Ok(());
    }
    std::fs::remove_file(&path)
        .map_err(|error| Error::unavailable(format!("remove {}", path.display()), error))?;
    for folder in path.ancestors().skip(1).take_while(|at| *at != root) {
        if std::fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}

impl Repository {
    /// Merges the fetched branch. If both sides changed the same lines, the local side wins,
    /// because it is what the sites should run.
    pub(super) async fn merge(&mut self, command: &GitCommand, remote: &str) -> Result<()> {
        // An earlier one may have been killed.
        self.end_merge(command).await?;
        // A merge needs an index that matches the last commit.
        self.index(command).await?;
        let files = MergedFiles::find(command).await?;
        let mark = self.own.join(MERGING);
        let failed = |error| Error::unavailable(format!("write {}", mark.display()), error);
        tokio::fs::write(&mark, json!(files).to_string())
            .await
            .map_err(failed)?;
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

    /// Aborts an interrupted merge of TKO's, because it would prevent commits, and removes what it
    /// wrote, because Git would refuse to merge over that. A merge that somebody else started is
    /// left alone.
    pub(super) async fn end_merge(&self, command: &GitCommand) -> Result<()> {
        let mark = self.own.join(MERGING);
        if !mark.exists() {
            return Ok(());
        }
        if self.git.join("MERGE_HEAD").exists() {
            command.run(&["merge", "--abort"]).await?;
        } else {
            let read = tokio::fs::read(&mark).await;
            let content = read
                .map_err(|error| Error::unavailable(format!("read {}", mark.display()), error))?;
            match serde_json::from_slice::<MergedFiles>(&content) {
                Ok(files) => files.restore(command).await?,
                // A loss of power damaged it.
                Err(error) => tracing::warn!(
                    path = %mark.display(),
                    %error,
                    "cannot read which files an interrupted merge may have written; if Git refuses \
                     the next merge because of such files, restore or remove them"
                ),
            }
        }
        let removed = tokio::fs::remove_file(&mark).await;
        removed.map_err(|error| Error::unavailable(format!("remove {}", mark.display()), error))
    }
}
