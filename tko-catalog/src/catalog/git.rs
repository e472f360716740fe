//! Catalogs in git repositories, read with the program git.
//!
//! Nothing is checked out: trees and blobs are read from the object store. So no hook runs, no
//! submodule is fetched, and no name or link in a repository can lead to a file of this machine.

mod address;
pub(crate) mod contents;
mod files;
mod reader;
pub(crate) mod repository;
mod ssh;

use super::entry::CatalogEntry;
use super::layout::{below, chosen_folder, is_version, packages};
use super::offer::{CatalogListing, CatalogSource, OfferList, SourceContent};
use crate::properties::Properties;
use crate::report::SyncProblem;
use crate::settings::CatalogSettings;
use async_trait::async_trait;
use contents::{GitContents, TreeFile};
use repository::{GitRef, GitRepository};
use tko_core::{Error, Result};
use tko_source::SourceFile;

/// Digits of a commit id that a revision shows.
const SHORT: usize = 12;

/// Checks a URL without reading it.
///
/// # Errors
/// `BadArgument`: git may not read it.
pub(crate) fn check_url(url: &str, settings: &CatalogSettings) -> Result<()> {
    address::checked(url, settings).map(|_| ())
}

/// A repository of packages.
pub(super) struct GitCatalog {
    repository: GitRepository,
    contents: GitContents,
    /// The refs of the last listing, and the listing. Equal refs have equal content.
    last: Option<(ChosenRefs, CatalogListing)>,
}

impl GitCatalog {
    pub(super) async fn new(entry: &CatalogEntry, settings: &CatalogSettings) -> Result<Self> {
        Ok(Self {
            repository: GitRepository::open(
                &format!("catalog|{}", entry.name),
                Properties(&entry.properties),
                settings,
            )
            .await?,
            contents: GitContents::default(),
            last: None,
        })
    }

    /// The templates of one commit as a whole.
    async fn add_commit(
        &mut self,
        offers: &mut OfferList<'_>,
        entry: &CatalogEntry,
        settings: &CatalogSettings,
        of: &Whole<'_>,
    ) -> Result<()> {
        let tree = self.repository.tree(of.commit, settings).await?;
        let files: Vec<(usize, &str)> = tree
            .files
            .iter()
            .enumerate()
            .filter_map(|(at, file)| Some((at, below(&entry.root, &file.name)?)))
            .collect();
        for (folder, members) in packages(entry, files.iter().copied()) {
            let place = match (entry.root.as_str(), folder.as_str()) {
                ("", folder) => folder.to_owned(),
                (root, "") => root.to_owned(),
                (root, folder) => format!("{root}/{folder}"),
            };
            let Some(digest) = tree.folder(&place) else {
                continue;
            };
            let is_offered = offers.add(&SourceContent {
                folder: &folder,
                version: of.version,
                alias: of.alias,
                commit: entry.by_commit.then(|| of.commit.get(..SHORT)).flatten(),
                revision: of.revision,
                digest,
                content: self.contents.len(),
            });
            if is_offered {
                let files = members.into_iter().filter_map(|at| tree.files.get(at));
                let files: Vec<&TreeFile> = files.collect();
                self.contents.add_files(&files, digest, place, settings);
            }
        }
        if offers.listing.offers.is_empty() && tree.files.is_empty() {
            let why = "it has no YAML file";
            offers
                .listing
                .problems
                .push(SyncProblem::new(of.revision, why));
        }
        Ok(())
    }

    /// The templates of tags that name one package each.
    async fn add_package_tags(
        &mut self,
        offers: &mut OfferList<'_>,
        entry: &CatalogEntry,
        tags: &[(&GitRef, &str, &str)],
        settings: &CatalogSettings,
    ) -> Result<()> {
        let places: Vec<String> = tags
            .iter()
            .map(|(tag, path, _)| format!("{}:{path}", tag.commit))
            .collect();
        let trees = self.repository.trees(&places, settings).await?;
        for ((tag, path, version), tree) in tags.iter().zip(trees) {
            let Some(folder) = chosen_folder(entry, path) else {
                continue;
            };
            let Some(tree) = tree else {
                let why = format!("the tag {} names no folder {path:?}", tag.short());
                offers.add_unread(folder, Some(version), SyncProblem::new(*path, why));
                continue;
            };
            let is_offered = offers.add(&SourceContent {
                folder,
                version: Some(version),
                alias: "",
                commit: None,
                revision: &revision(tag),
                digest: &tree,
                content: self.contents.len(),
            });
            if is_offered {
                self.contents.add_tree(tree, (*path).to_owned());
            }
        }
        Ok(())
    }
}

/// A commit that is read as a whole.
struct Whole<'a> {
    commit: &'a str,
    version: Option<&'a str>,
    alias: &'a str,
    revision: &'a str,
}

