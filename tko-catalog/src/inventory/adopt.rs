//! Adopts the sites of inventories that no longer exist.

use super::sync::{InventorySync, Written, changed_meanwhile, is_from_source};
use crate::provenance::{INVENTORY_DIGEST, is_owner_registered, owner_of};
use tko_core::{Error, Expect, Key, NewSite, PluginType, Result, Want};

impl InventorySync<'_> {
    /// Adopts a site that exists already, if its inventory no longer exists.
    ///
    /// The site keeps its metadata, as it keeps those that a person gives. The next change of the item
    /// removes them, within the limit on lost metadata.
    ///
    /// # Errors
    /// `BadArgument`: the site belongs to something else. Others: the store cannot be reached.
    pub(super) async fn adopt(&self, key: &Key, new: NewSite) -> Result<Written> {
        let bad = |why: String| Err(Error::bad("site", why));
        let entity = match self.data.get(key, Want::ROW).await {
            Ok(record) => record.entity,
            Err(Error::NotFound(_)) => return Err(changed_meanwhile(&new.id)),
            Err(error) => return Err(error),
        };
        let Some(owner) = owner_of(&entity) else {
            return bad(format!(
                "{key} exists and is not from an inventory; delete it, or set another id"
            ));
        };
        if owner == self.entry.name {
            // Another process with this inventory was faster.
            let is_same = entity.given.get(INVENTORY_DIGEST) == new.metadata.get(INVENTORY_DIGEST);
            return if is_same {
                Ok(Written::Elsewhere)
            } else {
                Err(changed_meanwhile(&new.id))
            };
        }
        if is_owner_registered(self.data, PluginType::Inventory, owner).await? {
            return bad(format!(
                "{key} belongs to the inventory {owner}; set another id, or leave the item out with \
                 where"
            ));
        }
        let id = new.id.clone();
        let mut kept = entity.given.clone();
        kept.retain(|key, _| is_from_source(key));
        let metadata = kept.overlaid(&new.metadata);
        let new = new.metadata(metadata).expect(Expect::At(entity.version));
        match self.data.register_site(new).await {
            Ok(_) => Ok(Written::Adopted),
            Err(Error::Conflict(_) | Error::NotFound(_) | Error::Busy(_)) => {
                Err(changed_meanwhile(&id))
            }
            Err(error) => Err(error),
        }
    }
}
