//! Catalogs in archives on web servers.

use super::descriptor::TemplateDescriptor;
use super::directory::digest;
use super::entry::CatalogEntry;
use super::layout::{below, packages, short};
use super::offer::{CatalogListing, CatalogSource, Offer, OfferList, SourceContent};
use crate::http::{HttpClient, host, require_tls, web_url};
use crate::properties::Properties;
use crate::settings::CatalogSettings;
use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderName, IF_NONE_MATCH};
use reqwest::{Method, StatusCode, Url};
use std::io::Write;
use tko_core::{Error, Result};
use tko_source::{SourceFile, SourceListing, SourceReader};

/// The alias of the newest content of a package without a version.
const ALIAS: &str = "latest";

/// The endings of archives, longest first.
const ENDINGS: [&str; 6] = [".tar.gz", ".tgz", ".tar", ".zip", ".yaml", ".yml"];

/// An archive of packages, or one file.
pub(super) struct HttpCatalog {
    entry: CatalogEntry,
    client: HttpClient,
    url: Url,
    authorization: Option<String>,
    /// The `ETag` of the last listing, and the listing.
    last: Option<(String, CatalogListing)>,
    /// The files of each content; only during a sync.
    contents: Option<Vec<Vec<SourceFile>>>,
}

/// An archive that was downloaded and read.
struct ReadArchive {
    etag: Option<String>,
    listing: CatalogListing,
    /// The files of each content.
    contents: Vec<Vec<SourceFile>>,
}

/// A file of an archive, or a link or a device in its place.
struct ArchiveEntry {
    name: String,
    /// The content; `None` for a link or a device.
    bytes: Option<Vec<u8>>,
}

/// A package of an archive.
#[derive(Default)]
struct UnpackedPackage {
    folder: String,
    descriptor: Option<Vec<u8>>,
    files: Vec<SourceFile>,
    /// A link or a device in place of a file.
    irregular: Option<String>,
}

impl HttpCatalog {
    pub(super) async fn new(entry: &CatalogEntry, settings: &CatalogSettings) -> Result<Self> {
        let url = web_url(&entry.url)?;
        let token = Properties(&entry.properties)
            .host_secret("token", settings)
            .await?;
        let authorization = match &token {
            None => None,
            Some(token) => {
                require_tls(&entry.url, "token")?;
                Some(format!("Bearer {}", token.for_host("token", host(&url))?))
            }
        };
        let ca = Properties(&entry.properties).secret("ca", settings).await?;
        Ok(Self {
            entry: entry.clone(),
            client: HttpClient::with_ca(settings, ca.as_deref())?,
            url,
            authorization,
            last: None,
            contents: None,
        })
    }

    /// Downloads the archive; `None` if it has not changed.
    async fn download(
        &self,
        etag: Option<&str>,
        settings: &CatalogSettings,
    ) -> Result<Option<(Option<String>, Vec<u8>)>> {
        let mut headers: Vec<(HeaderName, String)> = Vec::new();
        headers.extend(etag.map(|etag| (IF_NONE_MATCH, etag.to_owned())));
        let authorization = self.authorization.clone();
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        let most = settings.max_listing_bytes;
        let reply = self
            .client
            .request(Method::GET, &self.url, &headers, most)
            .await?;
        if reply.status == StatusCode::NOT_MODIFIED && etag.is_some() {
            return Ok(None);
        }
        reply.check(&self.url)?;
        let etag = reply.header("etag").filter(|etag| !etag.is_empty());
        let etag = etag.map(str::to_owned);
        Ok(Some((etag, reply.bytes)))
    }

