//! Compares the offers of a source with what is registered, and registers the difference.
//!
//! A sync of an unchanged source writes nothing: each template carries the digest of its content.

use super::adopt::RegisteredOffer;
use super::entry::CatalogEntry;
use super::offer::{CatalogSource, Offer, UnreadTemplates};
use super::place::located;
use crate::provenance::{
    CATALOG, CATALOG_DIGEST, CATALOG_GONE, CATALOG_PACKAGE, CATALOG_PATH, CATALOG_REVISION,
    CATALOG_TEMPLATE, CATALOG_URL, registered_by,
};
use crate::report::{SyncProblem, SyncReport};
use crate::settings::CatalogSettings;
use futures_util::{StreamExt, stream};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tko_core::{
    BoxFuture, DataApi, Entity, EntityUpdate, Error, Expect, Key, Kind, Metadata, NewTemplate,
    Package, Pattern, Result, Select, TemplateId, Want,
};
use tko_source::package_of;

/// How many registrations are made at the same time.
const AT_ONCE: usize = 8;

/// How many packages are read before they are registered.
const CHUNK: usize = 32;

/// One sync of one catalog.
pub(crate) struct CatalogSync<'a> {
    pub(crate) data: &'a dyn DataApi,
    pub(crate) entry: &'a CatalogEntry,
    pub(crate) settings: &'a CatalogSettings,
}

/// The action that an offer needs.
enum SyncAction {
    Create,
    Replace(Arc<Entity>),
    /// The content is the same, but the template is wrongly marked as gone.
    Unmark(Arc<Entity>),
}

