//! `tko export` and `tko import`: templates and sites as files or a git repository, and back.

use crate::connect::ConnectArgs;
use crate::console::{Console, to_stderr};
use anyhow::Context;
use clap::Args;
use std::path::{Path, PathBuf};
use tko_catalog::export::{export, import};
use tko_source::git_command;

/// The arguments of `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Folder to write to, or URL of a git repository to commit and push to; an earlier export is
    /// updated
    #[arg(value_name = "DIR|URL")]
    target: String,
    /// Commit the changes to the folder's git repository, and create one if there is none
    #[arg(long, value_name = "MESSAGE", num_args = 0..=1, default_missing_value = MESSAGE)]
    commit: Option<String>,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// The arguments of `import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Folder, or URL of a git repository, that tko export has written
    #[arg(value_name = "DIR|URL")]
    source: String,
    /// Print what would be registered; register nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// The default message of a commit, if `--commit` gives none.
const MESSAGE: &str = "Export of TKO";

/// A folder, or a temporary copy of a remote repository.
struct ExportFolder {
    path: PathBuf,
    copy: Option<tempfile::TempDir>,
}

impl ExportFolder {
    /// The folder of this name, or a copy of the repository that the URL names.
    fn open(text: &str) -> anyhow::Result<Self> {
        if !is_url(text) || Path::new(text).exists() {
            return Ok(Self {
                path: PathBuf::from(text),
                copy: None,
            });
        }
        let copy = tempfile::tempdir().context("cannot make a temporary folder")?;
        let path = copy.path().join("copy");
        let place = path.to_string_lossy();
        // Nothing of the history is needed. A new repository has no commit, which is not an error.
        let arguments = ["clone", "--quiet", "--depth=1", "--", text, &place];
        git(copy.path(), &arguments)?;
        Ok(Self {
            path,
            copy: Some(copy),
        })
    }
}

/// Whether a text names a remote repository: a URL, or `user@host:path`.
fn is_url(text: &str) -> bool {
    let is_short = text
        .split_once(':')
        .is_some_and(|(host, _)| !host.is_empty() && !host.contains('/'));
    text.contains("://") || is_short
}

/// A URL for messages: without its user and password, which may be a credential.
fn without_user(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = place.rsplit('@').next().unwrap_or(place);
            format!("{scheme}://{host}/{path}")
        }
        None => url.to_owned(),
    }
}

impl ExportArgs {
    pub(crate) async fn run(self, console: &Console<'_>) -> anyhow::Result<()> {
        let client = self.connect.client().await?;
        let folder = ExportFolder::open(&self.target)?;
        let message = || format!("exporting to {}", without_user(&self.target));
        let exported = console.during(message, export(&client, &folder.path)).await;
        let report = self.connect.explain(exported.map_err(Into::into)).await?;
        console.done(&format!(
            "exported {} templates and {} sites: {} files written, {} removed",
            report.templates, report.sites, report.written, report.removed
        ));
        let message = self.commit.as_deref();
        let message = message.or(folder.copy.is_some().then_some(MESSAGE));
        if let Some(message) = message {
            let done = commit(&folder.path, message)?;
            console.done(done);
        }
        if folder.copy.is_some() {
            git(&folder.path, &["push", "--quiet", "origin", "HEAD"])?;
            console.done(&format!("pushed to {}", without_user(&self.target)));
        }
        Ok(())
    }
}

impl ImportArgs {
    pub(crate) async fn run(self, console: &mut Console<'_>) -> anyhow::Result<()> {
        let client = self.connect.client().await?;
        let folder = ExportFolder::open(&self.source)?;
        let message = || format!("importing {}", without_user(&self.source));
        let importing = import(&client, &folder.path, self.dry_run);
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
            to_stderr(format_args!("{}: {}", problem.item, problem.why));
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
    let output = git_command("git")
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

#[cfg(test)]
mod tests {
    use super::{is_url, without_user};

    #[test]
    fn credentials_are_not_printed() {
        for (url, shown) in [
            ("https://u:token@h/a.git", "https://h/a.git"),
            ("https://h/a@b", "https://h/a@b"),
            ("git@h:a/b", "git@h:a/b"),
            ("folder", "folder"),
        ] {
            assert_eq!(without_user(url), shown);
        }
    }

    #[test]
    fn urls_are_not_folders() {
        for url in ["https://h/a.git", "file:///a", "git@h:a/b", "h:a"] {
            assert!(is_url(url), "{url}");
        }
        for folder in ["a", "/a/b", "./a:b", "a/b:c", ":a"] {
            assert!(!is_url(folder), "{folder}");
        }
    }
}
