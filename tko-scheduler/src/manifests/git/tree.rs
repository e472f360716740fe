//! The folder of a site in Git: as committed, and as written.

use super::command::GitCommand;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tko_core::{Error, Result};

/// The mode of all files.
pub(super) const MODE: &str = "100644";

/// Mode and object of each file, by its path from the root.
pub(super) type Tree = BTreeMap<String, String>;

/// The folder as of the last commit. The cost depends on the size of the folder, not of the
/// repository.
pub(super) async fn committed(command: &GitCommand, name: &str) -> Result<Tree> {
    let list = ["ls-tree", "-r", "-z", "HEAD", "--", name];
    let listing = command.run(&list).await?;
    let entries = listing.split('\0').filter_map(|entry| {
        // Mode, type, object, tab, path.
        let (what, path) = entry.split_once('\t')?;
        let mut parts = what.split(' ');
        let (mode, object) = (parts.next()?, parts.nth(1)?);
        Some((path.to_owned(), format!("{mode} {object}")))
    });
    Ok(entries.collect())
}

/// The folder in the work tree. New contents are added to the object store.
pub(super) async fn written(command: &GitCommand, name: &str) -> Result<Tree> {
    let folder = command.root.join(name);
    let paths = files(&folder, name)
        .map_err(|error| Error::unavailable(format!("read {}", folder.display()), error))?;
    if paths.is_empty() {
        return Ok(Tree::new());
    }
    let mut input = paths.join("\n");
    input.push('\n');
    let hash = ["hash-object", "-w", "--no-filters", "--stdin-paths"];
    let objects = command.run_with(&hash, &input).await?;
    let objects = objects.lines().map(|object| format!("{MODE} {object}"));
    Ok(paths.into_iter().zip(objects).collect())
}

/// The paths of all files of the folder. Their names contain no line breaks.
fn files(folder: &Path, prefix: &str) -> std::io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), prefix.to_owned())];
    while let Some((folder, prefix)) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let path = format!("{prefix}/{name}");
            if entry.file_type()?.is_dir() {
                folders.push((entry.path(), path));
            } else {
                found.push(path);
            }
        }
    }
    Ok(found)
}
