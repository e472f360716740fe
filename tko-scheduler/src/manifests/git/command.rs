//! Runs `git`: without prompts, hooks, signatures and conversions.

use super::settings::GitSettings;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tko_core::{Error, Result};
use tko_source::git_command;
use tokio::io::AsyncWriteExt;

/// Age from which a lock file of Git counts as left over from a killed process. No command holds a
/// lock for that long, and nobody else should work in this repository.
const STALE: Duration = Duration::from_mins(1);

/// Settings for `-c`: content is committed unchanged, and nothing else happens.
const CONFIG: [&str; 8] = [
    "core.hooksPath=/dev/null",
    "core.autocrlf=false",
    "core.safecrlf=false",
    "core.quotePath=false",
    "core.attributesFile=/dev/null",
    "core.fsmonitor=false",
    "commit.gpgSign=false",
    "advice.detachedHead=false",
];

/// Runs commands in one repository.
pub(super) struct GitCommand {
    pub(super) root: PathBuf,
    pub(super) settings: GitSettings,
}

/// The output of a command that ran to its end.
pub(super) struct GitOutput {
    pub(super) success: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl GitCommand {
    /// Runs a command that must succeed. Returns its standard output.
    ///
    /// # Errors
    ///
    /// `Unavailable`: it cannot be started, took too long, or failed.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<String> {
        self.run_with(arguments, "").await
    }

    /// Like [`run`](Self::run), with this standard input.
    pub(super) async fn run_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut output = self.ask(arguments, input).await?;
        if !output.success && stale_lock(&output.stderr).is_some_and(|lock| remove_stale(&lock)) {
            output = self.ask(arguments, input).await?;
        }
        if output.success {
            Ok(output.stdout)
        } else {
            Err(self.failed(arguments, &output))
        }
    }

    /// Runs a command that may fail.
    pub(super) async fn ask(&self, arguments: &[&str], input: &str) -> Result<GitOutput> {
        let mut command = tokio::process::Command::from(git_command(&self.settings.program));
        for setting in CONFIG {
            command.args(["-c", setting]);
        }
        command
            .arg("-C")
            .arg(&self.root)
            .args(arguments)
            .env("GIT_EDITOR", ":")
            .env("GIT_LITERAL_PATHSPECS", "1")
            .env("GIT_AUTHOR_NAME", &self.settings.author)
            .env("GIT_AUTHOR_EMAIL", &self.settings.email)
            .env("GIT_COMMITTER_NAME", &self.settings.author)
            .env("GIT_COMMITTER_EMAIL", &self.settings.email)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let limit = self.settings.timeout;
        match tokio::time::timeout(limit, output_of(command, input)).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                let program = self.settings.program.display();
                Err(Error::unavailable(
                    format!("run {program}"),
                    "the program does not exist; install git, set its path, or write the manifests \
                     into a directory instead",
                ))
            }
            Ok(Err(error)) => Err(Error::unavailable(self.action(arguments), error)),
            Err(_) => Err(Error::unavailable(
                self.action(arguments),
                format!(
                    "it did not finish within {} s and was stopped",
                    limit.as_secs_f64()
                ),
            )),
        }
    }

    pub(super) fn failed(&self, arguments: &[&str], output: &GitOutput) -> Error {
        let error = output.stderr.trim();
        let why = if error.is_empty() {
            "it failed without a message"
        } else {
            error
        };
        Error::unavailable(self.action(arguments), why)
    }

    fn action(&self, arguments: &[&str]) -> String {
        let verb = arguments.first().copied().unwrap_or_default();
        format!("run git {verb} in {}", self.root.display())
    }
}

async fn output_of(
    mut command: tokio::process::Command,
    input: &str,
) -> std::io::Result<GitOutput> {
    let mut child = command.spawn()?;
    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A command that stops reading reports the reason itself.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output?;
    Ok(GitOutput {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The lock file in the error message of a command.
fn stale_lock(error: &str) -> Option<PathBuf> {
    let (_, rest) = error.split_once("Unable to create '")?;
    let (path, rest) = rest.split_once('\'')?;
    let is_lock = Path::new(path).extension().is_some_and(|e| e == "lock");
    (rest.starts_with(": File exists") && is_lock).then(|| path.into())
}

/// The age of a file by the clock of its file system, compared with a new file next to it.
fn age(path: &Path) -> std::io::Result<Duration> {
    let modified = std::fs::metadata(path)?.modified()?;
    let beside = path.parent().unwrap_or(Path::new("."));
    let now = tempfile::tempfile_in(beside)?.metadata()?.modified()?;
    Ok(now.duration_since(modified).unwrap_or_default())
}

/// Removes a lock file if it is stale. Returns whether it was removed.
fn remove_stale(lock: &Path) -> bool {
    let stale = age(lock).is_ok_and(|age| age > STALE);
    if stale {
        tracing::warn!(lock = %lock.display(), "removing a lock file that a killed git left behind");
    }
    stale && std::fs::remove_file(lock).is_ok()
}
