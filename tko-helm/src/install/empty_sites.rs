//! Sites without releases, whose clusters need not be queried.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tko_core::Entity;

/// Maximum number of sites. The cluster of another one is queried by each call.
const MAX_SITES: usize = 100_000;

/// Sites that had no releases after the last call of this process, so that a site without charts
/// costs nothing. After a restart, their clusters are queried once.
#[derive(Debug, Default)]
pub(super) struct EmptySites(Mutex<BTreeSet<String>>);

impl EmptySites {
    fn sites(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a site. Returns whether it was there.
    pub(super) fn take(&self, site: &str) -> bool {
        self.sites().remove(site)
    }

    /// Adds a site, unless it is being deleted: then this may be its last call.
    pub(super) fn add(&self, site: &Entity) {
        if site.deleting {
            return;
        }
        let mut sites = self.sites();
        // Sites that were deleted while another process served them would stay for ever.
        if sites.len() >= MAX_SITES {
            sites.pop_first();
        }
        sites.insert(site.key.id().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::{EmptySites, MAX_SITES};
    use tko_core::{Entity, Facts, Key, SiteId};

    fn site(id: &str) -> Entity {
        let key = Key::Site(SiteId::new(id).expect("an id"));
        Entity::new(key, Facts::site(None, None))
    }

    #[test]
    fn a_site_that_is_being_deleted_is_forgotten() {
        let sites = EmptySites::default();
        sites.add(&site("a"));
        assert!(sites.take("a"));
        sites.add(&site("a").deleting(true));
        assert!(!sites.take("a"));
    }

    #[test]
    fn the_number_of_sites_is_limited() {
        let sites = EmptySites::default();
        for number in 0..MAX_SITES + 5 {
            sites.add(&site(&number.to_string()));
        }
        assert_eq!(sites.sites().len(), MAX_SITES);
    }
}
