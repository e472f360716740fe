//! Catalogs in OCI registries: each tag of a repository is a version of one package.

mod artifact;
mod registry;

use super::entry::CatalogEntry;
use super::layout::{is_version, short};
use super::offer::{CatalogListing, CatalogSource, OfferList, SourceContent, irregular};
use crate::report::SyncProblem;
use crate::settings::CatalogSettings;
pub use artifact::oci_file;
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use registry::{Manifest, OciRegistry};
use std::collections::BTreeMap;
use tko_core::{BoxFuture, Error, Result};
use tko_source::SourceFile;

/// How many manifests are requested at the same time.
const AT_ONCE: usize = 8;

/// Media types of layers that are archives of YAML files: those of Flux, of kpt, of ORAS.
const ARCHIVES: [(&str, &str); 5] = [
    ("application/vnd.cncf.flux.content.v1.tar+gzip", ".tar.gz"),
    ("application/vnd.oci.image.layer.v1.tar+gzip", ".tar.gz"),
    (
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ".tar.gz",
    ),
    ("application/vnd.oci.image.layer.v1.tar", ".tar"),
    ("application/vnd.kpt.content.v1.tar+gzip", ".tar.gz"),
];

/// The media type of a Helm chart.
const HELM: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// Checks a URL without reading it.
///
/// # Errors
/// `BadArgument`: it does not name a repository.
pub(crate) fn check_url(url: &str) -> Result<()> {
    registry::place(url).map(|_| ())
}

/// A repository of a registry.
pub(super) struct OciCatalog {
    registry: OciRegistry,
    contents: Vec<TaggedManifest>,
}

/// A tag, and the digest of its manifest.
#[derive(Clone, Debug)]
struct TaggedManifest {
    tag: String,
    digest: String,
}

impl OciCatalog {
    pub(super) async fn new(entry: &CatalogEntry, settings: &CatalogSettings) -> Result<Self> {
        Ok(Self {
            registry: OciRegistry::open(entry, settings).await?,
            contents: Vec::new(),
        })
    }

    /// The listing of a catalog that is pinned to a digest, which is its version.
    fn one(
        &mut self,
        digest: String,
        entry: &CatalogEntry,
        settings: &CatalogSettings,
    ) -> CatalogListing {
        let mut offers = OfferList::new(entry, settings);
        offers.add(&SourceContent {
            folder: self.registry.repository(),
            version: Some(short(&digest)),
            alias: "",
            commit: None,
            revision: &digest,
            digest: &digest,
            descriptor: None,
            content: 0,
        });
        let mut listing = offers.listing;
        listing.revision.clone_from(&digest);
        let tag = short(&digest).to_owned();
        self.contents = vec![TaggedManifest { tag, digest }];
        listing
    }
}

/// Whether a tag is a signature, an attestation or a bill of materials, by the naming scheme of
/// cosign.
fn is_about_another(tag: &str) -> bool {
    tag.starts_with("sha256-")
}

#[async_trait]
impl CatalogSource for OciCatalog {
    async fn renew_secrets(
        &mut self,
        entry: &CatalogEntry,
        settings: &CatalogSettings,
    ) -> Result<()> {
        self.registry.renew_secrets(entry, settings).await
    }

    async fn list(
        &mut self,
        entry: &CatalogEntry,
        settings: &CatalogSettings,
    ) -> Result<CatalogListing> {
        if let Some(pinned) = self.registry.pinned() {
            let pinned = pinned.to_owned();
            if self.registry.digest(&pinned).await? != pinned {
                let why = format!("the registry answers {pinned} with another digest");
                return Err(Error::bad("url", why));
            }
            return Ok(self.one(pinned, entry, settings));
        }
        let mut tags = self.registry.tags(settings).await?;
        let found = tags.len();
        tags.retain(|tag| match &entry.tags {
            Some(pattern) => pattern.matches(tag) && !is_about_another(tag),
            None => is_version(tag),
        });
        tags.sort();
        let is_none_left = tags.is_empty() && found > 0;
        let registry = &self.registry;
        let mut calls: Vec<BoxFuture<'_, (String, Result<Option<String>>)>> = Vec::new();
        for tag in tags {
            calls.push(Box::pin(async move {
                let digest = registry.find(&tag).await;
                (tag, digest)
            }));
        }
        let mut digests = stream::iter(calls).buffered(AT_ONCE);
        let mut offers = OfferList::new(entry, settings);
        if is_none_left {
            let why = format!(
                "the source offers no template: none of its tags ({found}) is a version; set the \
                 property tags to a pattern of the tags to read"
            );
            let problem = SyncProblem::new(&entry.name, why);
            offers.listing.problems.push(problem);
        }
        let mut contents = Vec::new();
        let mut all = blake3::Hasher::new();
        while let Some((tag, digest)) = digests.next().await {
            let digest = match digest {
                Ok(Some(digest)) => digest,
                // The tag was deleted meanwhile.
                Ok(None) => {
                    let why = "the registry lists this tag, but has no manifest of it";
                    offers.listing.problems.push(SyncProblem::new(tag, why));
                    continue;
                }
                Err(error @ (Error::Unavailable { .. } | Error::Unauthenticated(_))) => {
                    return Err(error);
                }
                // Registries refuse single artifacts, too, such as those that they scan.
                Err(error) => {
                    let problem = SyncProblem::of(&tag, &error);
                    offers.add_unread(registry.repository(), Some(&tag), problem);
                    continue;
                }
            };
            all.update(tag.as_bytes());
            all.update(digest.as_bytes());
            offers.add(&SourceContent {
                folder: registry.repository(),
                version: Some(&tag),
                alias: "",
                commit: None,
                revision: &tag,
                digest: &digest,
                descriptor: None,
                content: contents.len(),
            });
            contents.push(TaggedManifest { tag, digest });
        }
        drop(digests);
        self.contents = contents;
        let mut listing = offers.listing;
        let revision: String = all.finalize().to_hex().chars().take(12).collect();
        listing.revision = format!("{} tags ({revision})", self.contents.len());
        Ok(listing)
    }

