//! The index of one kind: for each facet and value, the keys of the rows that have it.
//!
//! Invariants:
//! - every row of the kind is in the posting of each of its [`terms`], and in no other;
//! - postings are in key order, and an empty posting is removed.

use crate::posting::Posting;
use crate::table::Slot;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use tko_core::{DeploymentId, Entity, Facts, Key, Metadata, SiteId};

/// A property by which rows are found, apart from metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Facet {
    /// The template's id, of sites and deployments.
    Template,
    /// The site that a deployment is assigned to.
    Site,
    /// The site that a deployment is placed on.
    Place,
    /// The parent of a deployment.
    Parent,
    /// The preparation and approval of a deployment; see [`state`].
    State,
    /// The type of a plugin.
    PluginType,
    /// The executor of a plugin.
    Executor,
    /// Each trigger of a plugin, as text.
    Trigger,
}

const FACETS: usize = Facet::Trigger as usize + 1;

/// The value of [`Facet::State`] for a deployment.
pub(crate) fn state(prepared: bool, approved: bool) -> &'static str {
    match (prepared, approved) {
        (false, false) => "new",
        (true, false) => "prepared",
        (false, true) => "approved",
        (true, true) => "ready",
    }
}

/// The facets of a row and their values, without metadata.
fn terms(entity: &Entity) -> Vec<(Facet, Cow<'_, str>)> {
    let mut terms = Vec::new();
    if let Some(template) = entity.template() {
        terms.push((Facet::Template, Cow::Borrowed(template.as_str())));
    }
    match (&entity.facts, &entity.key) {
        (Facts::Deployment(d), _) => {
            let place = d.placed.as_ref().map(|(site, _)| site.as_str());
            let named = [
                (Facet::Site, d.site.as_ref().map(SiteId::as_str)),
                (Facet::Place, place),
                (Facet::Parent, d.parent.as_ref().map(DeploymentId::as_str)),
                (Facet::State, Some(state(d.prepared, d.approved))),
            ];
            terms.extend(
                named
                    .into_iter()
                    .filter_map(|(facet, id)| Some((facet, Cow::Borrowed(id?)))),
            );
        }
        (Facts::Plugin(plugin), Key::Plugin(id)) => {
            terms.push((Facet::PluginType, id.plugin_type().as_str().into()));
            terms.push((Facet::Executor, plugin.executor.as_str().into()));
            for trigger in &plugin.triggers {
                let term = (Facet::Trigger, Cow::Owned(trigger.to_string()));
                if !terms.contains(&term) {
                    terms.push(term);
                }
            }
        }
        _ => {}
    }
    terms
}

/// The rows of one kind, by facet and value.
#[derive(Debug, Default)]
pub(crate) struct RowIndex {
    facets: [FacetValues; FACETS],
    metadata: BTreeMap<Arc<str>, FacetValues>,
}

impl RowIndex {
    /// The values of a facet.
    pub(crate) fn of(&self, facet: Facet) -> &FacetValues {
        &self.facets[facet as usize]
    }

    /// The values of a metadata key; `None` if no row has the key.
    pub(crate) fn metadata(&self, name: &str) -> Option<&FacetValues> {
        self.metadata.get(name)
    }

    /// Updates the index for one row that changed. `None`: the row does not exist in that state.
    pub(crate) fn follow(&mut self, slot: Slot, before: Option<&Entity>, after: Option<&Entity>) {
        let Some(key) = after.or(before).map(|entity| &entity.key) else {
            return;
        };
        let (old, new) = (
            before.map(terms).unwrap_or_default(),
            after.map(terms).unwrap_or_default(),
        );
        for (facet, value) in old.iter().filter(|term| !new.contains(term)) {
            self.facets[*facet as usize].remove(value, key);
        }
        for (facet, value) in new.iter().filter(|term| !old.contains(term)) {
            self.facets[*facet as usize].insert(value, key, slot);
        }
        let (old, new) = (before.map(|b| &b.metadata), after.map(|a| &a.metadata));
        if old != new {
            self.follow_metadata(key, slot, old, new);
        }
    }

    fn follow_metadata(
        &mut self,
        key: &Key,
        slot: Slot,
        old: Option<&Metadata>,
        new: Option<&Metadata>,
    ) {
        let has = |metadata: Option<&Metadata>, name: &str, value: &str| {
            metadata.is_some_and(|all| all.get(name).is_some_and(|other| other == value))
        };
        for (name, value) in old.into_iter().flat_map(|all| all.iter()) {
            if !has(new, name, value)
                && let Some(values) = self.metadata.get_mut(name)
            {
                values.remove(value, key);
                if values.0.is_empty() {
                    self.metadata.remove(name);
                }
            }
        }
        for (name, value) in new.into_iter().flat_map(|all| all.iter()) {
            if has(old, name, value) {
                continue;
            }
            if let Some(values) = self.metadata.get_mut(name) {
                values.insert(value, key, slot);
            } else {
                let values = self.metadata.entry(name.into()).or_default();
                values.insert(value, key, slot);
            }
        }
    }
}

/// The values of one facet in byte order, each with its posting.
#[derive(Debug, Default)]
pub(crate) struct FacetValues(BTreeMap<Arc<str>, Posting>);

impl FacetValues {
    /// The posting of this value.
    pub(crate) fn exactly(&self, value: &str) -> Option<&Posting> {
        self.0.get(value)
    }

    /// All values with this prefix, in byte order.
    pub(crate) fn starting_with(&self, prefix: &str) -> impl Iterator<Item = (&str, &Posting)> {
        self.0
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .map(|(value, posting)| (&**value, posting))
            .take_while(move |(value, _)| value.starts_with(prefix))
    }

    fn insert(&mut self, value: &str, key: &Key, slot: Slot) {
        if let Some(posting) = self.0.get_mut(value) {
            posting.insert(key.clone(), slot);
        } else {
            let only = Posting::Few(vec![(key.clone(), slot)]);
            self.0.insert(value.into(), only);
        }
    }

    fn remove(&mut self, value: &str, key: &Key) {
        if let Some(posting) = self.0.get_mut(value) {
            posting.remove(key);
            if posting.len() == 0 {
                self.0.remove(value);
            }
        }
    }
}