    /// Downloads the archive and lists its packages; `None` if it has not changed.
    async fn read(
        &self,
        etag: Option<&str>,
        settings: &CatalogSettings,
    ) -> Result<Option<ReadArchive>> {
        let entry = &self.entry;
        let Some((etag, bytes)) = self.download(etag, settings).await? else {
            return Ok(None);
        };
        let packages = self.unpack(bytes, entry, settings).await?;
        let mut offers = OfferList::new(entry, settings);
        let (mut all, mut contents) = (blake3::Hasher::new(), Vec::new());
        for package in packages {
            let UnpackedPackage {
                folder,
                descriptor,
                files,
                irregular,
            } = package;
            if let Some(name) = irregular {
                offers.add_irregular(&folder, &name);
                continue;
            }
            let descriptor = match descriptor.map(|bytes| TemplateDescriptor::read(&bytes)) {
                None => None,
                Some(read) => match offers.describe(&folder, !files.is_empty(), read) {
                    Some(descriptor) => Some(descriptor),
                    None => continue,
                },
            };
            let mut digest = digest(&folder, &files);
            if let Some(descriptor) = &descriptor {
                digest = descriptor.digest(&digest);
            }
            all.update(digest.as_bytes());
            offers.add(&SourceContent {
                folder: &folder,
                version: None,
                alias: entry.alias.as_deref().unwrap_or(ALIAS),
                commit: None,
                revision: etag.as_deref().unwrap_or_else(|| short(&digest)),
                digest: &digest,
                descriptor: descriptor.as_ref(),
                content: contents.len(),
            });
            contents.push(files);
        }
        let mut listing = offers.listing;
        listing.revision = etag
            .clone()
            .unwrap_or_else(|| all.finalize().to_hex().chars().take(12).collect());
        Ok(Some(ReadArchive {
            etag,
            listing,
            contents,
        }))
    }

    /// The contents of the last listing, which are downloaded again if they are not kept.
    async fn contents(&mut self, settings: &CatalogSettings) -> Result<&[Vec<SourceFile>]> {
        if self.contents.is_none() {
            // The archive has not changed, but one of its packages was refused, or its template was
            // deleted by hand.
            let read = self.read(None, settings).await?;
            let listed = self.last.as_ref().map(|(_, listing)| listing);
            let same = read.filter(|read| listed.is_some_and(|old| is_same(old, &read.listing)));
            let Some(same) = same else {
                self.last = None;
                let why = "the archive changed meanwhile; the next sync reads it again";
                return Err(Error::unavailable("read a package", why));
            };
            self.contents = Some(same.contents);
        }
        Ok(self.contents.as_deref().unwrap_or_default())
    }

    /// The files of each package. A link belongs to a package like a file in its place.
    async fn unpack(
        &self,
        bytes: Vec<u8>,
        entry: &CatalogEntry,
        settings: &CatalogSettings,
    ) -> Result<Vec<UnpackedPackage>> {
        let most = settings.max_listing_bytes as u64;
        let most = settings.source.max_bytes.max(most);
        let also = entry.descriptors;
        let unpacked = unpack(ending(&self.url), bytes, most, also, settings).await?;
        let files = unpacked.files.into_iter().map(|file| ArchiveEntry {
            name: file.name,
            bytes: Some(file.bytes),
        });
        let irregular = unpacked.irregular.into_iter();
        let irregular = irregular.map(|name| ArchiveEntry { name, bytes: None });
        let entries: Vec<ArchiveEntry> = files.chain(irregular).collect();
        let listed = entries.iter().enumerate();
        let names: Vec<(usize, &str)> = listed
            .filter_map(|(at, file)| Some((at, below(&entry.root, &file.name)?)))
            .collect();
        let found = packages(entry, names.iter().copied());
        let mut entries: Vec<Option<ArchiveEntry>> = entries.into_iter().map(Some).collect();
        let mut take = |at: usize| entries.get_mut(at).and_then(Option::take);
        let mut unpacked = Vec::with_capacity(found.len());
        for (folder, found) in found {
            let descriptor = found.descriptor.and_then(&mut take);
            let mut package = UnpackedPackage {
                folder,
                descriptor: descriptor.and_then(|file| file.bytes),
                ..UnpackedPackage::default()
            };
            for file in found.files.into_iter().filter_map(&mut take) {
                let name = file.name;
                match file.bytes {
                    Some(bytes) => package.files.push(SourceFile { name, bytes }),
                    None => package.irregular = Some(name),
                }
            }
            unpacked.push(package);
        }
        Ok(unpacked)
    }
}

/// Whether two listings offer the same templates with the same contents.
fn is_same(one: &CatalogListing, other: &CatalogListing) -> bool {
    let key = |offer: &Offer| (offer.id.clone(), offer.digest.clone(), offer.content);
    one.offers.iter().map(key).eq(other.offers.iter().map(key))
}

