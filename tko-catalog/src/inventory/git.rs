//! Inventories in git repositories: a file or a folder for each site, as in a folder.

use super::directory::{item_of, site_of};
use super::entry::InventoryEntry;
use super::item::{InventoryItem, InventoryListing, InventorySource};
use crate::budget::ListingBudget;
use crate::catalog::entry::branch;
use crate::catalog::git::contents::{GitContent, TreeFile};
use crate::catalog::git::repository::{GitRef, GitRepository};
use crate::catalog::git::revision;
use crate::catalog::layout::below;
use crate::export::layout::{MAX_DESCRIPTOR, SITE_DESCRIPTOR as DESCRIPTOR};
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
    /// The commit of the last listing, and its items.
    last: Option<(GitRef, Vec<InventoryItem>)>,
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

    async fn items(
        &mut self,
        head: &GitRef,
        settings: &CatalogSettings,
    ) -> Result<Vec<InventoryItem>> {
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
            .filter(|(name, file)| is_descriptor(name) && !file.is_link)
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
        let mut items = Vec::with_capacity(sites.len());
        let mut budget = ListingBudget::of_sites(settings);
        for (name, files) in sites {
            let descriptor = match descriptors.remove(&name) {
                None => None,
                Some(file) if file.is_link || file.size > MAX_DESCRIPTOR => {
                    let why = format!("it is not a file of at most {MAX_DESCRIPTOR} bytes");
                    return Err(Error::bad(file.name, why));
                }
                Some(file) => {
                    let content = GitContent::Files(vec![file]);
                    self.repository.load(&content, settings).await?.pop()
                }
            };
            budget.charge_files(descriptor.as_slice())?;
            let mut item = item_of(&name, descriptor.as_ref().map(|file| &*file.bytes))?;
            let content = GitContent::Files(files);
            match self.repository.load(&content, settings).await {
                Ok(files) => {
                    budget.charge_files(&files)?;
                    match package_of(files) {
                        Ok(package) => item.package = package,
                        Err(error) => item.fault = Some(error.chain().clone()),
                    }
                }
                Err(error @ Error::BadArgument { .. }) => item.fault = Some(error.chain().clone()),
                Err(error) => return Err(error),
            }
            items.push(item);
        }
        Ok(items)
    }
}

#[async_trait]
impl InventorySource for GitInventory {
    async fn list(
        &mut self,
        _: &InventoryEntry,
        settings: &CatalogSettings,
    ) -> Result<InventoryListing> {
        let head = self.head(settings).await?;
        let items = match self.last.take() {
            Some((last, items)) if last == head => items,
            _ => {
                let items = self.items(&head, settings).await;
                self.repository.rest().await;
                items?
            }
        };
        self.last = Some((head.clone(), items.clone()));
        Ok(InventoryListing {
            revision: revision(&head),
            items,
            ..InventoryListing::default()
        })
    }
}
