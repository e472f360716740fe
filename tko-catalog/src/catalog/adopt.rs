//! Registers the templates of offers, and adopts those of catalogs that no longer exist.

use super::offer::Offer;
use super::sync::{CatalogSync, lacks_metadata};
use crate::provenance::{CATALOG_DIGEST, CATALOG_PREFIX, is_owner_registered, owner_of};
use tko_core::{Entity, Error, Expect, Key, NewTemplate, PluginType, Result, Want};

/// The result of a registration.
pub(super) enum RegisteredOffer {
    Created,
    Changed,
    /// The template was registered again, for this catalog.
    Adopted,
    /// Another process with this catalog registered the template.
    Elsewhere,
    /// The template belongs to something else; the text says to what, and what to do.
    Refused(String),
}

impl CatalogSync<'_> {
    /// Registers the template of an offer.
    ///
    /// # Errors
    /// As `register_template`.
    pub(super) async fn register(
        &self,
        offer: &Offer,
        new: NewTemplate,
    ) -> Result<RegisteredOffer> {
        let again = (new.expect == Expect::Absent).then(|| new.clone());
        match (self.data.register_template(new).await, again) {
            (Ok(_), Some(_)) => Ok(RegisteredOffer::Created),
            (Ok(_), None) => Ok(RegisteredOffer::Changed),
            (Err(Error::AlreadyExists(_)), Some(new)) => self.adopt(offer, new).await,
            (Err(error), _) => Err(error),
        }
    }

    /// Adopts a template whose catalog no longer exists, if its content stays or may change.
    ///
    /// The template keeps its metadata, as it keeps those that a person gives.
    async fn adopt(&self, offer: &Offer, new: NewTemplate) -> Result<RegisteredOffer> {
        let id = &offer.id;
        let entity = self.data.get(&Key::from(id), Want::ROW).await?.entity;
        let Some(owner) = owner_of(&entity) else {
            return Ok(RegisteredOffer::Refused(format!(
                "template {id} exists and is not from a catalog; delete it, or set another id pattern"
            )));
        };
        if owner == self.entry.name {
            let is_same = entity.given.get(CATALOG_DIGEST) == Some(offer.digest.as_str());
            return if is_same {
                Ok(RegisteredOffer::Elsewhere)
            } else {
                Err(Error::Conflict(vec![entity.key.clone()]))
            };
        }
        if is_owner_registered(self.data, PluginType::Catalog, owner).await? {
            return Ok(RegisteredOffer::Refused(format!(
                "template {id} belongs to the catalog {owner}; set another id pattern, or leave the \
                 package out with path"
            )));
        }
        if !self.may_replace(offer, &entity, &new) {
            return Ok(RegisteredOffer::Refused(format!(
                "template {id} is from the catalog {owner}, which no longer exists, and has other \
                 content; publish a new version, delete the template, or set mutable to true"
            )));
        }
        let mut kept = entity.given.clone();
        kept.retain(|key, _| !key.starts_with(CATALOG_PREFIX));
        let metadata = kept.overlaid(&new.metadata);
        let new = new.metadata(metadata).expect(Expect::At(entity.version));
        self.data.register_template(new).await?;
        Ok(RegisteredOffer::Adopted)
    }

    /// Whether a template of a catalog that no longer exists may become the template of an offer.
    fn may_replace(&self, offer: &Offer, entity: &Entity, new: &NewTemplate) -> bool {
        let is_same = entity.body == new.package.hash() && !lacks_metadata(entity, offer);
        is_same || offer.moves || self.entry.mutable
    }
}
