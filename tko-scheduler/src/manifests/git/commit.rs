//! Commits the folder of a site.
//!
//! Commits bypass the index. It lists every file of the repository and is rewritten for each
//! change, so ten thousand sites would take hours. `git fast-import` reads a commit as text and
//! touches only one folder. The index is updated later, for people who look at the work tree.

use super::super::job::SiteManifests;
use super::command::GitCommand;
use super::message::{DeploymentChanges, message};
use super::repository::{Repository, head};
use super::tree::{self, Tree};
use std::fmt::Write;
use tko_core::{Error, Result};

/// File that lists the folders that are not in the index yet, for the next process.
const UNINDEXED: &str = "unindexed";

impl Repository {
    /// Commits the folder of a site, if it differs from the last commit.
    pub(super) async fn commit(&mut self, command: &GitCommand, job: &SiteManifests) -> Result<()> {
        let name = job.name.as_str();
        let head = head(command).await?;
        let before = match head {
            Some(_) => tree::committed(command, name).await?,
            None => Tree::new(),
        };
        let after = tree::written(command, name).await?;
        if before == after {
            return Ok(());
        }
        self.defer(name).await?;
        let changes = DeploymentChanges::of(&before, &after, job);
        let text = message(&job.site, job.deleting, &changes);
        let committer = format!(
            "{} <{}>",
            plain(&command.settings.author),
            plain(&command.settings.email)
        );
        let mut input = String::new();
        let mut line = |text: std::fmt::Arguments<'_>| {
            let written = input.write_fmt(format_args!("{text}\n"));
            written.expect("writing into memory succeeds");
        };
        line(format_args!("commit refs/heads/{}", self.branch));
        line(format_args!("committer {committer} now"));
        line(format_args!("data {}\n{text}", text.len()));
        if let Some(head) = head {
            line(format_args!("from {head}"));
        }
        line(format_args!("D {name}"));
        for (path, object) in &after {
            line(format_args!("M {object} {path}"));
        }
        line(format_args!("done"));
        let import = ["fast-import", "--quiet", "--done", "--date-format=now"];
        command.run_with(&import, &input).await.map(|_| ())
    }

    /// Updates the index to the last commit. Changes that people staged elsewhere are kept.
    pub(super) async fn index(&mut self, command: &GitCommand) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.pending.sort();
        self.pending.dedup();
        let (there, gone): (Vec<_>, Vec<_>) = self
            .pending
            .iter()
            .map(String::as_str)
            .partition(|name| command.root.join(name).exists());
        let listed = ["--pathspec-from-file=-", "--pathspec-file-nul"];
        if !there.is_empty() {
            let add = ["add", "--all", "--force", listed[0], listed[1]];
            command.run_with(&add, &there.join("\0")).await?;
        }
        if !gone.is_empty() {
            let remove = ["rm", "-r", "--quiet", "--cached", "--ignore-unmatch"];
            let remove = [&remove[..], &listed[..]].concat();
            command.run_with(&remove, &gone.join("\0")).await?;
        }
        self.pending.clear();
        let list = self.own.join(UNINDEXED);
        match tokio::fs::remove_file(&list).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let what = format!("remove {}", list.display());
                Err(Error::unavailable(what, error))
            }
            _ => Ok(()),
        }
    }

    /// Records, before a commit, that the index has to be updated after it.
    async fn defer(&mut self, name: &str) -> Result<()> {
        self.pending.push(name.to_owned());
        let mut text = self.pending.join("\n");
        text.push('\n');
        let list = self.own.join(UNINDEXED);
        let written = tokio::fs::write(&list, text).await;
        written.map_err(|error| Error::unavailable(format!("write {}", list.display()), error))
    }

    /// Reads which folders another process left to be added to the index.
    pub(super) async fn recall(&mut self, command: &GitCommand) -> Result<()> {
        let list = self.own.join(UNINDEXED);
        match tokio::fs::read_to_string(&list).await {
            Ok(text) => self.pending.extend(text.lines().map(str::to_owned)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let what = format!("read {}", list.display());
                return Err(Error::unavailable(what, error));
            }
        }
        tracing::debug!(
            folders = self.pending.len(),
            repository = %command.root.display(),
            "opened the repository of manifests"
        );
        Ok(())
    }
}

/// Removes characters that would end a name or an address.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() && !matches!(c, '<' | '>'))
        .collect()
}
