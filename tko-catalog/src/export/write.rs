//! Writes an export.

use super::layout::{MARKER, PACKAGE, PARTS, VERSION, descriptor, folder};
use super::read::check_marker;
use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tko_core::{DataApi, Error, Format, Kind, List, Result, Select, Want};

/// Number of entities in one page, whose packages are in memory at the same time.
const PAGE: usize = 100;

/// The result of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportReport {
    /// How many templates were exported.
    pub templates: usize,
    /// How many sites were exported.
    pub sites: usize,
    /// How many files have new content.
    pub written: usize,
    /// How many files of an earlier export were removed.
    pub removed: usize,
}

/// Exports all templates and sites to a folder. Unchanged files stay untouched. Files of entities
/// that no longer exist are removed. Other files stay.
///
/// # Errors
/// - `BadArgument`: the folder has files and is no export, is an export of a newer version or a
///   bare git repository, or cannot be written.
/// - As [`DataApi::list`].
pub async fn export(data: &dyn DataApi, into: &Path) -> Result<ExportReport> {
    begin(into)?;
    let mut report = ExportReport::default();
    let mut kept = HashSet::new();
    for kind in [Kind::Template, Kind::Site] {
        let mut list = List::new(Select::all(kind));
        list.limit = PAGE;
        list.want = Want::PACKAGE;
        loop {
            let page = data.list(&list).await?;
            for record in page.items {
                let entity = &record.entity;
                let Some(folder) = folder(&entity.key) else {
                    continue;
                };
                match kind {
                    Kind::Site => report.sites += 1,
                    _ => report.templates += 1,
                }
                let (_, name) = PARTS[usize::from(kind == Kind::Site)];
                let package = record.package.unwrap_or_default().encode(Format::Yaml);
                for (name, bytes) in [(name, descriptor(entity)), (PACKAGE, package)] {
                    let path = folder.join(name);
                    report.written += usize::from(write(into, &path, &bytes)?);
                    kept.insert(path);
                }
            }
            list.after = page.next;
            if list.after.is_none() {
                break;
            }
        }
    }
    for (part, descriptor) in PARTS {
        report.removed += sweep(into, Path::new(part), descriptor, &kept)?;
    }
    Ok(report)
}

/// Marks the folder as an export.
fn begin(into: &Path) -> Result<()> {
    fs::create_dir_all(into).map_err(|error| cannot("make", into, &error))?;
    if is_bare_repository(into) {
        let place = into.canonicalize().unwrap_or_else(|_| into.to_owned());
        let why = format!(
            "{} is a bare git repository, whose files are its own; to commit and push to it, name \
             file://{}",
            into.display(),
            place.display()
        );
        return Err(Error::bad("folder", why));
    }
    let marker = into.join(MARKER);
    if fs::symlink_metadata(&marker).is_ok() {
        // An export of a newer version may have files that this one would not keep in step.
        check_marker(into)?;
    } else {
        let entries = fs::read_dir(into).map_err(|error| cannot("read", into, &error))?;
        // A new repository contains `.git`, and perhaps a few files from its hosting service.
        let is_other = |entry: &fs::DirEntry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            PARTS.iter().any(|(part, _)| name == *part)
        };
        if entries.flatten().any(|entry| is_other(&entry)) {
            let why = format!(
                "{} has a folder templates or sites but is not an export; choose another folder",
                into.display()
            );
            return Err(Error::bad("folder", why));
        }
    }
    let version = format!("{{\"version\": {VERSION}}}\n");
    write(into, Path::new(MARKER), version.as_bytes()).map(|_| ())
}

/// Whether git keeps its own files in this folder, without a work tree.
fn is_bare_repository(folder: &Path) -> bool {
    folder.join("HEAD").is_file() && folder.join("objects").is_dir() && folder.join("refs").is_dir()
}

/// Writes a file below the root atomically. Returns whether its content is new.
fn write(root: &Path, name: &Path, bytes: &[u8]) -> Result<bool> {
    let path = &root.join(name);
    let folder = make_folders(root, name.parent().unwrap_or(Path::new("")))?;
    if is_plain(path) && fs::read(path).is_ok_and(|known| known == bytes) {
        return Ok(false);
    }
    let failed = |error: std::io::Error| cannot("write", path, &error);
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    // Readable for others, as files of a repository are.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(mode).map_err(failed)?;
    }
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(true)
}

fn is_plain(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Makes the folders of this name below the root, and returns the last one. A link in place of a
/// folder is refused, because it could lead elsewhere.
fn make_folders(root: &Path, name: &Path) -> Result<PathBuf> {
    let mut folder = root.to_owned();
    for part in name.components() {
        folder.push(part);
        match fs::symlink_metadata(&folder) {
            Ok(kind) if kind.is_dir() => {}
            Ok(_) => {
                let why = format!("{} is not a folder; replace it with one", folder.display());
                return Err(Error::bad("folder", why));
            }
            Err(_) => fs::create_dir(&folder).map_err(|error| cannot("make", &folder, &error))?,
        }
    }
    Ok(folder)
}

/// Removes the files of entities that no longer exist, and the folders that become empty.
fn sweep(root: &Path, part: &Path, descriptor: &str, kept: &HashSet<PathBuf>) -> Result<usize> {
    let mut removed = 0;
    let mut folders = vec![part.to_owned()];
    let mut visited = Vec::new();
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        // The target of a link is not part of the export.
        if !fs::symlink_metadata(&path).is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let Ok(entries) = fs::read_dir(&path) else {
            continue;
        };
        for entry in entries {
            let entry = entry.map_err(|error| cannot("read", &path, &error))?;
            let kind = entry
                .file_type()
                .map_err(|error| cannot("read", &path, &error))?;
            let name = folder.join(entry.file_name());
            if kind.is_dir() {
                folders.push(name);
                continue;
            }
            let file = entry.file_name();
            let is_own = kind.is_file() && (file == descriptor || file == PACKAGE);
            if is_own && !kept.contains(&name) {
                fs::remove_file(entry.path())
                    .map_err(|error| cannot("remove", &entry.path(), &error))?;
                removed += 1;
            }
        }
        visited.push(path);
    }
    for folder in visited.into_iter().rev() {
        // A folder that is not empty stays.
        let _ = fs::remove_dir(folder);
    }
    Ok(removed)
}

fn cannot(action: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::bad(
        "folder",
        format!("cannot {action} {}: {error}", path.display()),
    )
}
