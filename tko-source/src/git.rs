//! Sources in git repositories, read by the program git.

use crate::budget::{ReadBudget, bad};
use crate::folder;
use crate::folder_size::{folder_exceeds, folder_size};
use crate::git_command::git_command;
use crate::package::SourceFile;
use crate::program::run_program_with;
use crate::reader::blocking;
use crate::source::user_information;
use std::path::{Path, PathBuf};
use tko_core::{Error, Result};
use tokio::process::Command;

/// Parts of git's messages about network errors, in English.
const NETWORK: [&str; 5] = [
    "Could not resolve host",
    "Connection refused",
    "timed out",
    "Connection reset",
    "early EOF",
];

/// Maximum number of bytes that `git clone --quiet` prints to standard output.
const MAX_OUTPUT: usize = 64 << 10;

/// The YAML files below `path` at a branch or tag, or in the newest commit, and the rest of the
/// budget.
pub(crate) async fn files(
    url: &str,
    revision: Option<&str>,
    path: &str,
    mut budget: ReadBudget,
) -> Result<(Vec<SourceFile>, ReadBudget)> {
    let checkout = tempfile::tempdir()
        .map_err(|error| Error::internal("make a folder for the checkout", error))?;
    clone(url, revision, checkout.path(), &budget).await?;
    let path = path.to_owned();
    // The closure owns the temporary folder, which exists until everything is read.
    blocking(move || {
        let place = inside(checkout.path(), &path, &budget)?;
        if place.is_dir() {
            let mut files = folder::files(&place, &mut budget)?;
            let names = files.iter_mut().map(|file| &mut file.name);
            for name in names.chain(budget.irregular.iter_mut().flatten()) {
                *name = within_repository(checkout.path(), name);
            }
            return Ok((files, budget));
        }
        let bytes = folder::bytes(&place, &mut budget)?;
        Ok((vec![SourceFile { name: path, bytes }], budget))
    })
    .await
}

async fn clone(url: &str, revision: Option<&str>, into: &Path, budget: &ReadBudget) -> Result<()> {
    let mut clone = Command::from(git_command("git"));
    clone.args(["clone", "--quiet", "--depth", "1", "--no-tags"]);
    if let Some(revision) = revision {
        clone.arg(format!("--branch={revision}"));
    }
    clone.arg("--").arg(url).arg(into);
    let source = budget.source();
    let what = format!("clone {source}");
    let most = budget.limits.max_clone_bytes;
    // If this future is dropped, or the clone is too large, git and the programs that it started
    // are killed.
    let run = tokio::select! {
        run = run_program_with(clone, &what, MAX_OUTPUT, user_information(url)) => run?,
        () = folder_exceeds(into, most) => return Err(budget.clone_too_large()),
    };
    if run.status.success() {
        if folder_size(into.to_owned()).await > most {
            return Err(budget.clone_too_large());
        }
        return Ok(());
    }
    let written = run.errors;
    if NETWORK.iter().any(|part| written.contains(part)) {
        return Err(Error::unavailable(what, written));
    }
    Err(bad(
        source,
        format_args!("cannot clone it: {written}; check the URL, the branch and the credentials"),
    ))
}

/// A path within a folder: neither `..` nor a link leads out of it.
fn inside(root: &Path, path: &str, budget: &ReadBudget) -> Result<PathBuf> {
    let absent = |error| budget.error(format_args!("{path:?} is not in the repository: {error}"));
    let root = root.canonicalize().map_err(absent)?;
    let place = root
        .join(path.trim_matches('/'))
        .canonicalize()
        .map_err(absent)?;
    if place.starts_with(&root) {
        Ok(place)
    } else {
        Err(budget.error(format_args!("{path:?} leads out of the repository")))
    }
}

/// The name without the temporary folder.
fn within_repository(root: &Path, name: &str) -> String {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let path = Path::new(name);
    let path = path.strip_prefix(&root).unwrap_or(path);
    path.display().to_string()
}
