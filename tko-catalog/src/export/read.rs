//! Reads an export back.

use super::layout::{Descriptor, MARKER, MAX_DESCRIPTOR, PACKAGE, PARTS, VERSION, parse, shared};
use crate::report::SyncProblem;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use tko_core::{
    DataApi, Dialect, EntityUpdate, Error, Expect, Format, Key, Limits, NewSite, NewTemplate,
    Package, PackageUpdate, Record, Result, Want,
};

/// Maximum number of files and folders of an export.
const MAX_ENTRIES: usize = 10_000_000;

/// Maximum number of levels of folders.
const MAX_DEPTH: usize = 128;

/// The result of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportReport {
    /// The entities that were, or in a dry run would be, registered for the first time.
    pub created: Vec<Key>,
    /// The entities that were, or in a dry run would be, registered again.
    pub changed: Vec<Key>,
    /// How many entities are unchanged.
    pub unchanged: usize,
    /// The files and entities that could not be imported.
    pub problems: Vec<SyncProblem>,
}

/// Imports an export: registers the templates and sites that differ, templates first. Deletes
/// nothing. A second import changes nothing. In a dry run nothing is written.
///
/// # Errors
/// - `BadArgument`: the folder is not an export of this version, or cannot be read.
/// - `Unavailable` and similar: the store cannot be reached. Entities imported until then stay.
pub async fn import(data: &dyn DataApi, from: &Path, is_dry: bool) -> Result<ImportReport> {
    check_marker(from)?;
    let mut report = ImportReport::default();
    for (part, descriptor) in PARTS {
        for folder in folders(from, Path::new(part), descriptor)? {
            let read = read(from, &folder, part, descriptor);
            let imported = match read {
                Ok((descriptor, package)) => {
                    one(data, descriptor, package, is_dry, &mut report).await
                }
                Err(error) => Err(error),
            };
            match imported {
                Ok(()) => {}
                Err(error @ (Error::BadArgument { .. } | Error::Conflict(_) | Error::Busy(_))) => {
                    let item = folder.display().to_string();
                    report.problems.push(SyncProblem::of(item, &error));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(report)
}

/// Refuses a folder that is not an export of this version.
pub(super) fn check_marker(from: &Path) -> Result<()> {
    let path = from.join(MARKER);
    let bad = |why: String| Error::bad("folder", why);
    let bytes = bytes(&path, MAX_DESCRIPTOR).map_err(|error| {
        bad(format!(
            "{} is not an export of tko: {}",
            from.display(),
            error.chain()
        ))
    })?;
    let marker: Value = serde_json::from_slice(&bytes)
        .map_err(|error| bad(format!("{}: {error}", path.display())))?;
    match marker.get("version").and_then(Value::as_u64) {
        Some(VERSION) => Ok(()),
        version => Err(bad(format!(
            "{} has the layout {version:?}, and this program reads version {VERSION}; use a newer tko",
            from.display()
        ))),
    }
}

/// The folders with a descriptor, in order. Links are not followed.
fn folders(root: &Path, part: &Path, descriptor: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut entries = 0_usize;
    let mut folders = vec![(part.to_owned(), 0_usize)];
    while let Some((folder, depth)) = folders.pop() {
        let path = root.join(&folder);
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        if !is_folder {
            continue;
        }
        let cannot = |error: std::io::Error| {
            Error::bad("folder", format!("cannot list {}: {error}", path.display()))
        };
        for entry in fs::read_dir(&path).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            entries += 1;
            if entries > MAX_ENTRIES || depth > MAX_DEPTH {
                let why = format!("{} has too many files or levels", root.display());
                return Err(Error::bad("folder", why));
            }
            let kind = entry.file_type().map_err(cannot)?;
            if kind.is_dir() {
                folders.push((folder.join(entry.file_name()), depth + 1));
            } else if kind.is_file() && entry.file_name() == descriptor {
                found.push(folder.clone());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(root: &Path, folder: &Path, part: &str, descriptor: &str) -> Result<(Descriptor, Package)> {
    let described = parse(
        part,
        &bytes(&root.join(folder).join(descriptor), MAX_DESCRIPTOR)?,
    )?;
    let limits = Limits::default();
    let path = root.join(folder).join(PACKAGE);
    let yaml = bytes(&path, limits.bytes as u64)?;
    let package = Package::decode(&yaml, Format::Yaml, Dialect::People, &limits)?;
    Ok((described, package))
}

/// Reads a regular file of at most `most` bytes. Errors have the name of the file without its folder.
pub(crate) fn bytes(path: &Path, most: u64) -> Result<Vec<u8>> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let cannot = |error: std::io::Error| Error::bad("file", format!("cannot read {name}: {error}"));
    let metadata = fs::symlink_metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err(Error::bad("file", format!("{name} is not a regular file")));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(cannot)?;
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > most {
        return Err(Error::bad(
            "file",
            format!("{name} has more than {most} bytes"),
        ));
    }
    Ok(bytes)
}

/// Imports one template or site.
async fn one(
    data: &dyn DataApi,
    new: Descriptor,
    package: Package,
    is_dry: bool,
    report: &mut ImportReport,
) -> Result<()> {
    let before = match data.get(&new.key, Want::PACKAGE).await {
        Ok(record) => Some(record),
        Err(Error::NotFound(_)) => None,
        Err(error) => return Err(error),
    };
    if before
        .as_ref()
        .is_some_and(|before| is_same(before, &new, &package))
    {
        report.unchanged += 1;
        return Ok(());
    }
    let expect = before
        .as_ref()
        .map_or(Expect::Absent, |before| Expect::At(before.entity.version));
    if !is_dry {
        register(data, &new, &package, expect).await?;
    }
    match before {
        None => report.created.push(new.key),
        Some(_) => report.changed.push(new.key),
    }
    Ok(())
}

fn is_same(before: &Record, new: &Descriptor, package: &Package) -> bool {
    let known = before.package.as_ref().map(Package::hash);
    known == Some(package.hash())
        && before.entity.template() == new.template.as_ref()
        && shared(&before.entity.given) == new.metadata
}

async fn register(
    data: &dyn DataApi,
    new: &Descriptor,
    package: &Package,
    expect: Expect,
) -> Result<()> {
    match &new.key {
        Key::Template(id) => {
            let template = NewTemplate::new(id.clone(), package.clone())
                .metadata(new.metadata.clone())
                .expect(expect);
            data.register_template(template).await.map(|_| ())
        }
        Key::Site(id) => {
            let site = NewSite::new(id.clone(), package.clone())
                .template(new.template.clone())
                .metadata(new.metadata.clone())
                .expect(expect);
            data.register_site(site).await?;
            // The template may contain more now than when the site was exported.
            let merged = data.get(&new.key, Want::PACKAGE).await?;
            if merged.package.as_ref().map(Package::hash) == Some(package.hash()) {
                return Ok(());
            }
            let update = EntityUpdate::new(new.key.clone(), merged.entity.version)
                .package(PackageUpdate::Replace(package.clone()));
            data.update_entity(update).await.map(|_| ())
        }
        key => Err(Error::bad(
            "descriptor",
            format!("{key} cannot be imported"),
        )),
    }
}
