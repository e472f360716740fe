//! Shares the memory of equal values between a new row and existing rows.

use crate::state::MemoryState;
use tko_core::{Deployment, Entity, Facts, Key, Kind, Metadata, SiteId, TemplateId};

impl MemoryState {
    /// Replaces values of a new entity by equal values that are in memory already.
    ///
    /// A million deployments name the same few templates, but each was decoded separately.
    pub(crate) fn share(&mut self, new: &mut Entity, before: Option<&Entity>) {
        let mut metadata = |new: &mut Metadata, old: Option<&Metadata>| {
            *new = match old {
                Some(old) if old == new => old.clone(),
                _ => self.pools.metadata(new),
            };
        };
        metadata(&mut new.inherited, before.map(|old| &old.inherited));
        metadata(&mut new.given, before.map(|old| &old.given));
        metadata(&mut new.metadata, before.map(|old| &old.metadata));
        match &mut new.facts {
            Facts::Deployment(new) => {
                self.share_deployment(new, before.and_then(Entity::deployment));
            }
            Facts::Site { template, .. } => self.share_template(template),
            _ => {}
        }
    }

    fn share_deployment(&mut self, new: &mut Deployment, old: Option<&Deployment>) {
        if let Some(old) = old.filter(|old| old.resource.skeleton == new.resource.skeleton) {
            new.resource.skeleton.clone_from(&old.resource.skeleton);
        } else {
            new.resource.skeleton = self.pools.resource(&new.resource.skeleton);
        }
        // An update starts from the row as it was read, so it shares its ids already.
        if old.is_some_and(|old| {
            (&old.template, &old.site, &old.parent) == (&new.template, &new.site, &new.parent)
        }) {
            return;
        }
        self.share_template(&mut new.template);
        self.share_site(&mut new.site);
        if let Some(id) = &mut new.parent {
            let rows = &self.of(Kind::Deployment).rows;
            if let Some((Key::Deployment(own), _)) = rows.entry(&Key::from(&*id)) {
                id.clone_from(own);
            }
        }
        if new.resource.template == new.template {
            new.resource.template.clone_from(&new.template);
        }
        if new.resource.site == new.site {
            new.resource.site.clone_from(&new.site);
        }
    }

    fn share_template(&self, id: &mut Option<TemplateId>) {
        if let Some(id) = id
            && let Some((Key::Template(own), _)) =
                self.of(Kind::Template).rows.entry(&Key::from(&*id))
        {
            id.clone_from(own);
        }
    }

    fn share_site(&self, id: &mut Option<SiteId>) {
        if let Some(id) = id
            && let Some((Key::Site(own), _)) = self.of(Kind::Site).rows.entry(&Key::from(&*id))
        {
            id.clone_from(own);
        }
    }
}