/// Whether a path ends like an archive or a YAML file.
pub(super) fn has_ending(path: &str) -> bool {
    ENDINGS.iter().any(|ending| path.ends_with(ending))
}

/// The ending of a URL, which determines the file format.
fn ending(url: &Url) -> &'static str {
    let path = url.path();
    ENDINGS
        .into_iter()
        .find(|ending| path.ends_with(ending))
        .unwrap_or(".yaml")
}

/// The YAML files of an archive, and those with the name `also`, with names relative to it. Links and
/// devices in place of files are listed. Neither the archive nor these files together may have more
/// than `most` bytes.
pub(super) async fn unpack(
    ending: &str,
    bytes: Vec<u8>,
    most: u64,
    also: Option<&str>,
    settings: &CatalogSettings,
) -> Result<SourceListing> {
    let cannot = |error: std::io::Error| Error::internal("keep an archive", error);
    let mut file = tempfile::Builder::new()
        .suffix(ending)
        .tempfile()
        .map_err(cannot)?;
    file.write_all(&bytes).map_err(cannot)?;
    drop(bytes);
    let place = file.path().to_string_lossy().into_owned();
    let limits = settings.source.clone();
    let mut reader = SourceReader::new().with_limits(limits.with_max_bytes(most));
    if let Some(also) = also {
        reader = reader.with_also(also);
    }
    let listing = reader.listing(&place.parse()?).await;
    // The name of the temporary file would mean nothing to people.
    let mut listing = listing.map_err(|error| match error {
        Error::BadArgument {
            argument,
            message,
            violations,
        } => Error::BadArgument {
            argument,
            message: message.replace(&place, "the archive"),
            violations,
        },
        other => other,
    })?;
    let names = listing.files.iter_mut().map(|file| &mut file.name);
    for name in names.chain(&mut listing.irregular) {
        *name = relative(name, &place);
    }
    Ok(listing)
}

/// The name of a file within an archive, without the path of the archive.
fn relative(name: &str, place: &str) -> String {
    if name == place {
        return "package.yaml".to_owned();
    }
    let name = name.strip_prefix(place).unwrap_or(name);
    name.trim_start_matches(['!', '/', ':'])
        .trim_start_matches("./")
        .to_owned()
}

#[async_trait]
impl CatalogSource for HttpCatalog {
    async fn renew_secrets(
        &mut self,
        entry: &CatalogEntry,
        settings: &CatalogSettings,
    ) -> Result<()> {
        let renewed = Self::new(entry, settings).await?;
        self.client = renewed.client;
        self.authorization = renewed.authorization;
        Ok(())
    }

    async fn list(
        &mut self,
        _: &CatalogEntry,
        settings: &CatalogSettings,
    ) -> Result<CatalogListing> {
        let etag = self.last.as_ref().map(|(etag, _)| etag.as_str());
        let Some(read) = self.read(etag, settings).await? else {
            let last = self.last.as_ref().map(|(_, listing)| listing.clone());
            return Ok(last.unwrap_or_default());
        };
        let listing = read.listing;
        self.last = read.etag.map(|etag| (etag, listing.clone()));
        self.contents = Some(read.contents);
        Ok(listing)
    }

    async fn load(
        &mut self,
        content: usize,
        settings: &CatalogSettings,
    ) -> Result<Vec<SourceFile>> {
        let files = self.contents(settings).await?.get(content);
        let files = files.ok_or_else(|| Error::bad("package", "it is not listed any more"))?;
        let most = settings.source.max_bytes;
        if files
            .iter()
            .map(|file| file.bytes.len() as u64)
            .sum::<u64>()
            > most
        {
            let why = format!("the package has more than {most} bytes");
            return Err(Error::bad("package", why));
        }
        Ok(files.clone())
    }

    async fn finish(&mut self) {
        self.contents = None;
    }
}

#[cfg(test)]
mod tests {
    use super::relative;

    #[test]
    fn names_are_relative_to_the_archive() {
        for (name, expected) in [
            ("/tmp/x.zip!a/b.yaml", "a/b.yaml"),
            ("/tmp/x.zip/a.yaml", "a.yaml"),
            ("./a/b.yaml", "a/b.yaml"),
            ("/tmp/x.zip", "package.yaml"),
        ] {
            assert_eq!(relative(name, "/tmp/x.zip"), expected);
        }
    }
}
