//! What is found without looking at every row: for each facet of a row, each value that any row of
//! the kind has, and the keys of the rows that have it.
//!
//! Invariants:
//! - every row of a kind is listed under each of its [`terms`], and nowhere else;
//! - lists are in key order; a list, value or facet that nothing has is not there.

use crate::table::Slot;
use crate::walk::Source;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use tko_core::{DeploymentId, Entity, Facts, Key, Metadata, SiteId};

/// What rows are found by, beside metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Facet {
    /// Of sites and deployments: the template's id.
    Template,
    /// Of deployments: where it is to run.
    Site,
    /// Of deployments: where a scheduler has put it.
    Place,
    /// Of deployments: what it came out of.
    Parent,
    /// Of deployments: one of the four that [`state`] tells.
    State,
    /// Of plugins.
    PluginType,
    /// Of plugins.
    Executor,
    /// Of plugins: each of its triggers, as text.
    Trigger,
}

const FACETS: usize = Facet::Trigger as usize + 1;

/// The value of [`Facet::State`].
pub(crate) fn state(prepared: bool, approved: bool) -> &'static str {
    match (prepared, approved) {
        (false, false) => "new",
        (true, false) => "prepared",
        (false, true) => "approved",
        (true, true) => "ready",
    }
}

/// A row's facets, metadata left out, and their values.
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

/// The rows of one kind by facet and value.
#[derive(Debug, Default)]
pub(crate) struct Index {
    facets: [Values; FACETS],
    metadata: BTreeMap<Arc<str>, Values>,
}

impl Index {
    /// The values of a facet.
    pub(crate) fn of(&self, facet: Facet) -> &Values {
        &self.facets[facet as usize]
    }

    /// The values of a metadata key; `None`: no row has it.
    pub(crate) fn metadata(&self, name: &str) -> Option<&Values> {
        self.metadata.get(name)
    }

    /// Follows one row from one state to the next; `None`: it is not there.
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

/// The values of one facet in byte order, each with the rows that have it.
#[derive(Debug, Default)]
pub(crate) struct Values(BTreeMap<Arc<str>, Posting>);

impl Values {
    /// The rows that have this value.
    pub(crate) fn exactly(&self, value: &str) -> Option<&Posting> {
        self.0.get(value)
    }

    /// All values from this prefix on that have it.
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

/// From here on a list is a tree.
const FEW: usize = 32;

/// Keys in order, with their slots. Most values of most facets have a few rows, some have a
/// million.
#[derive(Debug)]
pub(crate) enum Posting {
    /// Fewer than [`FEW`], in order.
    Few(Vec<(Key, Slot)>),
    /// More, or there were more once.
    Many(BTreeMap<Key, Slot>),
}

impl Posting {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(list) => list.len(),
            Self::Many(tree) => tree.len(),
        }
    }

    /// In order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        Source::of(self, Bound::Unbounded).map(|(key, _)| key)
    }

    fn insert(&mut self, key: Key, slot: Slot) {
        match self {
            Self::Few(list) if list.len() < FEW => {
                if let Err(at) = list.binary_search_by(|(other, _)| other.cmp(&key)) {
                    list.insert(at, (key, slot));
                }
            }
            Self::Few(list) => {
                let mut tree: BTreeMap<Key, Slot> = std::mem::take(list).into_iter().collect();
                tree.insert(key, slot);
                *self = Self::Many(tree);
            }
            Self::Many(tree) => {
                tree.insert(key, slot);
            }
        }
    }

    fn remove(&mut self, key: &Key) {
        match self {
            Self::Few(list) => {
                if let Ok(at) = list.binary_search_by(|(other, _)| other.cmp(key)) {
                    list.remove(at);
                }
            }
            Self::Many(tree) => {
                tree.remove(key);
            }
        }
    }
}
