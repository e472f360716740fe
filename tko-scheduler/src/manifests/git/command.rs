//! Running the program `git`: never asking anybody, and without hooks, signatures and conversions.

use super::GitSettings;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tko_core::{Error, Result};
use tokio::io::AsyncWriteExt;

/// A lock file of git's that is older was left by a git that was killed: none of our commands
/// holds one for this long, and nobody else should be at work here.
const STALE: Duration = Duration::from_mins(1);

/// Variables that would lead git elsewhere, as they do when a hook starts us.
const ELSEWHERE: [&str; 8] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
];

/// What `-c` sets: content is committed as it is, by us, and nothing else happens.
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

pub(super) struct Command {
    pub(super) root: PathBuf,
    pub(super) settings: GitSettings,
}

/// What a command that ran to its end said.
pub(super) struct Said {
    pub(super) success: bool,
    pub(super) out: String,
    pub(super) error: String,
}

impl Command {
    /// Runs it; answers with its output.
    ///
    /// # Errors
    /// `Unavailable`: it cannot be started, took too long, or failed.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<String> {
        self.run_with(arguments, "").await
    }

    /// As [`run`](Self::run), with this for its input.
    pub(super) async fn run_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut said = self.ask(arguments, input).await?;
        if !said.success && stale_lock(&said.error).is_some_and(|lock| remove_stale(&lock)) {
            said = self.ask(arguments, input).await?;
        }
        if said.success {
            Ok(said.out)
        } else {
            Err(self.failed(arguments, &said))
        }
    }

    /// Runs it; that it fails is an answer too.
    pub(super) async fn ask(&self, arguments: &[&str], input: &str) -> Result<Said> {
        let mut command = tokio::process::Command::new(&self.settings.program);
        for name in ELSEWHERE {
            command.env_remove(name);
        }
        for setting in CONFIG {
            command.args(["-c", setting]);
        }
        // Whoever has no program that answers for them is not asked at the terminal instead.
        if std::env::var_os("SSH_ASKPASS").is_none() {
            command.env("SSH_ASKPASS", "false");
        }
        command
            .arg("-C")
            .arg(&self.root)
            .args(arguments)
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("SSH_ASKPASS_REQUIRE", "force")
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
        match tokio::time::timeout(limit, spoken(command, input)).await {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                let program = self.settings.program.display();
                Err(Error::unavailable(
                    format!("run {program}"),
                    "there is no such program: install git, or name it in the settings, or write \
                     manifests into a plain directory",
                ))
            }
            Ok(Err(error)) => Err(Error::unavailable(self.action(arguments), error)),
            Err(_) => Err(Error::unavailable(
                self.action(arguments),
                format!(
                    "it took longer than {} s and was stopped",
                    limit.as_secs_f64()
                ),
            )),
        }
    }

    pub(super) fn failed(&self, arguments: &[&str], said: &Said) -> Error {
        let error = said.error.trim();
        let why = if error.is_empty() {
            "it failed and did not say why"
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

async fn spoken(mut command: tokio::process::Command, input: &str) -> std::io::Result<Said> {
    let mut child = command.spawn()?;
    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A command that does not read all of it says itself what is wrong.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output?;
    Ok(Said {
        success: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        error: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The lock file that git says is in its way.
fn stale_lock(error: &str) -> Option<PathBuf> {
    let (_, rest) = error.split_once("Unable to create '")?;
    let (path, rest) = rest.split_once('\'')?;
    let is_lock = Path::new(path).extension().is_some_and(|e| e == "lock");
    (rest.starts_with(": File exists") && is_lock).then(|| path.into())
}

/// By the clock of the file system, as a new file beside it tells.
fn age(path: &Path) -> std::io::Result<Duration> {
    let modified = std::fs::metadata(path)?.modified()?;
    let beside = path.parent().unwrap_or(Path::new("."));
    let now = tempfile::tempfile_in(beside)?.metadata()?.modified()?;
    Ok(now.duration_since(modified).unwrap_or_default())
}

/// True: it was stale, and is gone.
fn remove_stale(lock: &Path) -> bool {
    let stale = age(lock).is_ok_and(|age| age > STALE);
    if stale {
        tracing::warn!(lock = %lock.display(), "removing a lock that a killed git has left");
    }
    stale && std::fs::remove_file(lock).is_ok()
}
