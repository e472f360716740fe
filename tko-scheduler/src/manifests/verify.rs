//! Compares manifests on disk with the data: every site, every deployment, every resource, and
//! nothing else.

use super::blocking::blocking;
use super::names;
use super::render::without_annotations;
use crate::apply::to_apply;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tko_core::{
    ContentHash, DataApi, Dialect, Error, Format, Key, Kind, Limits, List, Package, Pattern,
    Result, Select, SiteId, Want,
};

/// The deployment folders of one site, with the hashes of their resources.
type SiteContents = BTreeMap<String, BTreeSet<ContentHash>>;

/// Compares everything. Returns the number of files.
pub(super) async fn verify(data: &dyn DataApi, root: &Path) -> Result<usize> {
    let mut folders = BTreeSet::new();
    let mut files = 0;
    let mut list = List::new(Select::all(Kind::Site)).limit(500);
    loop {
        let page = data.list(&list).await?;
        for record in &page.items {
            let Key::Site(site) = &record.entity.key else {
                continue;
            };
            let folder = names::folder(site.as_str());
            let wanted = wanted(data, site).await?;
            let path = root.join(&folder);
            let found = blocking(move || contents(&path)).await?;
            if found != wanted {
                return Err(differs(format!(
                    "folder {folder} of site {site} differs from the site's deployments: {}",
                    difference(&found, &wanted)
                )));
            }
            files += found.values().map(BTreeSet::len).sum::<usize>();
            folders.insert(folder);
        }
        list.after = page.next;
        if list.after.is_none() {
            break;
        }
    }
    let root = root.to_owned();
    blocking(move || check_unknown(&root, &folders)).await?;
    Ok(files)
}

fn differs(message: String) -> Error {
    Error::bad("manifests", message)
}

async fn wanted(data: &dyn DataApi, site: &SiteId) -> Result<SiteContents> {
    let mut contents = SiteContents::new();
    let mut list = List::new(
        Select::all(Kind::Deployment)
            .site_id(Pattern::literal(site.as_str()))
            .prepared(true)
            .approved(true),
    )
    .limit(100)
    .want(Want::PACKAGE);
    loop {
        let page = data.list(&list).await?;
        for record in page.items {
            let Key::Deployment(id) = &record.entity.key else {
                continue;
            };
            let package = record.package.unwrap_or_default();
            let hashes = to_apply(&package)
                .into_iter()
                .map(|(_, resource)| ContentHash::of(&without_annotations(resource)))
                .collect();
            contents.insert(names::folder(id.as_str()), hashes);
        }
        list.after = page.next;
        if list.after.is_none() {
            return Ok(contents);
        }
    }
}

/// The contents of a site's folder; empty if there is no folder.
fn contents(site: &Path) -> Result<SiteContents> {
    let mut found = SiteContents::new();
    for folder in subfolders(site)? {
        let path = site.join(&folder);
        let mut hashes = BTreeSet::new();
        for file in entries(&path)? {
            let name = file.display();
            let bytes = fs::read(&file)
                .map_err(|error| Error::unavailable(format!("read {name}"), error))?;
            let package =
                Package::decode(&bytes, Format::Yaml, Dialect::People, &Limits::default())
                    .map_err(|error| differs(format!("{name}: {error}")))?;
            if package.len() != 1 {
                return Err(differs(format!(
                    "{name} does not contain exactly one resource"
                )));
            }
            hashes.extend(package.iter().map(|resource| resource.hash()));
        }
        found.insert(folder, hashes);
    }
    Ok(found)
}

fn check_unknown(root: &Path, folders: &BTreeSet<String>) -> Result<()> {
    match subfolders(root)?.difference(folders).next() {
        Some(name) => Err(differs(format!(
            "folder {name} does not belong to any site"
        ))),
        None => Ok(()),
    }
}

/// The names of the folders in a folder; empty if it does not exist.
fn subfolders(path: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for path in entries(path)? {
        // Links are not followed.
        if fs::symlink_metadata(&path).is_ok_and(|kind| kind.is_dir()) {
            let name = path.file_name().unwrap_or_default();
            names.insert(name.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn entries(path: &Path) -> Result<Vec<PathBuf>> {
    let read = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        }),
    };
    read.map_err(|error| Error::unavailable(format!("list {}", path.display()), error))
}

fn difference(found: &SiteContents, wanted: &SiteContents) -> String {
    let missing = wanted.keys().filter(|name| !found.contains_key(*name));
    let surplus = found.keys().filter(|name| !wanted.contains_key(*name));
    let other = wanted
        .iter()
        .filter(|(name, hashes)| found.get(*name).is_some_and(|other| other != *hashes))
        .map(|(name, _)| name);
    let list =
        |what: &str, names: Vec<&String>| (!names.is_empty()).then(|| format!("{what} {names:?}"));
    [
        list("missing", missing.collect()),
        list("surplus", surplus.collect()),
        list("different", other.collect()),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(", ")
}
