//! Offers of a source, and the trait of executors.

use super::descriptor::TemplateDescriptor;
use super::entry::CatalogEntry;
use super::layout::{check_path, short, versioned};
use crate::budget::ListingBudget;
use crate::report::SyncProblem;
use crate::settings::CatalogSettings;
use async_trait::async_trait;
use std::collections::{HashMap, HashSet};
use tko_core::{Metadata, Result, TemplateId};
use tko_source::SourceFile;

/// A template that a source offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) id: TemplateId,
    /// The path within the source, for people.
    pub(crate) path: String,
    /// The revision of the source that has this template.
    pub(crate) revision: String,
    /// The digest of the content, with its descriptor. Equal digests mean equal content.
    pub(crate) digest: String,
    /// The given metadata of the descriptor; `None` if the package has no descriptor.
    pub(crate) described: Option<Metadata>,
    /// Whether the content of the template may change, as for an alias of the newest version.
    pub(crate) moves: bool,
    /// The executor's own number of the content.
    pub(crate) content: usize,
}

/// Everything that a source offers.
#[derive(Clone, Debug, Default)]
pub(crate) struct CatalogListing {
    pub(crate) revision: String,
    pub(crate) offers: Vec<Offer>,
    pub(crate) problems: Vec<SyncProblem>,
    pub(crate) unread: UnreadTemplates,
}

/// Templates that a source has, but does not offer this time, such as those that cannot be read
/// now. They are not gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnreadTemplates {
    ids: HashSet<TemplateId>,
    /// Paths of packages whose versions are not known.
    paths: HashSet<String>,
    /// Whether the id of one of them is not known, because its package says it. It may be any.
    is_any: bool,
}

impl UnreadTemplates {
    /// Whether the template of this id, registered from this path, is one of them.
    pub(crate) fn contains(&self, id: &TemplateId, path: Option<&str>) -> bool {
        self.is_any || self.ids.contains(id) || path.is_some_and(|path| self.paths.contains(path))
    }
}

/// The source of one catalog. It may keep what it has read until the next sync.
#[async_trait]
pub(crate) trait CatalogSource: Send {
    /// Reads the secrets of the entry and their lists of hosts again. Each sync of a known source
    /// begins with this. What was read from the source stays.
    ///
    /// # Errors
    /// `BadArgument`: a secret cannot be read, or is not for the host. The sync must not go on.
    async fn renew_secrets(&mut self, _: &CatalogEntry, _: &CatalogSettings) -> Result<()> {
        Ok(())
    }

    /// Lists everything that the source offers.
    ///
    /// # Errors
    /// The source cannot be read as a whole. A fault in one package is listed as a problem instead.
    async fn list(
        &mut self,
        entry: &CatalogEntry,
        settings: &CatalogSettings,
    ) -> Result<CatalogListing>;

    /// Reads the files of one content of the last listing.
    ///
    /// # Errors
    /// It cannot be read, or exceeds the limits.
    async fn load(&mut self, content: usize, settings: &CatalogSettings)
    -> Result<Vec<SourceFile>>;

    /// Releases resources that are only needed during a sync, such as processes.
    async fn finish(&mut self) {}
}

/// Collects offers, each id once.
pub(crate) struct OfferList<'a> {
    entry: &'a CatalogEntry,
    settings: &'a CatalogSettings,
    known: HashMap<TemplateId, usize>,
    /// The bytes that the descriptors of further offers may have.
    descriptors: ListingBudget,
    pub(crate) listing: CatalogListing,
}

/// One content of a source, before it has an id.
pub(crate) struct SourceContent<'a> {
    /// The folder below the root of the catalog; empty for the root itself.
    pub(crate) folder: &'a str,
    /// The version from the source; if `None`, it is taken from the folder or the digest.
    pub(crate) version: Option<&'a str>,
    /// The alias of content without a version; empty for none.
    pub(crate) alias: &'a str,
    /// The commit that serves as the version of content without one; if `None`, the short digest
    /// does.
    pub(crate) commit: Option<&'a str>,
    pub(crate) revision: &'a str,
    /// The digest of the files, with the descriptor.
    pub(crate) digest: &'a str,
    /// The descriptor, which replaces the version and the alias.
    pub(crate) descriptor: Option<&'a TemplateDescriptor>,
    pub(crate) content: usize,
}

impl<'a> OfferList<'a> {
    pub(crate) fn new(entry: &'a CatalogEntry, settings: &'a CatalogSettings) -> Self {
        Self {
            entry,
            settings,
            known: HashMap::new(),
            descriptors: ListingBudget::of_templates(settings),
            listing: CatalogListing::default(),
        }
    }

    /// The descriptor of a package. Returns `None` if the package cannot be offered: it is then
    /// reported, and its template is neither new nor gone.
    pub(crate) fn describe(
        &mut self,
        folder: &str,
        has_files: bool,
        read: Result<TemplateDescriptor>,
    ) -> Option<TemplateDescriptor> {
        let problem = match read {
            Ok(descriptor) if has_files => return Some(descriptor),
            Ok(descriptor) => {
                self.listing.unread.ids.insert(descriptor.id);
                let why = "it has a descriptor but no YAML file; add package.yaml";
                let problem = SyncProblem::new(self.path(folder), why);
                self.listing.problems.push(problem);
                return None;
            }
            Err(error) => SyncProblem::of(self.path(folder), &error),
        };
        self.add_unread(folder, None, problem);
        None
    }

