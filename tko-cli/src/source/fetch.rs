//! Packages over the network: http(s), and git by its own program.

use super::{SourceFile, directory};
use anyhow::{Context, bail};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// How long a server may take to answer, and to go on.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an http(s) URL answers, up to a limit.
pub(super) async fn http(url: &str, limit: u64) -> anyhow::Result<Vec<u8>> {
    let client = reqwest::Client::builder()
        .connect_timeout(PATIENCE)
        .read_timeout(PATIENCE)
        .build()
        .context("cannot prepare to fetch")?;
    let fetch = async {
        let mut response = client.get(url).send().await?.error_for_status()?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > limit {
                bail!("it is larger than {} MiB", limit >> 20);
            }
        }
        Ok(bytes)
    };
    fetch.await.with_context(|| format!("cannot fetch {url}"))
}

/// The YAML files below `path` in the newest commit of a git repository. `URL#REVISION` names
/// another branch or tag.
pub(super) async fn git(repository: &str, path: &str) -> anyhow::Result<Vec<SourceFile>> {
    let (url, revision) = match repository.rsplit_once('#') {
        Some((url, revision)) => (url, Some(revision)),
        None => (repository, None),
    };
    let checkout = tempfile::tempdir().context("cannot make a folder for the checkout")?;
    let mut clone = Command::new("git");
    clone.args(["clone", "--quiet", "--depth", "1", "--no-tags"]);
    if let Some(revision) = revision {
        clone.args(["--branch", revision]);
    }
    let output = clone
        .arg("--")
        .arg(url)
        .arg(checkout.path())
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run git, which reads git: sources; install it")?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!("cannot clone {url}: {}", told.trim());
    }
    let place = inside(checkout.path(), path)
        .with_context(|| format!("{path:?} is not in {repository}"))?;
    if place.is_dir() {
        directory(&place)
    } else {
        let bytes = std::fs::read(&place).with_context(|| format!("cannot read {path}"))?;
        Ok(vec![(path.to_owned(), bytes)])
    }
}

/// A path within a folder, and not out of it by `..` or a link.
fn inside(root: &Path, path: &str) -> anyhow::Result<std::path::PathBuf> {
    let root = root.canonicalize()?;
    let place = root.join(path.trim_matches('/')).canonicalize()?;
    if !place.starts_with(&root) {
        bail!("it leads out of the repository");
    }
    Ok(place)
}
