//! The metadata keys that record the origin of a template or site.
//!
//! They are given metadata, so they can be selected and shown like other metadata. Whether an
//! entity belongs to a catalog or inventory is decided by its given metadata alone: a package
//! cannot claim it. Nor can a copy of the entity, because the metadata also record its id.

use std::sync::Arc;
use tko_core::select::MAX_PAGE;
use tko_core::{
    DataApi, Entity, Error, Key, Kind, List, Pattern, PluginId, PluginType, Result, Select, Want,
};

/// The prefix of the metadata that catalogs write themselves.
pub(crate) const CATALOG_PREFIX: &str = "Catalog.";

/// The catalog that registered a template.
pub const CATALOG: &str = "Catalog.name";
/// The URL of the catalog, without secrets.
pub const CATALOG_URL: &str = "Catalog.url";
/// The place of the template within the catalog.
pub const CATALOG_PATH: &str = "Catalog.path";
/// The revision of the source: a commit, a tag, an `ETag`, or the beginning of the digest.
pub const CATALOG_REVISION: &str = "Catalog.revision";
/// The id of the template, so that a copy with the same metadata is recognized.
pub const CATALOG_TEMPLATE: &str = "Catalog.template";
/// The digest of the content that was registered.
pub const CATALOG_DIGEST: &str = "Catalog.digest";
/// The content hash of the package that was registered, so that a later edit is recognized.
pub const CATALOG_PACKAGE: &str = "Catalog.package";
/// `true` if the source no longer has the template.
pub const CATALOG_GONE: &str = "Catalog.gone";

/// The inventory that registered a site.
pub const INVENTORY: &str = "Inventory.name";
/// The name of the site in its inventory.
pub const INVENTORY_ITEM: &str = "Inventory.item";
/// The id of the site, so that a copy with the same metadata is recognized.
pub const INVENTORY_SITE: &str = "Inventory.site";
/// The digest of what the inventory said about the site.
pub const INVENTORY_DIGEST: &str = "Inventory.digest";
/// The time at which the inventory no longer had the site, in RFC 3339 format; absent while the
/// inventory has the site.
pub use tko_core::metadata::INVENTORY_GONE;
/// `true` if a person accepted that the inventory no longer had the site; absent while the inventory
/// has the site.
pub const INVENTORY_ACCEPTED: &str = "Inventory.accepted";

/// Requests an immediate sync, as given metadata of a catalog or inventory. Any new value requests
/// one.
pub const SYNC_REQUESTED: &str = "Sync.requested";
/// The request that the last sync answered. The controller writes it.
pub const SYNC_DONE: &str = "Sync.done";
/// The digest of the disappearance that a person accepted, as given metadata of an inventory. The
/// controller removes it when there is another disappearance, or none. It marks each of the sites
/// that vanished with [`INVENTORY_ACCEPTED`], and these marks stay.
pub const SYNC_ACCEPTED: &str = "Sync.accepted";

/// The name of the catalog that registered a template, or of the inventory that registered a site.
/// `None` if none did.
///
/// A copy, for example by `kubectl get` and `kubectl apply`, has the metadata of the original. A
/// person made it, so it belongs to none. Nor does an entity without a recorded id: a person gave it
/// the name of a catalog or inventory as metadata.
pub(crate) fn owner_of(entity: &Entity) -> Option<&str> {
    let (name, id) = match entity.key.kind() {
        Kind::Template => (CATALOG, CATALOG_TEMPLATE),
        Kind::Site => (INVENTORY, INVENTORY_SITE),
        Kind::Deployment | Kind::Plugin => return None,
    };
    let is_original = entity
        .given
        .get(id)
        .is_some_and(|recorded| recorded == entity.key.id());
    entity.given.get(name).filter(|_| is_original)
}

/// Whether the catalog or inventory of this name exists.
pub(crate) async fn is_owner_registered(
    data: &dyn DataApi,
    plugin_type: PluginType,
    name: &str,
) -> Result<bool> {
    // A person can give any name as metadata.
    let Ok(id) = PluginId::new(plugin_type, name) else {
        return Ok(false);
    };
    let key = Key::from(id);
    match data.get(&key, Want::ROW).await {
        Ok(_) => Ok(true),
        Err(Error::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The entities of a kind that a catalog or inventory registered: `key` is [`CATALOG`] or
/// [`INVENTORY`], and `name` its value.
///
/// A sync needs all of them at once, to find those that the source no longer has; the limits of
/// catalogs and inventories bound them.
pub(crate) async fn registered_by(
    data: &dyn DataApi,
    kind: Kind,
    key: &str,
    name: &str,
) -> Result<Vec<Arc<Entity>>> {
    let select = Select::all(kind).metadata(key, Pattern::literal(name));
    let mut list = List::new(select).limit(MAX_PAGE);
    let mut own = Vec::new();
    loop {
        let page = data.list(&list).await?;
        let entities = page.items.into_iter().map(|record| record.entity);
        // A package can have this key, and so can a copy of an entity.
        own.extend(entities.filter(|entity| owner_of(entity) == Some(name)));
        list.after = page.next;
        if list.after.is_none() {
            return Ok(own);
        }
    }
}