    /// Adds the template of a content. Without a version, the version is the short digest or commit,
    /// and the alias follows it. Returns whether an offer has this content.
    pub(crate) fn add(&mut self, content: &SourceContent<'_>) -> bool {
        let item = self.path(content.folder);
        if let Err(error) = check_path(content.folder) {
            self.listing.problems.push(SyncProblem::of(item, &error));
            return false;
        }
        if let Some(descriptor) = content.descriptor {
            let id = descriptor.id.clone();
            return self.offer(item, id, !descriptor.has_version(), content);
        }
        let found = match content.version {
            Some(version) => Some((content.folder, version)),
            None => versioned(content.folder),
        };
        if let Some((path, version)) = found {
            return self.offer_version(item, path, version, false, content);
        }
        let version = content.commit.unwrap_or_else(|| short(content.digest));
        let is_version = self.offer_version(item, content.folder, version, false, content);
        let is_alias = !content.alias.is_empty()
            && self.offer_version(item, content.folder, content.alias, true, content);
        is_version || is_alias
    }

    /// Reports a package that the source has, but that cannot be read. `version` is as in
    /// [`SourceContent`].
    pub(crate) fn add_unread(&mut self, folder: &str, version: Option<&str>, problem: SyncProblem) {
        self.listing.problems.push(problem);
        let path = self.path(folder);
        if let Some(version) = version {
            // Without a valid id there is no template.
            let id = self.entry.id.id(&self.entry.name, path, version);
            self.listing.unread.ids.extend(id);
        } else {
            self.listing.unread.paths.insert(path.to_owned());
            self.listing.unread.is_any |= self.entry.descriptors.is_some();
        }
    }

    /// Reports a package that has a link or a device in place of the file `name`.
    pub(crate) fn add_irregular(&mut self, folder: &str, name: &str) {
        let problem = SyncProblem::new(self.path(folder), irregular(name));
        self.add_unread(folder, None, problem);
    }

    /// The path of a package in its id and in problems: the name of the catalog for its root.
    fn path<'p>(&self, folder: &'p str) -> &'p str
    where
        'a: 'p,
    {
        if folder.is_empty() {
            self.entry.name.as_str()
        } else {
            folder
        }
    }

    /// Offers a template whose id the pattern of the catalog makes, or reports why not. Returns
    /// whether it is offered with this content.
    fn offer_version(
        &mut self,
        item: &str,
        path: &str,
        version: &str,
        moves: bool,
        of: &SourceContent<'_>,
    ) -> bool {
        match self.entry.id.id(&self.entry.name, self.path(path), version) {
            Ok(id) => self.offer(item, id, moves, of),
            Err(error) => {
                let problem = SyncProblem::of(item, &error);
                self.listing.problems.push(problem);
                false
            }
        }
    }

    /// Offers a template, or reports why not. Returns whether it is offered with this content.
    fn offer(&mut self, item: &str, id: TemplateId, moves: bool, of: &SourceContent<'_>) -> bool {
        let problems = &mut self.listing.problems;
        if let Some(other) = self.known.get(&id) {
            let other = &self.listing.offers[*other];
            if other.digest != of.digest {
                let why = taken(other, item, of);
                problems.push(SyncProblem::new(item, why));
            }
            return false;
        }
        if self.known.len() >= self.settings.max_templates {
            if self.known.len() == self.settings.max_templates {
                let why = format!(
                    "the catalog has more than {} templates; name a part of it with path or tags",
                    self.settings.max_templates
                );
                if problems.last().is_none_or(|last| last.why != why) {
                    problems.push(SyncProblem::new(item, why));
                }
            }
            self.listing.unread.ids.insert(id);
            return false;
        }
        if let Some(descriptor) = of.descriptor
            && let Err(error) = self.descriptors.charge(descriptor.size)
        {
            problems.push(SyncProblem::of(item, &error));
            self.listing.unread.ids.insert(id);
            return false;
        }
        self.known.insert(id.clone(), self.listing.offers.len());
        self.listing.offers.push(Offer {
            id,
            path: item.to_owned(),
            revision: of.revision.to_owned(),
            digest: of.digest.to_owned(),
            described: of.descriptor.map(|descriptor| descriptor.metadata.clone()),
            moves,
            content: of.content,
        });
        true
    }
}

/// Why a package is not read that has a link or a device in place of the file `name`.
pub(super) fn irregular(name: &str) -> String {
    format!("{name} is a link or a device, and links are not followed; replace it with a copy")
}

/// The reason why a content is not offered: another content has the same id.
fn taken(other: &Offer, item: &str, of: &SourceContent<'_>) -> String {
    let (id, is_described) = (&other.id, of.descriptor.is_some());
    if other.path == item {
        let advice = if is_described {
            "set branch, so that the catalog reads one commit"
        } else {
            "remove or rename one of the tags"
        };
        return format!(
            "template {id} has other content at {} than at {}; {advice}",
            of.revision, other.revision
        );
    }
    let advice = if is_described {
        "change the id in one of them"
    } else {
        "rename one, or set another id pattern"
    };
    format!("template {id} is also made of {}; {advice}", other.path)
}