impl CatalogSync<'_> {
    /// Syncs once.
    ///
    /// # Errors
    /// The source or the store cannot be reached; entities registered until then stay.
    pub(crate) async fn run(&self, source: &mut dyn CatalogSource) -> Result<SyncReport> {
        let listing = source.list(self.entry, self.settings).await?;
        let own = self.own().await?;
        let offers = listing.offers.iter();
        let mut report = SyncReport {
            revision: listing.revision,
            total: offers.filter(|offer| own.contains_key(&offer.id)).count(),
            problems: listing.problems,
            ..SyncReport::default()
        };
        let mut actions = Vec::new();
        for offer in &listing.offers {
            if let Some(action) = self.action(offer, own.get(&offer.id), &mut report) {
                actions.push((offer, action));
            }
        }
        for chunk in actions.chunks(CHUNK) {
            self.apply(chunk, source, &mut report).await?;
        }
        self.retire(&listing.offers, &listing.unread, &own, &mut report)
            .await?;
        if listing.offers.is_empty() && report.problems.is_empty() {
            let problem = SyncProblem::new(&self.entry.name, self.no_offer());
            report.problems.push(problem);
        }
        // A package without a version is offered twice, by its digest and by its alias.
        report.problems.sort();
        report.problems.dedup();
        Ok(report)
    }

    /// The problem with a source that offers nothing: probably a property is wrong.
    fn no_offer(&self) -> String {
        let properties = match self.entry.executor.as_str() {
            "git" => "root, path, tags and branch",
            "oci" => "url and tags",
            _ => "url, root and path",
        };
        format!("the source offers no template; check the properties {properties}")
    }

    /// The templates that this catalog registered.
    async fn own(&self) -> Result<HashMap<TemplateId, Arc<Entity>>> {
        let own = registered_by(self.data, Kind::Template, CATALOG, &self.entry.name).await?;
        let by_id = own.into_iter().filter_map(|entity| match &entity.key {
            Key::Template(id) => Some((id.clone(), entity.clone())),
            _ => None,
        });
        Ok(by_id.collect())
    }

    fn action(
        &self,
        offer: &Offer,
        own: Option<&Arc<Entity>>,
        report: &mut SyncReport,
    ) -> Option<SyncAction> {
        let Some(entity) = own else {
            return Some(SyncAction::Create);
        };
        let is_same = entity.given.get(CATALOG_DIGEST) == Some(&offer.digest);
        let is_edited = is_edited(entity) || is_same && lacks_metadata(entity, offer);
        if !is_same || is_edited {
            if offer.moves || self.entry.mutable {
                return Some(SyncAction::Replace(entity.clone()));
            }
            let revision = entity.given.get(CATALOG_REVISION);
            let revision = revision.filter(|revision| !revision.is_empty());
            let revision = revision.unwrap_or("an unknown revision");
            let why = if is_edited {
                format!(
                    "template {} was changed by hand since it was registered (at {revision}); undo \
                     the change, or set mutable to true to register the content of the source again",
                    offer.id
                )
            } else {
                format!(
                    "version {} has other content than when it was registered (at {revision}); \
                     publish a new version, or set mutable to true",
                    offer.id
                )
            };
            report.problems.push(SyncProblem::new(&offer.path, why));
        }
        let is_marked = is_same && entity.given.contains_key(CATALOG_GONE);
        is_marked.then(|| SyncAction::Unmark(entity.clone()))
    }

    /// Reads the packages of a chunk one after the other, then registers them together.
    async fn apply(
        &self,
        chunk: &[(&Offer, SyncAction)],
        source: &mut dyn CatalogSource,
        report: &mut SyncReport,
    ) -> Result<()> {
        let mut ready = Vec::new();
        for (offer, action) in chunk {
            if let SyncAction::Unmark(entity) = action {
                self.mark(entity, None).await?;
                report.changed += 1;
                continue;
            }
            let files = match source.load(offer.content, self.settings).await {
                Ok(files) => files,
                Err(error @ Error::Unavailable { .. }) => return Err(error),
                Err(error) => {
                    report.problems.push(SyncProblem::of(&offer.path, &error));
                    continue;
                }
            };
            match package_of(files) {
                // A descriptor says that there is a template, even without a resource.
                Ok(package) if package.is_empty() && offer.described.is_none() => {
                    report
                        .problems
                        .push(SyncProblem::new(&offer.path, "it has no resource"));
                }
                Ok(package) => {
                    let expect = match action {
                        SyncAction::Replace(entity) => Expect::At(entity.version),
                        _ => Expect::Absent,
                    };
                    let metadata = self.metadata(offer, &package);
                    let new = NewTemplate::new(offer.id.clone(), package)
                        .metadata(metadata)
                        .expect(expect);
                    ready.push((*offer, new));
                }
                Err(error) => report.problems.push(SyncProblem::of(&offer.path, &error)),
            }
        }
        let mut calls: Vec<BoxFuture<'_, _>> = Vec::new();
        for (offer, new) in ready {
            calls.push(Box::pin(
                async move { (offer, self.register(offer, new).await) },
            ));
        }
        let mut registered = stream::iter(calls).buffer_unordered(AT_ONCE);
        while let Some((offer, result)) = registered.next().await {
            match result {
                Ok(RegisteredOffer::Created) => {
                    report.created += 1;
                    report.total += 1;
                }
                Ok(RegisteredOffer::Changed) => report.changed += 1,
                Ok(RegisteredOffer::Adopted) => {
                    report.changed += 1;
                    report.total += 1;
                }
                Ok(RegisteredOffer::Elsewhere) => report.total += 1,
                Ok(RegisteredOffer::Refused(why)) => {
                    report.problems.push(SyncProblem::new(&offer.path, why));
                }
                Err(Error::BadArgument { violations, .. }) if !violations.is_empty() => {
                    // The files are read again, because few packages are refused.
                    let files = source.load(offer.content, self.settings).await;
                    let why = located(&violations, &files.unwrap_or_default());
                    report.problems.push(SyncProblem::new(&offer.path, why));
                }
                Err(error) => refused(offer, error, report)?,
            }
        }
        Ok(())
    }

    /// The given metadata of a template with this package: those of its descriptor, and those that
    /// record its origin.
    fn metadata(&self, offer: &Offer, package: &Package) -> Metadata {
        let package = package.hash().to_string();
        let origin = [
            (CATALOG, self.entry.name.as_str()),
            (CATALOG_DIGEST, &offer.digest),
            (CATALOG_PACKAGE, &package),
            (CATALOG_PATH, &offer.path),
            (CATALOG_REVISION, &offer.revision),
            (CATALOG_TEMPLATE, offer.id.as_str()),
            (CATALOG_URL, &self.entry.public_url()),
        ]
        .into_iter()
        .collect();
        // The origin is last, so that no descriptor can forge it.
        let described = offer.described.clone().unwrap_or_default();
        described.overlaid(&origin)
    }

    /// Marks the templates that the source no longer has, or removes those to which nothing refers.
    async fn retire(
        &self,
        offers: &[Offer],
        unread: &UnreadTemplates,
        own: &HashMap<TemplateId, Arc<Entity>>,
        report: &mut SyncReport,
    ) -> Result<()> {
        let offered: HashSet<&TemplateId> = offers.iter().map(|offer| &offer.id).collect();
        // An empty source is probably broken, for example a folder whose disk is not mounted.
        let prune = self.entry.prune && !offers.is_empty();
        let mut is_kept = false;
        for (id, entity) in own {
            if offered.contains(id) || unread.contains(id, entity.given.get(CATALOG_PATH)) {
                continue;
            }
            if prune && !self.is_referred_to(id).await? {
                self.remove(entity, report).await?;
                continue;
            }
            is_kept |= self.entry.prune && !prune;
            if !entity.given.contains_key(CATALOG_GONE) {
                self.mark(entity, Some("true")).await?;
                report.gone += 1;
            }
        }
        if is_kept {
            let why = "the source offers no template, so nothing is removed; check the source, or \
                       delete the templates that are really gone";
            let problem = SyncProblem::new(&self.entry.name, why);
            report.problems.push(problem);
        }
        Ok(())
    }

    async fn remove(&self, entity: &Entity, report: &mut SyncReport) -> Result<()> {
        match self.data.delete(&entity.key).await {
            Ok(()) => report.removed += 1,
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn is_referred_to(&self, id: &TemplateId) -> Result<bool> {
        for kind in [Kind::Deployment, Kind::Site] {
            let select = Select::all(kind)
                .template_id(Pattern::literal(id.as_str()))
                .deleting(true);
            if self.data.count(&select, 1, Want::ROW).await?.found > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sets or removes the mark that a template is gone. A concurrent change wins.
    async fn mark(&self, entity: &Entity, gone: Option<&str>) -> Result<()> {
        let mut metadata = entity.given.clone();
        match gone {
            Some(value) => metadata.insert(CATALOG_GONE, value),
            None => metadata.retain(|key, _| key != CATALOG_GONE),
        }
        let update = EntityUpdate::new(entity.key.clone(), entity.version).metadata(metadata);
        match self.data.update_entity(update).await {
            Ok(_) | Err(Error::Conflict(_) | Error::NotFound(_) | Error::Busy(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Turns a refused registration into a problem, unless the store cannot be reached.
fn refused(offer: &Offer, error: Error, report: &mut SyncReport) -> Result<()> {
    let why = match error {
        Error::AlreadyExists(_) | Error::Conflict(_) | Error::NotFound(_) | Error::Busy(_) => {
            format!(
                "template {} changed meanwhile; the next sync tries again",
                offer.id
            )
        }
        error @ Error::BadArgument { .. } => error.chain().clone(),
        error => return Err(error),
    };
    report.problems.push(SyncProblem::new(&offer.path, why));
    Ok(())
}

/// Whether a template lacks metadata of the descriptor with which it was registered.
pub(super) fn lacks_metadata(entity: &Entity, offer: &Offer) -> bool {
    let mut described = offer.described.iter().flatten();
    described.any(|(key, value)| entity.given.get(key) != Some(value))
}

/// Whether a template has another package than the one that its catalog registered.
///
/// An edit does not change [`CATALOG_DIGEST`], which is the digest of the content of the source.
fn is_edited(entity: &Entity) -> bool {
    let registered = entity.given.get(CATALOG_PACKAGE);
    registered.is_some_and(|hash| hash != entity.body.to_string())
}
