//! Lock files that a killed git left in a copy of a repository.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whether git failed because a lock file exists, by the text of its error.
pub(super) fn is_locked(error: &str) -> bool {
    error.contains(".lock': File exists")
}

/// Removes the lock files of a copy that are at least this old. Returns whether there were any.
pub(super) async fn remove_locks(copy: PathBuf, age: Duration) -> bool {
    let removed = tokio::task::spawn_blocking(move || remove_locks_below(&copy, age));
    matches!(removed.await, Ok(Ok(true)))
}

fn remove_locks_below(copy: &Path, age: Duration) -> io::Result<bool> {
    // By the clock of the file system, which may be that of another machine.
    let now = tempfile::tempfile_in(copy)?.metadata()?.modified()?;
    let mut is_removed = false;
    visit(copy, |path, metadata| {
        let is_lock = path.extension().is_some_and(|end| end == "lock");
        let modified = metadata.modified().unwrap_or(now);
        let is_old = now.duration_since(modified).unwrap_or_default() >= age;
        if is_lock && is_old && std::fs::remove_file(path).is_ok() {
            tracing::warn!(lock = %path.display(), "removed a lock file that a killed git left behind");
            is_removed = true;
        }
    });
    Ok(is_removed)
}

/// Calls this for each file below a folder that can be read.
fn visit(root: &Path, mut each: impl FnMut(&Path, &Metadata)) {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => each(&entry.path(), &metadata),
                Err(_) => {}
            }
        }
    }
}
