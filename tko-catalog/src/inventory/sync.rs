//! Compares the items of a source with the sites of the inventory, and registers the difference.
//!
//! A sync of an unchanged source writes nothing. Nothing at all is written if more sites vanished,
//! or would lose metadata, than the limit allows, until a person accepts exactly this disappearance.

use super::entry::InventoryEntry;
use super::guard::Disappearance;
use super::item::{InventoryItem, InventorySource};
use super::mapping::MappedSite;
use crate::provenance::{
    INVENTORY, INVENTORY_ACCEPTED, INVENTORY_DIGEST, INVENTORY_GONE, INVENTORY_ITEM,
    INVENTORY_SITE, registered_by,
};
use crate::report::{SyncProblem, SyncReport};
use crate::settings::CatalogSettings;
use futures_util::{StreamExt, stream};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use tko_core::view::rfc3339;
use tko_core::{
    BoxFuture, DataApi, Entity, EntityUpdate, Error, Expect, Key, Kind, Metadata, NewSite, Result,
    SiteId, TemplateId, Timestamp,
};

/// How many writes run at the same time.
const AT_ONCE: usize = 8;

/// How many writes are prepared at a time.
const CHUNK: usize = 512;

/// One sync of one inventory.
pub(crate) struct InventorySync<'a> {
    pub(crate) data: &'a dyn DataApi,
    pub(crate) entry: &'a InventoryEntry,
    pub(crate) settings: &'a CatalogSettings,
    /// The disappearance that a person accepted.
    pub(crate) accepted: Option<&'a str>,
}

/// The items of the source, by id.
#[derive(Default)]
pub(super) struct WantedSites {
    /// The name of each item, and its site, or the reason why it has none.
    pub(super) sites: BTreeMap<SiteId, (String, Result<NewSite, SyncProblem>)>,
    /// The names of items that could not be mapped: their id is not known, or another item has it.
    unread: HashSet<String>,
    /// As in [`InventoryListing`](super::item::InventoryListing).
    has_unknown_ids: bool,
}

impl WantedSites {
    /// Whether the source no longer has a site that the inventory registered.
    pub(super) fn lacks(&self, id: &SiteId, entity: &Entity) -> bool {
        let item = entity.given.get(INVENTORY_ITEM);
        let is_unread = item.is_some_and(|item| self.unread.contains(item));
        !self.sites.contains_key(id) && !is_unread && !self.has_unknown_ids
    }
}

/// The result of a sync for one site.
pub(super) enum Written {
    Created,
    Changed,
    /// The site was from an inventory that no longer exists.
    Adopted,
    Gone,
    Removed,
    /// Another process registered it.
    Elsewhere,
    Nothing,
}

