//! Catalogs in git repositories, read with the program git.
//!
//! Nothing is checked out: trees and blobs are read from the object store. So no hook runs, no
//! submodule is fetched, and no name or link in a repository can lead to a file of this machine.

mod address;
pub(crate) mod contents;
mod credentials;
mod descriptors;
mod files;
mod reader;
mod refs;
pub(crate) mod repository;
mod ssh;

use super::entry::CatalogEntry;
use super::layout::{below, chosen_folder, packages};
use super::offer::{CatalogListing, CatalogSource, OfferList, SourceContent};
use crate::export::layout::TEMPLATE_DESCRIPTOR;
use crate::properties::Properties;
use crate::report::SyncProblem;
use crate::settings::CatalogSettings;
use async_trait::async_trait;
use contents::{GitContents, TreeFile, files_digest, own_files};
use descriptors::GitDescriptors;
use refs::{ChosenRefs, choose, state};
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
    descriptors: GitDescriptors,
    /// The refs of the last listing, and the listing. Equal refs have equal content.
    last: Option<(ChosenRefs, CatalogListing)>,
}

impl GitCatalog {
    pub(super) async fn new(entry: &CatalogEntry, settings: &CatalogSettings) -> Result<Self> {
        let mut repository = GitRepository::open(
            &format!("catalog|{}", entry.name),
            Properties(&entry.properties),
            settings,
        )
        .await?;
        if let Some(descriptor) = entry.descriptors {
            repository.list_also(descriptor);
        }
        Ok(Self {
            repository,
            contents: GitContents::default(),
            descriptors: GitDescriptors::default(),
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
        for (folder, found) in packages(entry, files.iter().copied()) {
            let place = match (entry.root.as_str(), folder.as_str()) {
                ("", folder) => folder.to_owned(),
                (root, "") => root.to_owned(),
                (root, folder) => format!("{root}/{folder}"),
            };
            let Some(id) = tree.folder(&place) else {
                continue;
            };
            let members = found.files.iter().filter_map(|at| tree.files.get(*at));
            let package = TreePackage {
                folder: &folder,
                place: &place,
                tree: id,
                files: members.collect(),
                has_others_below: found.has_others_below,
                descriptor: found.descriptor.and_then(|at| tree.files.get(at)),
            };
            self.add_package(offers, entry, settings, of, &package)
                .await?;
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

    /// The templates of one folder of a commit.
    async fn add_package(
        &mut self,
        offers: &mut OfferList<'_>,
        entry: &CatalogEntry,
        settings: &CatalogSettings,
        of: &Whole<'_>,
        package: &TreePackage<'_>,
    ) -> Result<()> {
        let descriptor = match package.descriptor {
            None => None,
            Some(file) => {
                let read = self.descriptors.read(file, &mut self.repository, settings);
                let read = match read.await {
                    Err(error) if !matches!(error, Error::BadArgument { .. }) => return Err(error),
                    read => read,
                };
                let has_files = !package.files.is_empty();
                let Some(descriptor) = offers.describe(package.folder, has_files, read) else {
                    return Ok(());
                };
                Some(descriptor)
            }
        };
        let digest = match &descriptor {
            Some(descriptor) => descriptor.digest(&files_digest(package.place, &package.files)),
            // The tree also has the files of other packages.
            None if package.has_others_below => files_digest(package.place, &package.files),
            None => package.tree.to_owned(),
        };
        let is_offered = offers.add(&SourceContent {
            folder: package.folder,
            version: of.version,
            alias: of.alias,
            commit: entry.by_commit.then(|| of.commit.get(..SHORT)).flatten(),
            revision: of.revision,
            digest: &digest,
            descriptor: descriptor.as_ref(),
            content: self.contents.len(),
        });
        if is_offered {
            let place = package.place.to_owned();
            self.contents
                .add_files(&package.files, package.tree, place, settings);
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
            let Some((tree, is_described)) = tree else {
                let why = format!("the tag {} names no folder {path:?}", tag.short());
                offers.add_unread(folder, Some(version), SyncProblem::new(*path, why));
                continue;
            };
            let revision = revision(tag);
            let of = Whole {
                commit: &tag.commit,
                version: Some(version),
                alias: "",
                revision: &revision,
            };
            if is_described {
                let tagged = TaggedFolder {
                    folder,
                    place: path,
                    tree: &tree,
                };
                self.add_described_tag(offers, entry, settings, &of, &tagged)
                    .await?;
                continue;
            }
            let is_offered = offers.add(&SourceContent {
                folder,
                version: of.version,
                alias: of.alias,
                commit: None,
                revision: of.revision,
                digest: &tree,
                descriptor: None,
                content: self.contents.len(),
            });
            if is_offered {
                self.contents.add_tree(tree, (*path).to_owned());
            }
        }
        Ok(())
    }

    /// The template of a tag that names a folder with a descriptor.
    async fn add_described_tag(
        &mut self,
        offers: &mut OfferList<'_>,
        entry: &CatalogEntry,
        settings: &CatalogSettings,
        of: &Whole<'_>,
        tagged: &TaggedFolder<'_>,
    ) -> Result<()> {
        let listed = self.repository.list_tree(tagged.tree, settings).await?;
        let mut files = listed.files;
        let descriptor = files.iter().find(|file| file.name == TEMPLATE_DESCRIPTOR);
        let descriptor = descriptor.cloned();
        files = own_files(files);
        for file in &mut files {
            file.name = format!("{}/{}", tagged.place, file.name);
        }
        let package = TreePackage {
            folder: tagged.folder,
            place: tagged.place,
            tree: tagged.tree,
            files: files.iter().collect(),
            has_others_below: false,
            descriptor: descriptor.as_ref(),
        };
        self.add_package(offers, entry, settings, of, &package)
            .await
    }
}

/// The folder that a tag names.
struct TaggedFolder<'a> {
    /// The folder below the root of the catalog.
    folder: &'a str,
    /// The folder below the root of the repository.
    place: &'a str,
    /// The id of its tree.
    tree: &'a str,
}

/// A package in a tree.
struct TreePackage<'a> {
    /// The folder below the root of the catalog.
    folder: &'a str,
    /// The folder below the root of the repository.
    place: &'a str,
    /// The id of its tree.
    tree: &'a str,
    /// The files that belong to it, without the descriptor.
    files: Vec<&'a TreeFile>,
    /// Whether the tree has files of other packages.
    has_others_below: bool,
    descriptor: Option<&'a TreeFile>,
}

/// A commit that is read as a whole, or a tag of one package.
struct Whole<'a> {
    commit: &'a str,
    version: Option<&'a str>,
    alias: &'a str,
    revision: &'a str,
}

#[async_trait]
impl CatalogSource for GitCatalog {
    async fn renew_secrets(
        &mut self,
        entry: &CatalogEntry,
        settings: &CatalogSettings,
    ) -> Result<()> {
        let properties = Properties(&entry.properties);
        self.repository.renew_secrets(properties, settings).await
    }

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
        let tags = chosen.refs.iter().filter(|one| !one.is_branch());
        let package_tags: Vec<(&GitRef, &str, &str)> = tags
            .filter_map(|tag| {
                let (path, version) = tag.short().rsplit_once('/')?;
                Some((tag, path, version))
            })
            .collect();
        // The first offer of an id wins: the tag of one package before that of the whole repository.
        self.add_package_tags(&mut offers, entry, &package_tags, settings)
            .await?;
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
            } else if !short.contains('/') {
                let of = Whole {
                    commit: &reference.commit,
                    version: Some(short),
                    alias: "",
                    revision: &revision(reference),
                };
                self.add_commit(&mut offers, entry, settings, &of).await?;
            }
        }
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
