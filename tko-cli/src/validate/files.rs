//! Finds the files of a folder, and reads regular files only.

use anyhow::{Context, bail};
use regex::Regex;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Maximum depth of nested folders.
const MAX_FOLDERS: usize = 32;

/// A file to check, or the message to report instead.
pub(super) enum Found {
    File(PathBuf),
    Skipped(String),
}

/// Lists the YAML and JSON files of a folder in the order of their names, or the one file.
///
/// # Errors
/// A folder cannot be listed, or the folders are too deep.
pub(super) fn find(root: &Path, ignored: &[Regex]) -> anyhow::Result<Vec<Found>> {
    let is_ignored = |path: &Path| {
        let name = path.to_string_lossy();
        ignored.iter().any(|pattern| pattern.is_match(&name))
    };
    let mut found = Vec::new();
    if !root.is_dir() {
        if !is_ignored(root) {
            found.push(Found::File(root.to_owned()));
        }
        return Ok(found);
    }
    let mut folders = vec![(root.to_owned(), 0)];
    let mut files = Vec::new();
    while let Some((folder, depth)) = folders.pop() {
        if depth > MAX_FOLDERS {
            bail!(
                "{} is more than {MAX_FOLDERS} folders deep; name a part of it",
                folder.display()
            );
        }
        let cannot_list = || format!("cannot list {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(cannot_list)? {
            let entry = entry.with_context(cannot_list)?;
            // The metadata of the entry itself, because links are not followed.
            let file_type = entry.file_type().with_context(cannot_list)?;
            let path = entry.path();
            if file_type.is_dir() {
                if entry.file_name() != ".git" {
                    folders.push((path, depth + 1));
                }
            } else if has_known_extension(&path) && !is_ignored(&path) {
                files.push((path, file_type));
            }
        }
    }
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (path, file_type) in files {
        found.push(if file_type.is_file() {
            Found::File(path)
        } else {
            let what = if file_type.is_symlink() {
                "is a link, and links are not followed"
            } else {
                "is not a regular file"
            };
            Found::Skipped(format!("{} {what}; not checked", path.display()))
        });
    }
    Ok(found)
}

fn has_known_extension(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

/// Opens a regular file. Others could block for ever or never end.
///
/// # Errors
/// The file cannot be opened, or is not a regular file.
pub(super) fn open(path: &Path) -> anyhow::Result<File> {
    let cannot_open = || format!("cannot open {}", path.display());
    if !fs::metadata(path).with_context(cannot_open)?.is_file() {
        bail!(
            "{} is not a regular file; to check a stream, use - and standard input",
            path.display()
        );
    }
    File::open(path).with_context(cannot_open)
}