impl InventorySync<'_> {
    /// Syncs once.
    ///
    /// # Errors
    /// The source or the store cannot be reached; entities registered until then stay.
    pub(crate) async fn run(&self, source: &mut dyn InventorySource) -> Result<SyncReport> {
        let listing = source.list(self.entry, self.settings).await?;
        let mut report = SyncReport {
            revision: listing.revision,
            problems: listing.problems,
            ..SyncReport::default()
        };
        let mut wanted = self.map(listing.items, &mut report)?;
        wanted.has_unknown_ids = listing.has_unknown_ids;
        let own = self.own().await?;
        let disappearance = Disappearance::of(&own, &wanted);
        report.total = own.len() - disappearance.missing.len();
        let digest = disappearance.digest();
        // Without all ids, nobody knows what has vanished: an acceptance stays.
        let is_outdated = |accepted| accepted != digest;
        report.acceptance_ended =
            !listing.has_unknown_ids && self.accepted.is_some_and(is_outdated);
        if let Some(stop) = disappearance.stop(self.entry.limit, self.accepted) {
            report.stopped = Some(stop);
            return Ok(report);
        }
        self.register(&own, wanted.sites, &mut report).await?;
        let is_accepted = self.accepted.is_some() && !report.acceptance_ended;
        self.retire(&disappearance.missing, is_accepted, &mut report)
            .await?;
        Ok(report)
    }

    /// Maps all items to sites, and frees each item. An item that fails becomes a problem, and its
    /// site stays unchanged.
    fn map(&self, items: Vec<InventoryItem>, report: &mut SyncReport) -> Result<WantedSites> {
        let mapper = self.entry.mapping.compile()?;
        let mut wanted = WantedSites::default();
        if items.len() > self.settings.max_sites {
            let why = format!(
                "the inventory has more than {} sites",
                self.settings.max_sites
            );
            return Err(Error::bad("url", why));
        }
        for item in items {
            let id = match mapper.id(&item) {
                Ok(Some(id)) => id,
                Ok(None) => {
                    // The fault may be in what `where` reads, so the site may be wanted.
                    if let Some(why) = item.fault {
                        report.problems.push(SyncProblem::new(&item.name, why));
                        wanted.unread.insert(item.name);
                    }
                    continue;
                }
                Err(error) => {
                    // A fault of the item is why its id is wrong.
                    report.problems.push(match item.fault {
                        Some(why) => SyncProblem::new(&item.name, why),
                        None => SyncProblem::of(&item.name, &error),
                    });
                    wanted.unread.insert(item.name);
                    continue;
                }
            };
            if let Some((other, _)) = wanted.sites.get(&id) {
                let why = format!("{other} makes the same site {id}; set another id expression");
                report.problems.push(SyncProblem::new(&item.name, why));
                wanted.unread.insert(item.name);
                continue;
            }
            let site = match &item.fault {
                Some(why) => {
                    // The fault may be in what the id is made of, so the site may have another id.
                    wanted.unread.insert(item.name.clone());
                    Err(SyncProblem::new(&item.name, why))
                }
                None => mapper
                    .site(&item, id.clone())
                    .map(|site| self.new_site(&item.name, site))
                    .map_err(|error| SyncProblem::of(&item.name, &error)),
            };
            wanted.sites.insert(id, (item.name, site));
        }
        Ok(wanted)
    }

    /// The sites that this inventory registered.
    async fn own(&self) -> Result<HashMap<SiteId, Arc<Entity>>> {
        let own = registered_by(self.data, Kind::Site, INVENTORY, &self.entry.name).await?;
        let by_id = own.into_iter().filter_map(|entity| match &entity.key {
            Key::Site(id) => Some((id.clone(), entity.clone())),
            _ => None,
        });
        Ok(by_id.collect())
    }

    /// Registers the sites that are new or different.
    async fn register(
        &self,
        own: &HashMap<SiteId, Arc<Entity>>,
        sites: BTreeMap<SiteId, (String, Result<NewSite, SyncProblem>)>,
        report: &mut SyncReport,
    ) -> Result<()> {
        let mut calls: Vec<BoxFuture<'_, (String, Result<Written>)>> = Vec::new();
        for (id, (item, site)) in sites {
            let new = match site {
                Ok(new) => new,
                Err(problem) => {
                    report.problems.push(problem);
                    continue;
                }
            };
            let before = own.get(&id);
            if !before.is_some_and(|entity| is_registered(entity, &new)) {
                calls.push(Box::pin(self.write(item, new, before)));
            }
            if calls.len() >= CHUNK {
                apply(std::mem::take(&mut calls), report).await?;
            }
        }
        apply(calls, report).await
    }

    /// Marks the sites that the source no longer has, and removes those whose grace time is over.
    /// `is_accepted` is whether a person accepted that exactly these sites vanished.
    async fn retire(
        &self,
        missing: &[&Arc<Entity>],
        is_accepted: bool,
        report: &mut SyncReport,
    ) -> Result<()> {
        let now = self.data.feed_position().await?.now;
        let mut calls: Vec<BoxFuture<'_, (String, Result<Written>)>> = Vec::new();
        let cutoff = rfc3339(Timestamp(now.0.saturating_sub(micros(self.entry.grace))));
        let marked = rfc3339(now);
        for &entity in missing {
            let gone = entity.given.get(INVENTORY_GONE);
            let is_over = gone.is_some_and(|gone| gone <= cutoff.as_str());
            let remove = is_over || self.entry.grace.is_zero();
            let lacks_acceptance = is_accepted && !entity.given.contains_key(INVENTORY_ACCEPTED);
            if gone.is_some() && !remove && !lacks_acceptance {
                continue;
            }
            let (entity, marked) = (Arc::clone(entity), marked.clone());
            calls.push(Box::pin(async move {
                let written = if remove {
                    self.remove(&entity).await
                } else {
                    self.mark(&entity, &marked, is_accepted).await
                };
                (entity.key.id().to_owned(), written)
            }));
            if calls.len() >= CHUNK {
                apply(std::mem::take(&mut calls), report).await?;
            }
        }
        apply(calls, report).await
    }

    /// The registration of a site, with the digest of everything that the inventory says about it.
    fn new_site(&self, item: &str, site: MappedSite) -> NewSite {
        let mut hasher = blake3::Hasher::new();
        let template = site.template.as_ref().map_or("", TemplateId::as_str);
        let mut add = |text: &[u8]| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text);
        };
        add(template.as_bytes());
        for (key, value) in &site.metadata {
            add(key.as_bytes());
            add(value.as_bytes());
        }
        add(site.package.hash().to_string().as_bytes());
        let digest = hasher.finalize().to_hex();
        let own = [
            (INVENTORY, self.entry.name.as_str()),
            (INVENTORY_DIGEST, &digest[..32]),
            (INVENTORY_ITEM, item),
            (INVENTORY_SITE, site.id.as_str()),
        ];
        // Last, so that no item can forge its origin.
        let said = site
            .metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let said = said.filter(|(key, _)| is_from_source(key));
        let metadata: Metadata = said.chain(own).collect();
        NewSite::new(site.id, site.package)
            .template(site.template)
            .metadata(metadata)
    }

    async fn write(
        &self,
        item: String,
        new: NewSite,
        before: Option<&Arc<Entity>>,
    ) -> (String, Result<Written>) {
        let id = new.id.clone();
        let again = before.is_none().then(|| new.clone());
        let expect = before.map_or(Expect::Absent, |entity| Expect::At(entity.version));
        let registered = self.data.register_site(new.expect(expect)).await;
        let written = match (registered, again) {
            (Ok(_), Some(_)) => Ok(Written::Created),
            (Ok(_), None) => Ok(Written::Changed),
            (Err(Error::AlreadyExists(key)), Some(new)) => self.adopt(&key, new).await,
            (Err(Error::Conflict(_) | Error::NotFound(_) | Error::Busy(_)), _) => {
                Err(changed_meanwhile(&id))
            }
            (Err(error), _) => Err(error),
        };
        (item, written)
    }

    /// Marks a site as gone since `now`, unless it is marked already. If a person accepted that it
    /// vanished, marks that, too.
    async fn mark(&self, entity: &Entity, now: &str, is_accepted: bool) -> Result<Written> {
        let mut given = entity.given.clone();
        let is_marked = given.contains_key(INVENTORY_GONE);
        if !is_marked {
            given.insert(INVENTORY_GONE, now);
        }
        if is_accepted {
            given.insert(INVENTORY_ACCEPTED, "true");
        }
        let update = EntityUpdate::new(entity.key.clone(), entity.version).metadata(given);
        match self.data.update_entity(update).await {
            Ok(_) if is_marked => Ok(Written::Changed),
            Ok(_) => Ok(Written::Gone),
            // A concurrent change wins; the next sync checks again.
            Err(Error::Conflict(_) | Error::NotFound(_) | Error::Busy(_)) => Ok(Written::Nothing),
            Err(error) => Err(error),
        }
    }

    async fn remove(&self, entity: &Entity) -> Result<Written> {
        match self.data.delete(&entity.key).await {
            Ok(()) => Ok(Written::Removed),
            Err(Error::NotFound(_) | Error::Busy(_)) => Ok(Written::Nothing),
            Err(error) => Err(error),
        }
    }
}

