//! The guard against a broken source: the sites that a sync would take away from topologies, and
//! when a person must accept that.
//!
//! A site that loses metadata may no longer be selected, and a topology may then delete its
//! deployments. So the loss counts like the disappearance of the site.

use super::sync::{WantedSites, is_from_source, is_registered};
use crate::provenance::{INVENTORY_ACCEPTED, INVENTORY_GONE};
use crate::report::MassDisappearance;
use std::collections::HashMap;
use std::sync::Arc;
use tko_core::{Entity, NewSite, SiteId};

/// The sites of an inventory that vanished, or that would lose metadata.
pub(super) struct Disappearance<'a> {
    /// How many sites the inventory registered.
    count: usize,
    /// The sites that the source no longer has, in the order of their ids.
    pub(super) missing: Vec<&'a Arc<Entity>>,
    /// The sites that would lose metadata, in the order of their ids.
    losing: Vec<&'a Arc<Entity>>,
    /// One of the metadata keys that they would lose. It does not depend on the order of the sites,
    /// so that equal disappearances have equal conditions.
    lost_key: Option<&'a str>,
}

impl<'a> Disappearance<'a> {
    /// Compares the sites that the inventory registered, `own`, with those that the source has.
    pub(super) fn of(own: &'a HashMap<SiteId, Arc<Entity>>, wanted: &WantedSites) -> Self {
        let mut found = Self {
            count: own.len(),
            missing: Vec::new(),
            losing: Vec::new(),
            lost_key: None,
        };
        for (id, entity) in own {
            if wanted.lacks(id, entity) {
                found.missing.push(entity);
                continue;
            }
            // A site that could not be mapped stays unchanged.
            let new = wanted
                .sites
                .get(id)
                .and_then(|(_, site)| site.as_ref().ok());
            if let Some(key) = new.and_then(|new| lost_key(entity, new)) {
                found.losing.push(entity);
                found.lost_key = Some(found.lost_key.map_or(key, |known| known.min(key)));
            }
        }
        for sites in [&mut found.missing, &mut found.losing] {
            sites.sort_by(|a, b| a.key.id().cmp(b.key.id()));
        }
        found
    }

    /// The digest, which an acceptance names: of the ids of the sites, in their order. An accepted
    /// loss of metadata is no acceptance that the same sites vanish.
    pub(super) fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        // No id contains a space.
        for (mark, sites) in [("", &self.missing), (" ", &self.losing)] {
            for entity in sites {
                hasher.update(mark.as_bytes());
                hasher.update(entity.key.id().as_bytes());
                hasher.update(b"\n");
            }
        }
        hasher.finalize().to_hex().chars().take(16).collect()
    }

    /// The reason to stop the sync, unless a person accepted the digest: more than `limit` percent
    /// of the sites are concerned. A single site may always vanish or lose metadata.
    ///
    /// Sites that vanished earlier and are not yet removed count, so that a slow leak is stopped,
    /// too. Those that a person accepted do not count, even if others of the same acceptance came
    /// back.
    pub(super) fn stop(&self, limit: f64, accepted: Option<&str>) -> Option<MassDisappearance> {
        let is_new = |entity: &&Arc<Entity>| !entity.given.contains_key(INVENTORY_GONE);
        if self.losing.is_empty() && !self.missing.iter().any(is_new) {
            return None;
        }
        let is_accepted = |entity: &&&Arc<Entity>| entity.given.contains_key(INVENTORY_ACCEPTED);
        let before = self.missing.iter().filter(is_accepted).count();
        let count = self.count - before;
        let vanished = self.missing.len() + self.losing.len() - before;
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let allowed = (count as f64 * limit / 100.0).floor() as usize;
        let digest = self.digest();
        if vanished <= allowed.max(1) || accepted == Some(digest.as_str()) {
            return None;
        }
        Some(MassDisappearance {
            vanished,
            of: count,
            lost_key: self.lost_key.map(str::to_owned),
            digest,
        })
    }
}

/// The first metadata key that a site would lose if the sync registers it as `new`.
///
/// A site that the sync does not register again loses nothing. So metadata that a person gave does
/// not count at every sync.
fn lost_key<'e>(entity: &'e Entity, new: &NewSite) -> Option<&'e str> {
    if is_registered(entity, new) {
        return None;
    }
    let mut keys = entity.given.keys().filter(|key| is_from_source(key));
    keys.find(|key| !new.metadata.contains_key(key))
}

#[cfg(test)]
mod tests {
    use super::{Disappearance, WantedSites};
    use crate::inventory::entry::InventoryEntry;
    use crate::provenance::{INVENTORY, INVENTORY_SITE};
    use crate::settings::CatalogSettings;
    use std::collections::HashMap;
    use std::sync::Arc;
    use tko_core::{Entity, Facts, Metadata, NewSite, Package, Plugin, PluginId, SiteId};

    /// The limit of an inventory with this property.
    fn limit(property: Option<&str>) -> f64 {
        let id: PluginId = "inventory|fleet".parse().expect("an id");
        let properties = property.map(|limit| ("limit".to_owned(), limit.to_owned()));
        let plugin = Plugin::new("directory").properties(properties.into_iter().collect());
        let entity = Entity::new(id, Facts::Plugin(Arc::new(plugin)));
        let entry = InventoryEntry::read(&entity, &CatalogSettings::default());
        entry.expect("an entry").limit
    }

    /// Whether a sync stops when this many of 100 sites vanish.
    fn stops(vanished: usize, limit: f64) -> bool {
        let ids: Vec<SiteId> = (0..100)
            .map(|number| SiteId::new(&format!("site-{number}")).expect("an id"))
            .collect();
        let own: HashMap<SiteId, Arc<Entity>> = ids
            .iter()
            .map(|id| {
                let given =
                    Metadata::from_iter([(INVENTORY, "fleet"), (INVENTORY_SITE, id.as_str())]);
                let entity = Entity::new(
                    id.clone(),
                    Facts::Site {
                        template: None,
                        origin: None,
                    },
                );
                (id.clone(), Arc::new(entity.given(given)))
            })
            .collect();
        let mut wanted = WantedSites::default();
        for id in &ids[vanished..] {
            let new = NewSite::new(id.clone(), Package::default());
            wanted.sites.insert(id.clone(), (id.to_string(), Ok(new)));
        }
        let found = Disappearance::of(&own, &wanted);
        assert_eq!(found.missing.len(), vanished);
        found.stop(limit, None).is_some()
    }

    #[test]
    fn ten_percent_of_the_sites_may_vanish_unless_the_limit_says_otherwise() {
        let default = limit(None);
        assert!(!stops(10, default) && stops(11, default));
        let half = limit(Some("50"));
        assert!(!stops(50, half) && stops(51, half));
        // A single site may always vanish.
        let none = limit(Some("0"));
        assert!(!stops(1, none) && stops(2, none));
    }
}
