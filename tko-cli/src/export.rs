//! `tko export` and `tko import`: templates and sites as files, and back.

use crate::connect::ConnectArgs;
use crate::console::Console;
use anyhow::Context;
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::Command;
use tko_catalog::export::{export, import};

/// The arguments of `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Folder to write to; files of an earlier export are brought up to date
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Commit the changes to the git repository that the folder is, and make one if it is none
    #[arg(long, value_name = "MESSAGE", num_args = 0..=1, default_missing_value = "Export of TKO")]
    commit: Option<String>,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// The arguments of `import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Folder that tko export has written
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Print what would be registered; register nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl ExportArgs {
    pub(crate) async fn run(self, console: &Console<'_>) -> anyhow::Result<()> {
        let client = self.connect.client().await?;
        let message = || format!("exporting to {}", self.folder.display());
        let exported = console.during(message, export(&client, &self.folder)).await;
        let report = self.connect.explain(exported.map_err(Into::into)).await?;
        console.done(&format!(
            "exported {} templates and {} sites: {} files written, {} removed",
            report.templates, report.sites, report.written, report.removed
        ));
        if let Some(message) = &self.commit {
            let done = commit(&self.folder, message)?;
            console.done(done);
        }
        Ok(())
    }
}

impl ImportArgs {
    pub(crate) async fn run(self, console: &mut Console<'_>) -> anyhow::Result<()> {
        let client = self.connect.client().await?;
        let message = || format!("importing {}", self.folder.display());
        let importing = import(&client, &self.folder, self.dry_run);
        let imported = console.during(message, importing).await;
        let report = self.connect.explain(imported.map_err(Into::into)).await?;
        if self.dry_run {
            for (verb, keys) in [("create", &report.created), ("change", &report.changed)] {
                for key in keys {
                    writeln!(console.out, "would {verb} {key}")?;
                }
            }
        }
        console.done(&format!(
            "{}{} created, {} changed, {} unchanged",
            if self.dry_run {
                "dry run: "
            } else {
                "imported: "
            },
            report.created.len(),
            report.changed.len(),
            report.unchanged
        ));
        for problem in &report.problems {
            eprintln!("{}: {}", problem.item, problem.why);
        }
        if !report.problems.is_empty() {
            anyhow::bail!("{} could not be imported", report.problems.len());
        }
        Ok(())
    }
}

/// Commits everything in a folder. Returns what was done.
fn commit(folder: &Path, message: &str) -> anyhow::Result<&'static str> {
    if !folder.join(".git").exists() {
        git(folder, &["init", "--quiet"])?;
    }
    git(folder, &["add", "--all"])?;
    let is_clean = git(folder, &["status", "--porcelain"])?.is_empty();
    if is_clean {
        return Ok("nothing to commit");
    }
    let has_name = git(folder, &["config", "user.email"]).is_ok_and(|email| !email.is_empty());
    let mut arguments = vec!["-c", "user.name=tko", "-c", "user.email=tko@localhost"];
    if has_name {
        arguments.clear();
    }
    arguments.extend(["commit", "--quiet", "--message", message]);
    git(folder, &arguments)?;
    Ok("committed")
}

/// Runs git in a folder, and returns what it prints.
fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .output()
        .context("cannot run git; install it")?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        anyhow::bail!("git failed in {}: {}", folder.display(), errors.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
