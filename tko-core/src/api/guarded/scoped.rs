//! [`CallScopes`]: the restriction of one call, and its effect on selections and entities.

use crate::api::{ApiCall, Bulk, Event, MAX_SKIPPED};
use crate::caller::Caller;
use crate::change::ChangeRecord;
use crate::deployment_resource;
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::hash::ContentHash;
use crate::id::{SiteId, TemplateId};
use crate::metadata::Metadata;
use crate::package::Package;
use crate::resource::Resource;
use crate::scope::{NarrowError, Scope};
use crate::select::Select;
use std::collections::HashSet;
use std::sync::Arc;

/// The scopes of one call; any of them may cover an entity. If there are none, the call is not
/// restricted.
pub(super) struct CallScopes {
    scopes: Vec<Arc<Scope>>,
    /// The message of a refusal; empty without a restriction.
    refusal: String,
}

/// A selection that is restricted to scopes.
pub(super) enum Narrowed {
    /// There is no restriction.
    Same,
    /// This selection matches exactly the covered entities.
    One(Box<Select>),
    /// No single selection does; the results must be filtered.
    Filter,
}

impl CallScopes {
    pub(super) fn new(scopes: Vec<Arc<Scope>>, caller: Option<&Caller>, call: ApiCall<'_>) -> Self {
        let refusal = if scopes.is_empty() {
            String::new()
        } else {
            let who = caller.map_or_else(String::new, ToString::to_string);
            let covered: Vec<String> = scopes.iter().map(ToString::to_string).collect();
            format!(
                "{who} may not {}: the caller's role covers only {}",
                call.description(),
                covered.join("; or ")
            )
        };
        Self { scopes, refusal }
    }

    pub(super) fn restricted(&self) -> bool {
        !self.scopes.is_empty()
    }

    /// The error for an entity that no scope covers.
    pub(super) fn outside(&self) -> Error {
        Error::Forbidden(self.refusal.clone())
    }

    fn require(&self, covered: impl Fn(&Scope) -> bool) -> Result<()> {
        if self.scopes.is_empty() || self.scopes.iter().any(|scope| covered(scope)) {
            return Ok(());
        }
        Err(self.outside())
    }

    /// Checks that there is no restriction.
    pub(super) fn unrestricted(&self) -> Result<()> {
        self.require(|_| false)
    }

    /// Whether a scope covers the entity.
    pub(super) fn covers(&self, entity: &Entity) -> bool {
        self.scopes.is_empty() || self.scopes.iter().any(|scope| scope.covers(entity))
    }

    /// Checks that a scope covers the entity.
    pub(super) fn cover(&self, entity: &Entity) -> Result<()> {
        self.require(|scope| scope.covers(entity))
    }

    /// Checks that a scope covers an entity that is about to be made.
    pub(super) fn cover_new(
        &self,
        template: Option<&TemplateId>,
        site: Option<&SiteId>,
        metadata: &Metadata,
    ) -> Result<()> {
        self.require(|scope| scope.covers_new(template, site, metadata))
    }

    /// Checks that the new metadata of an entity do not move it out of the scopes. As for a new
    /// entity, the given metadata must match.
    pub(super) fn cover_metadata(&self, metadata: &Metadata) -> Result<()> {
        self.require(|scope| scope.covers_metadata(metadata))
    }

    /// Checks that the new package of a deployment does not move it out of the scopes.
    pub(super) fn cover_package(&self, package: &Package) -> Result<()> {
        if self.scopes.is_empty() || deployment_resource::place(package)?.is_none() {
            return Ok(());
        }
        let named = deployment_resource::split(package)?.resource;
        self.require(|scope| scope.covers_relations(named.template.as_ref(), named.site.as_ref()))
    }

