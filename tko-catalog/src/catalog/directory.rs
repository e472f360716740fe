//! Catalogs in folders of this machine.

use super::descriptor::{TemplateDescriptor, not_readable};
use super::entry::CatalogEntry;
use super::layout::{below, packages};
use super::offer::{CatalogListing, CatalogSource, OfferList, SourceContent};
use crate::export::layout::MAX_DESCRIPTOR;
use crate::export::read::bytes;
use crate::report::SyncProblem;
use crate::settings::CatalogSettings;
use async_trait::async_trait;
use std::fs;
use std::path::{Path, PathBuf};
use tko_core::{Error, Result};
use tko_source::SourceFile;

/// The alias of the newest content of a package without a version.
const ALIAS: &str = "latest";

/// A folder of packages.
pub(super) struct DirectoryCatalog {
    folder: PathBuf,
    /// The files of each content of the last listing, with the names that errors show.
    contents: Vec<Vec<(String, PathBuf)>>,
}

/// A regular file that was looked for, or the link or device found in its place.
pub(crate) struct FoundFile {
    /// Relative to the folder, with `/`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) is_regular: bool,
}

impl DirectoryCatalog {
    pub(super) fn new(entry: &CatalogEntry, settings: &CatalogSettings) -> Result<Self> {
        let path = local_path(&entry.url, settings)?;
        Ok(Self {
            folder: path.join(&entry.root),
            contents: Vec::new(),
        })
    }
}

/// The path of a URL on this machine.
///
/// # Errors
/// `BadArgument`: it is not a path, or this controller must not read local files.
pub(crate) fn local_path(url: &str, settings: &CatalogSettings) -> Result<PathBuf> {
    if !settings.local {
        return Err(Error::bad(
            "url",
            "this controller reads no local files, because its plugins are restricted",
        ));
    }
    let path = Path::new(url.strip_prefix("file://").unwrap_or(url));
    if !path.is_absolute() {
        let why = format!("{url:?} is not an absolute path or a file:// URL");
        return Err(Error::bad("url", why));
    }
    Ok(path.to_owned())
}

#[async_trait]
impl CatalogSource for DirectoryCatalog {
    async fn list(
        &mut self,
        entry: &CatalogEntry,
        settings: &CatalogSettings,
    ) -> Result<CatalogListing> {
        let (folder, entry, settings) = (self.folder.clone(), entry.clone(), settings.clone());
        let listed = tokio::task::spawn_blocking(move || list(&folder, &entry, &settings));
        let (listing, contents) = listed
            .await
            .map_err(|error| Error::internal("list a folder", error))??;
        self.contents = contents;
        Ok(listing)
    }

    async fn load(
        &mut self,
        content: usize,
        settings: &CatalogSettings,
    ) -> Result<Vec<SourceFile>> {
        let files = self.contents.get(content).cloned().unwrap_or_default();
        let most = settings.source.max_bytes;
        tokio::task::spawn_blocking(move || read(&files, most))
            .await
            .map_err(|error| Error::internal("read a folder", error))?
    }
}

type Contents = Vec<Vec<(String, PathBuf)>>;