    async fn load(
        &mut self,
        content: usize,
        settings: &CatalogSettings,
    ) -> Result<Vec<SourceFile>> {
        let content = self.contents.get(content).cloned();
        let content = content.ok_or_else(|| Error::bad("package", "it is not listed any more"))?;
        let manifest = self.registry.manifest(&content.digest).await?;
        files(&self.registry, &content.tag, &manifest, settings).await
    }
}

/// The files of an artifact.
///
/// # Errors
/// `BadArgument`: it has no layer with packages, or more bytes or files than allowed, before or
/// after decompression.
async fn files(
    registry: &OciRegistry,
    tag: &str,
    manifest: &Manifest,
    settings: &CatalogSettings,
) -> Result<Vec<SourceFile>> {
    if manifest.layers.iter().any(|layer| layer.media_type == HELM) {
        return Ok(vec![chart(registry, tag)]);
    }
    let most = settings.source.max_bytes;
    let too_large = || {
        let why = format!("{tag}: the artifact has more than {most} bytes");
        Error::bad("package", why)
    };
    let (mut left, mut kept) = (most, 0);
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for layer in &manifest.layers {
        let title = layer
            .title
            .as_deref()
            .filter(|title| super::directory::is_yaml(title));
        let archive = ARCHIVES
            .iter()
            .find(|(media, _)| *media == layer.media_type);
        if title.is_none() && archive.is_none() {
            continue;
        }
        left = left.checked_sub(layer.size).ok_or_else(too_large)?;
        let bytes = registry.blob(layer).await?;
        let read = match (title, archive) {
            (Some(title), _) => vec![SourceFile {
                name: title.to_owned(),
                bytes,
            }],
            (None, Some((_, ending))) => {
                let unpacked = super::http::unpack(ending, bytes, most, None, settings).await?;
                if let Some(link) = unpacked.irregular.first() {
                    let why = format!("{tag}: {}", irregular(link));
                    return Err(Error::bad("package", why));
                }
                unpacked.files
            }
            (None, None) => continue,
        };
        // Later layers replace files of earlier ones.
        for file in read {
            kept += file.bytes.len() as u64;
            if let Some(replaced) = files.insert(file.name, file.bytes) {
                kept -= replaced.len() as u64;
            }
        }
        // A small layer can unpack to a large size.
        if kept > most {
            return Err(too_large());
        }
        let most_files = settings.source.max_files;
        if files.len() > most_files {
            let why = format!("{tag}: the artifact has more than {most_files} files");
            return Err(Error::bad("package", why));
        }
    }
    if files.is_empty() {
        let found: Vec<&str> = manifest
            .layers
            .iter()
            .map(|l| l.media_type.as_str())
            .collect();
        let why = format!(
            "{tag}: no layer has packages; its layers are {}",
            found.join(", ")
        );
        return Err(Error::bad("package", why));
    }
    let files = files.into_iter();
    Ok(files
        .map(|(name, bytes)| SourceFile { name, bytes })
        .collect())
}

/// A package with one Helm chart, which refers to the artifact.
fn chart(registry: &OciRegistry, tag: &str) -> SourceFile {
    let repository = registry.repository();
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let chart = serde_json::json!({
        "apiVersion": "workload.nephio.org/v1alpha1",
        "kind": "HelmChart",
        "metadata": {"name": name},
        "spec": {"chart": registry.url(), "version": tag},
    });
    // JSON is YAML.
    SourceFile {
        name: "chart.yaml".to_owned(),
        bytes: chart.to_string().into_bytes(),
    }
}
