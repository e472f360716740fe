//! Inventories in git repositories: a file or a folder for each site, as in a folder.

use super::directory::{item_of, not_readable, site_of};
use super::entry::InventoryEntry;
use super::item::{InventoryListing, InventorySource};
use crate::budget::ListingBudget;
use crate::catalog::entry::branch;
use crate::catalog::git::contents::{GitContent, TreeFile};
use crate::catalog::git::repository::{GitRef, GitRepository};
use crate::catalog::git::revision;
use crate::catalog::layout::below;
use crate::export::layout::{MAX_DESCRIPTOR, SITE_DESCRIPTOR as DESCRIPTOR};
use crate::report::SyncProblem;
use crate::settings::CatalogSettings;
use async_trait::async_trait;
use std::collections::{BTreeMap, HashSet};
use tko_core::{Error, Result};
use tko_source::package_of;

/// A repository of sites.
pub(super) struct GitInventory {
    repository: GitRepository,
    /// The branch; `None` means the default branch.
    branch: Option<String>,
    root: String,
    /// The commit of the last listing, and the listing.
    last: Option<(GitRef, InventoryListing)>,
}

impl GitInventory {
    /// # Errors
    /// `BadArgument`: a property is not valid.
    pub(super) async fn new(entry: &InventoryEntry, settings: &CatalogSettings) -> Result<Self> {
        let properties = entry.properties();
        let mut repository =
            GitRepository::open(&format!("inventory|{}", entry.name), properties, settings).await?;
        repository.list_also(DESCRIPTOR);
        let root = properties.text("root").unwrap_or_default();
        Ok(Self {
            repository,
            branch: properties.text("branch").map(branch).transpose()?,
            root: root.trim_matches('/').to_owned(),
            last: None,
        })
    }

    /// The current commit of the branch.
    async fn head(&mut self, settings: &CatalogSettings) -> Result<GitRef> {
        let remote = self.repository.remote_refs(settings).await?;
        let name = self.branch.clone().or(remote.default_branch);
        let name = name.ok_or_else(|| Error::bad("url", "the repository has no default branch"))?;
        let full = format!("refs/heads/{name}");
        let found = remote.refs.into_iter().find(|one| one.name == full);
        found.ok_or_else(|| {
            let why = format!("the repository has no branch {name:?}");
            Error::bad("branch", why)
        })
    }

    /// The sites of a commit.
    async fn sites(
        &mut self,
        head: &GitRef,
        settings: &CatalogSettings,
    ) -> Result<InventoryListing> {
        self.repository
            .fetch(std::slice::from_ref(head), settings)
            .await?;
        let tree = self.repository.tree(&head.commit, settings).await?;
        let is_descriptor = |name: &str| name.rsplit('/').next() == Some(DESCRIPTOR);
        let files: Vec<(&str, &TreeFile)> = tree
            .files
            .iter()
            .filter_map(|file| Some((below(&self.root, &file.name)?, file)))
            .collect();
        let described: HashSet<&str> = files
            .iter()
            .filter(|(name, _)| is_descriptor(name))
            .filter_map(|(name, _)| name.rsplit_once('/'))
            .map(|(folder, _)| folder)
            .collect();
        let mut sites: BTreeMap<String, Vec<TreeFile>> = BTreeMap::new();
        let mut descriptors: BTreeMap<String, TreeFile> = BTreeMap::new();
        for (name, file) in files {
            if is_descriptor(name) {
                if let Some((folder, _)) = name.rsplit_once('/') {
                    descriptors.insert(folder.to_owned(), file.clone());
                    sites.entry(folder.to_owned()).or_default();
                }
                continue;
            }
            let site = site_of(name, |folder| described.contains(folder));
            sites.entry(site).or_default().push(file.clone());
        }
        if sites.len() > settings.max_sites {
            let why = format!(
                "the repository has {} sites; at most {} are allowed",
                sites.len(),
                settings.max_sites
            );
            return Err(Error::bad("url", why));
        }
        let mut listing = InventoryListing {
            revision: revision(head),
            ..InventoryListing::default()
        };
        let mut budget = ListingBudget::of_sites(settings);
        for (name, files) in sites {
            let descriptor = match descriptors.remove(&name) {
                None => Ok(None),
                Some(file) if file.is_link || file.size > MAX_DESCRIPTOR => Err(not_readable()),
                Some(file) => {
                    let content = GitContent::Files(vec![file]);
                    match self.repository.load(&content, settings).await {
                        Ok(mut files) => Ok(files.pop()),
                        Err(error @ Error::BadArgument { .. }) => Err(error),
                        Err(error) => return Err(error),
                    }
                }
            };
            if let Ok(descriptor) = &descriptor {
                budget.charge_files(descriptor.as_slice())?;
            }
            let item =
                descriptor.and_then(|file| item_of(&name, file.as_ref().map(|file| &*file.bytes)));
            let mut item = match item {
                Ok(item) => item,
                Err(error) => {
                    listing.add_unknown(SyncProblem::of(&name, &error));
                    continue;
                }
            };
            let content = GitContent::Files(files);
            match self.repository.load(&content, settings).await {
                Ok(files) => {
                    budget.charge_files(&files)?;
                    match package_of(files) {
                        Ok(package) => item.package = package,
                        Err(error) => item.add_fault(&error),
                    }
                }
                Err(error @ Error::BadArgument { .. }) => item.add_fault(&error),
                Err(error) => return Err(error),
            }
            listing.items.push(item);
        }
        Ok(listing)
    }
}

#[async_trait]
impl InventorySource for GitInventory {
    async fn renew_secrets(
        &mut self,
        entry: &InventoryEntry,
        settings: &CatalogSettings,
    ) -> Result<()> {
        let properties = entry.properties();
        self.repository.renew_secrets(properties, settings).await
    }

    async fn list(
        &mut self,
        _: &InventoryEntry,
        settings: &CatalogSettings,
    ) -> Result<InventoryListing> {
        let head = self.head(settings).await?;
        let listing = match self.last.take() {
            Some((last, listing)) if last == head => listing,
            _ => {
                let listing = self.sites(&head, settings).await;
                self.repository.rest().await;
                listing?
            }
        };
        self.last = Some((head, listing.clone()));
        Ok(listing)
    }
}
