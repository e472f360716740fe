//! Inventories in folders of this machine: a file or a folder for each site.

use super::entry::InventoryEntry;
use super::item::{InventoryItem, InventoryListing, InventorySource, text_field};
use crate::budget::ListingBudget;
use crate::catalog::directory::{FoundFile, local_path, read, walk};
use crate::export::layout::{MAX_DESCRIPTOR, SITE_DESCRIPTOR as DESCRIPTOR};
use crate::report::SyncProblem;
use crate::settings::CatalogSettings;
use async_trait::async_trait;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tko_core::{Error, Result};
use tko_source::{SourceFile, package_of};

/// A folder of sites.
pub(super) struct DirectoryInventory(PathBuf);

impl DirectoryInventory {
    pub(super) fn new(entry: &InventoryEntry, settings: &CatalogSettings) -> Result<Self> {
        let url = entry.properties().required("url")?;
        Ok(Self(local_path(url, settings)?))
    }
}

#[async_trait]
impl InventorySource for DirectoryInventory {
    async fn list(
        &mut self,
        _: &InventoryEntry,
        settings: &CatalogSettings,
    ) -> Result<InventoryListing> {
        let (folder, settings) = (self.0.clone(), settings.clone());
        let listed = tokio::task::spawn_blocking(move || list(&folder, &settings));
        listed
            .await
            .map_err(|error| Error::internal("list a folder", error))?
    }
}

fn list(root: &Path, settings: &CatalogSettings) -> Result<InventoryListing> {
    let mut sites: BTreeMap<String, Vec<FoundFile>> = BTreeMap::new();
    let mut described: BTreeMap<String, bool> = BTreeMap::new();
    for file in walk(root, None, settings)? {
        let site = site_of(&file.name, |folder| {
            *described.entry(folder.to_owned()).or_insert_with(|| {
                let path = root.join(folder).join(DESCRIPTOR);
                let found = std::fs::symlink_metadata(path);
                !found.is_err_and(|error| is_absent(&error))
            })
        });
        sites.entry(site).or_default().push(file);
    }
    let mut listing = InventoryListing::default();
    let mut budget = ListingBudget::of_sites(settings);
    for (name, files) in sites {
        let descriptor = descriptor_of(root, &name);
        if let Ok(Some(bytes)) = &descriptor {
            budget.charge(bytes.len())?;
        }
        let item = descriptor.and_then(|bytes| item_of(&name, bytes.as_deref()));
        let mut item = match item {
            Ok(item) => item,
            Err(error) => {
                listing.add_unknown(SyncProblem::of(&name, &error));
                continue;
            }
        };
        let package = match read_files(&files, settings) {
            Ok(files) => {
                budget.charge_files(&files)?;
                package_of(files)
            }
            Err(error) => Err(error),
        };
        match package {
            Ok(package) => item.package = package,
            Err(error) => item.add_fault(&error),
        }
        listing.items.push(item);
    }
    Ok(listing)
}

/// The site of a file: the nearest folder with a descriptor; or else the topmost folder; or else
/// the file itself, without its ending.
pub(super) fn site_of(file: &str, mut is_described: impl FnMut(&str) -> bool) -> String {
    let Some((folder, _)) = file.rsplit_once('/') else {
        return file
            .rsplit_once('.')
            .map_or(file, |(stem, _)| stem)
            .to_owned();
    };
    let mut place = Some(folder);
    while let Some(folder) = place {
        if is_described(folder) {
            return folder.to_owned();
        }
        place = folder.rsplit_once('/').map(|(parent, _)| parent);
    }
    file.split('/').next().unwrap_or(file).to_owned()
}

fn read_files(files: &[FoundFile], settings: &CatalogSettings) -> Result<Vec<SourceFile>> {
    if let Some(link) = files.iter().find(|file| !file.is_regular) {
        let why = format!(
            "{} is a link or a device; replace it with a copy",
            link.name
        );
        return Err(Error::bad("package", why));
    }
    let places: Vec<_> = files
        .iter()
        .map(|f| (f.name.clone(), f.path.clone()))
        .collect();
    read(&places, settings.source.max_bytes)
}

/// The descriptor of a site; `None` if the site has none.
///
/// # Errors
/// `BadArgument`: it cannot be read, so the id of the site is not known.
fn descriptor_of(root: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let path = root.join(name).join(DESCRIPTOR);
    let found = std::fs::symlink_metadata(&path);
    let metadata = match found {
        Err(error) if is_absent(&error) => return Ok(None),
        found => found.map_err(unreadable)?,
    };
    if !metadata.is_file() || metadata.len() > MAX_DESCRIPTOR {
        return Err(not_readable());
    }
    std::fs::read(&path).map(Some).map_err(unreadable)
}

/// Whether there is no file, rather than one that cannot be read.
fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

#[allow(clippy::needless_pass_by_value)] // As `map_err` passes it.
fn unreadable(error: std::io::Error) -> Error {
    Error::bad(DESCRIPTOR, error.to_string())
}

/// The error about a descriptor that is a link, a device or a folder, or too large.
pub(super) fn not_readable() -> Error {
    let why = format!("it is not a regular file of at most {MAX_DESCRIPTOR} bytes; replace it");
    Error::bad(DESCRIPTOR, why)
}

/// The item of a site without its package, from its descriptor if it has one.
///
/// # Errors
/// `BadArgument`: the descriptor is not valid, so the id of the site is not known.
pub(super) fn item_of(name: &str, descriptor: Option<&[u8]>) -> Result<InventoryItem> {
    let mut item = InventoryItem {
        name: name.to_owned(),
        ..InventoryItem::default()
    };
    let Some(bytes) = descriptor else {
        return Ok(item);
    };
    let bad = |why: String| Error::bad(DESCRIPTOR, why);
    let value: Value = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
    if !value.is_object() {
        return Err(bad("it is not a map".to_owned()));
    }
    let id = text_field(&value, "id").map_err(|error| bad(error.chain()))?;
    item.name = id.unwrap_or(item.name);
    item.value = value;
    item.read_fields(|value| value.as_str().map(str::to_owned));
    Ok(item)
}