#[async_trait]
impl CatalogSource for GitCatalog {
    async fn list(
        &mut self,
        entry: &CatalogEntry,
        settings: &CatalogSettings,
    ) -> Result<CatalogListing> {
        let remote = self.repository.remote_refs(settings).await?;
        let chosen = choose(entry, &remote)?;
        if let Some((known, listing)) = &self.last
            && *known == chosen
        {
            return Ok(listing.clone());
        }
        self.last = None;
        self.contents = GitContents::default();
        self.repository.fetch(&chosen.refs, settings).await?;
        let mut offers = OfferList::new(entry, settings);
        let mut package_tags = Vec::new();
        for reference in &chosen.refs {
            let short = reference.short();
            if reference.is_branch() {
                let alias = entry.alias.clone().unwrap_or_else(|| short.to_owned());
                let of = Whole {
                    commit: &reference.commit,
                    version: None,
                    alias: &alias,
                    revision: &revision(reference),
                };
                self.add_commit(&mut offers, entry, settings, &of).await?;
            } else if let Some((path, version)) = short.rsplit_once('/') {
                package_tags.push((reference, path, version));
            } else {
                let of = Whole {
                    commit: &reference.commit,
                    version: Some(short),
                    alias: "",
                    revision: &revision(reference),
                };
                self.add_commit(&mut offers, entry, settings, &of).await?;
            }
        }
        self.add_package_tags(&mut offers, entry, &package_tags, settings)
            .await?;
        let mut listing = offers.listing;
        if chosen.excludes_all {
            let why = "no version tag PATH/vN names a package that root and path include; change \
                       these properties, or set branch";
            listing.problems.push(SyncProblem::new(&entry.name, why));
        }
        listing.revision = match chosen.refs.as_slice() {
            [one] => revision(one),
            many => format!("{} tags and branches ({})", many.len(), state(many)),
        };
        self.last = Some((chosen, listing.clone()));
        Ok(listing)
    }

    async fn load(
        &mut self,
        content: usize,
        settings: &CatalogSettings,
    ) -> Result<Vec<SourceFile>> {
        let content = self.contents.get(content).cloned();
        let content = content.ok_or_else(|| Error::bad("package", "it is not listed any more"))?;
        self.repository.load(&content, settings).await
    }

    async fn finish(&mut self) {
        self.repository.rest().await;
    }
}

/// The revision of a ref, as people read it: `v1@0123456789ab`.
pub(crate) fn revision(reference: &GitRef) -> String {
    let commit = reference.commit.get(..SHORT).unwrap_or(&reference.commit);
    format!("{}@{commit}", reference.short())
}

/// A short digest of all refs.
fn state(refs: &[GitRef]) -> String {
    let mut hasher = blake3::Hasher::new();
    for reference in refs {
        hasher.update(reference.name.as_bytes());
        hasher.update(reference.commit.as_bytes());
    }
    hasher.finalize().to_hex().chars().take(SHORT).collect()
}

/// The refs that a catalog reads.
#[derive(PartialEq, Eq)]
struct ChosenRefs {
    refs: Vec<GitRef>,
    /// Whether the catalog reads nothing because it excludes the packages of all version tags.
    excludes_all: bool,
}

/// Whether a ref is a tag that is a version.
fn is_version_tag(entry: &CatalogEntry, reference: &GitRef) -> bool {
    let short = reference.short();
    let last = short.rsplit_once('/').map_or(short, |(_, last)| last);
    !reference.is_branch()
        && match &entry.tags {
            Some(pattern) => pattern.matches(short),
            None => is_version(last),
        }
}

/// Whether the catalog includes the package that a tag names, or the tag names none.
fn includes(entry: &CatalogEntry, tag: &GitRef) -> bool {
    let place = tag.short().rsplit_once('/').map(|(place, _)| place);
    place.is_none_or(|place| chosen_folder(entry, place).is_some())
}

/// Chooses the refs: the branch and the tags that the catalog names; or else all tags that look
/// like versions; or else the default branch. Tags of packages that the catalog excludes are not
/// read. They are versions nevertheless: the default branch does not stand in for them, because its
/// templates would be gone as soon as a package that the catalog includes has a tag.
fn choose(entry: &CatalogEntry, remote: &repository::RemoteRefs) -> Result<ChosenRefs> {
    let mut refs: Vec<GitRef> = Vec::new();
    let mut has_versions = false;
    if entry.branch.is_none() || entry.tags.is_some() {
        for reference in &remote.refs {
            if is_version_tag(entry, reference) {
                has_versions = true;
                if includes(entry, reference) {
                    refs.push(reference.clone());
                }
            }
        }
    }
    let branch = match &entry.branch {
        Some(branch) => Some(branch.as_str()),
        // The default branch of an empty repository does not exist yet.
        None if !has_versions && entry.tags.is_none() => remote
            .default_branch
            .as_deref()
            .filter(|branch| remote.has_branch(branch)),
        None => None,
    };
    if let Some(branch) = branch {
        let name = format!("refs/heads/{branch}");
        if let Some(reference) = remote.refs.iter().find(|reference| reference.name == name) {
            refs.push(reference.clone());
        } else {
            let why = format!("the repository has no branch {branch:?}");
            return Err(Error::bad("branch", why));
        }
    }
    let excludes_all = has_versions && refs.is_empty();
    if refs.is_empty() && entry.tags.is_none() && !has_versions {
        return Err(Error::bad(
            "url",
            "the repository has neither versions nor a default branch",
        ));
    }
    Ok(ChosenRefs { refs, excludes_all })
}