/// The problem with a site that something else changed during the sync.
pub(super) fn changed_meanwhile(id: &SiteId) -> Error {
    Error::bad(
        "site",
        format!("site {id} changed meanwhile; the next sync tries again"),
    )
}

/// Whether a site is registered as `new`, so that the sync need not write it.
pub(super) fn is_registered(entity: &Entity, new: &NewSite) -> bool {
    entity.given.get(INVENTORY_DIGEST) == new.metadata.get(INVENTORY_DIGEST)
        && !entity.given.contains_key(INVENTORY_GONE)
}

/// Whether an item may have metadata with this key. All others are TKO's own.
pub(super) fn is_from_source(key: &str) -> bool {
    !key.starts_with(tko_core::metadata::RESERVED) && !key.starts_with("Inventory.")
}

/// Performs writes, several at a time, and counts them. A refused write becomes a problem.
///
/// # Errors
/// The store cannot be reached.
async fn apply(
    calls: Vec<BoxFuture<'_, (String, Result<Written>)>>,
    report: &mut SyncReport,
) -> Result<()> {
    let mut written = stream::iter(calls).buffer_unordered(AT_ONCE);
    while let Some((item, written)) = written.next().await {
        match written {
            Ok(Written::Created) => {
                report.created += 1;
                report.total += 1;
            }
            Ok(Written::Adopted) => {
                report.changed += 1;
                report.total += 1;
            }
            Ok(Written::Elsewhere) => report.total += 1,
            Ok(Written::Changed) => report.changed += 1,
            Ok(Written::Gone) => report.gone += 1,
            Ok(Written::Removed) => report.removed += 1,
            Ok(Written::Nothing) => {}
            Err(error @ Error::BadArgument { .. }) => {
                report.problems.push(SyncProblem::of(item, &error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn micros(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