    /// Checks that a deployment's own package adds no topology, unless a scope that `covers` the
    /// deployment is not restricted by site and template. A topology has children of any site and
    /// template, and preparers are not restricted.
    ///
    /// A topology that is in `present` stays permitted: somebody else wrote it, as the author of a
    /// template.
    pub(super) fn cover_topologies(
        &self,
        package: &Package,
        present: &Package,
        covers: impl Fn(&Scope) -> bool,
    ) -> Result<()> {
        let is_open = |scope: &Scope| scope.template.is_none() && scope.site.is_none();
        if self.scopes.is_empty() || self.scopes.iter().any(|s| is_open(s) && covers(s)) {
            return Ok(());
        }
        let known: HashSet<ContentHash> = topologies(present).map(|r| r.hash()).collect();
        match topologies(package).find(|resource| !known.contains(&resource.hash())) {
            None => Ok(()),
            Some(resource) => Err(Error::Forbidden(format!(
                "{}, and {} of the group {TOPOLOGY_GROUP} is not restricted to that; leave it out, \
                 and deploy a template that has it",
                self.refusal,
                resource.identifier()
            ))),
        }
    }

    /// Whether a scope covers the state after the change, or before it if there is none.
    pub(super) fn covers_change(&self, change: &ChangeRecord) -> bool {
        let state = change.after.as_ref().or(change.before.as_ref());
        self.scopes.is_empty() || state.is_some_and(|record| self.covers(&record.entity))
    }

    /// The change without an earlier state that no scope covers; `None` if no scope covers the
    /// change.
    pub(super) fn covered_change(&self, mut change: ChangeRecord) -> Option<ChangeRecord> {
        if !self.covers_change(&change) {
            return None;
        }
        let before = change.before.take();
        change.before = before.filter(|record| self.covers(&record.entity));
        Some(change)
    }

    /// Restricts a selection.
    pub(super) fn narrow(&self, select: &Select) -> Narrowed {
        match self.scopes.as_slice() {
            [] => Narrowed::Same,
            [scope] => scope
                .narrow(select)
                .map_or(Narrowed::Filter, |select| Narrowed::One(Box::new(select))),
            _ => Narrowed::Filter,
        }
    }

    /// The selections that together match the covered entities.
    ///
    /// # Errors
    /// - `Forbidden`: no scope covers anything of that kind.
    /// - `BadArgument`: the selection and a scope have a pattern for the same metadata key.
    pub(super) fn narrow_each(&self, select: &Select) -> Result<Vec<Select>> {
        let mut all = Vec::with_capacity(self.scopes.len());
        for scope in &self.scopes {
            match scope.narrow(select) {
                Ok(select) => all.push(select),
                Err(NarrowError::Nothing) => {}
                Err(NarrowError::Overlap(key)) => {
                    return Err(Error::bad(
                        "metadata pattern",
                        format!(
                            "the caller's role already restricts the metadata {key:?}; leave out \
                             this pattern, or select by another key"
                        ),
                    ));
                }
            }
        }
        if all.is_empty() {
            return Err(self.outside());
        }
        Ok(all)
    }

    /// The event, or a bookmark if no scope covers its entity.
    pub(super) fn covered(&self, event: Event) -> Event {
        let covered = match &event {
            Event::Put { record, .. } => self.covers(&record.entity),
            Event::Gone { before, .. } => self.covers(&before.entity),
            Event::Bookmark { .. } => true,
        };
        if covered {
            return event;
        }
        Event::Bookmark {
            revision: event.revision(),
        }
    }
}

/// The group of resources that create deployments and sites.
const TOPOLOGY_GROUP: &str = "topology.nephio.org";

/// The resources of a package that create deployments and sites, or that those refer to.
fn topologies(package: &Package) -> impl Iterator<Item = &Arc<Resource>> {
    let resources = package.iter();
    resources.filter(|resource| &*resource.gvk().group == TOPOLOGY_GROUP)
}

/// Whether a package has [`topologies`].
pub(super) fn has_topologies(package: &Package) -> bool {
    topologies(package).next().is_some()
}

/// Adds the result of one bulk call to another.
pub(super) fn add(bulk: &mut Bulk, more: Bulk) {
    bulk.done += more.done;
    let left = MAX_SKIPPED.saturating_sub(bulk.skipped.len());
    bulk.skipped.extend(more.skipped.into_iter().take(left));
}