fn list(
    folder: &Path,
    entry: &CatalogEntry,
    settings: &CatalogSettings,
) -> Result<(CatalogListing, Contents)> {
    let files = walk(folder, entry.descriptors, settings)?;
    let names = files.iter().enumerate();
    let packages = packages(entry, names.map(|(at, file)| (at, file.name.as_str())));
    let mut offers = OfferList::new(entry, settings);
    let mut contents = Vec::new();
    let mut all = blake3::Hasher::new();
    for (package, found) in packages {
        let descriptor = found.descriptor.and_then(|at| files.get(at));
        let files: Vec<&FoundFile> = found.files.iter().filter_map(|at| files.get(*at)).collect();
        if let Some(link) = files.iter().find(|file| !file.is_regular) {
            offers.add_irregular(&package, &link.name);
            continue;
        }
        let descriptor = match descriptor.map(read_descriptor) {
            None => None,
            Some(read) => match offers.describe(&package, !files.is_empty(), read) {
                Some(descriptor) => Some(descriptor),
                None => continue,
            },
        };
        let files: Vec<(String, PathBuf)> = files
            .into_iter()
            .map(|file| (file.name.clone(), file.path.clone()))
            .collect();
        let bytes = match read(&files, settings.source.max_bytes) {
            Ok(bytes) => bytes,
            Err(error) => {
                offers.add_unread(&package, None, SyncProblem::of(&package, &error));
                continue;
            }
        };
        let mut digest = digest(&package, &bytes);
        if let Some(descriptor) = &descriptor {
            digest = descriptor.digest(&digest);
        }
        all.update(digest.as_bytes());
        offers.add(&SourceContent {
            folder: &package,
            version: None,
            alias: entry.alias.as_deref().unwrap_or(ALIAS),
            commit: None,
            revision: "",
            digest: &digest,
            descriptor: descriptor.as_ref(),
            content: contents.len(),
        });
        contents.push(files);
    }
    let mut listing = offers.listing;
    let revision = all.finalize().to_hex();
    listing.revision = revision.chars().take(12).collect();
    for offer in &mut listing.offers {
        offer.revision = offer.digest.chars().take(12).collect();
    }
    Ok((listing, contents))
}

/// The digest of files, by their names below the package and their content.
pub(crate) fn digest(package: &str, files: &[SourceFile]) -> String {
    let mut hasher = blake3::Hasher::new();
    for file in files {
        let name = below(package, &file.name).unwrap_or(&file.name);
        for part in [name.as_bytes(), &file.bytes] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// Reads a descriptor of a template.
fn read_descriptor(file: &FoundFile) -> Result<TemplateDescriptor> {
    if !file.is_regular {
        return Err(not_readable());
    }
    TemplateDescriptor::read(&bytes(&file.path, MAX_DESCRIPTOR)?)
}

/// The YAML files below a folder, and those with the name `also`, in the order of their names. Links
/// are reported, but not followed.
pub(crate) fn walk(
    root: &Path,
    also: Option<&str>,
    settings: &CatalogSettings,
) -> Result<Vec<FoundFile>> {
    let cannot = |path: &Path, error: std::io::Error| {
        Error::bad("url", format!("cannot list {}: {error}", path.display()))
    };
    let mut found = Vec::new();
    let mut entries = 0_usize;
    let mut folders = vec![(root.to_owned(), String::new(), 0_usize)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| cannot(&folder, error))? {
            let entry = entry.map_err(|error| cannot(&folder, error))?;
            entries += 1;
            if entries > settings.source.max_files {
                let most = settings.source.max_files;
                let why = format!("{} has more than {most} entries", root.display());
                return Err(Error::bad("url", why));
            }
            // A name that is not UTF-8 cannot be shown or registered.
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                continue;
            };
            let kind = entry.file_type().map_err(|error| cannot(&folder, error))?;
            let relative = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}/{name}")
            };
            let is_also = also == Some(name.as_str());
            if kind.is_dir() && !is_also {
                if name != ".git" && depth < settings.source.max_depth {
                    folders.push((entry.path(), relative, depth + 1));
                }
            } else if is_also || is_yaml(&name) {
                found.push(FoundFile {
                    name: relative,
                    path: entry.path(),
                    is_regular: kind.is_file(),
                });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Whether a file belongs to a package, by its name.
pub(crate) fn is_yaml(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or(name);
    name == "Kptfile"
        || Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Reads files, at most `most` bytes in all.
pub(crate) fn read(files: &[(String, PathBuf)], most: u64) -> Result<Vec<SourceFile>> {
    use std::io::Read;
    let mut left = most;
    let mut read = Vec::with_capacity(files.len());
    for (name, path) in files {
        let cannot = |error| Error::bad("package", format!("cannot read {name}: {error}"));
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(cannot)?;
        file.take(left + 1)
            .read_to_end(&mut bytes)
            .map_err(cannot)?;
        left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            let why = format!("{name}: the package has more than {most} bytes");
            Error::bad("package", why)
        })?;
        let name = name.clone();
        read.push(SourceFile { name, bytes });
    }
    Ok(read)
}
