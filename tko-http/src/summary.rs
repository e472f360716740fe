//! [`Tally`]: exact counts of all entities by state, kept by following the change feed.
//!
//! For each entity it remembers in a few dozen bytes how it was counted, so that a change costs
//! O(1) and can be applied twice.

mod attention;
mod rates;
mod states;

pub(crate) use attention::{AttentionEnd, AttentionFilter, AttentionIds};
use attention::{AttentionIndex, Obstacle};
pub(crate) use rates::Rates;
pub(crate) use states::StateCounts;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tko_core::view::{DeploymentState, fault, obstacle};
use tko_core::{Entity, Key, Kind, Metadata, Revision, SiteId, TemplateId, Timestamp};

/// Maximum number of different reasons that are counted separately. Deployments with other reasons
/// are counted by state only.
const MAX_REASONS: usize = 10_000;

/// Maximum number of plugins whose names are searched in a text.
const MAX_NAMED: usize = 1_000;

/// Maximum number of sites with trouble whose message is kept. Sites beyond it are counted without
/// their message, which can have many kilobytes.
const MAX_MESSAGES: usize = 1_000;

/// Counts of all entities, by state and relation.
#[derive(Default)]
pub(crate) struct Tally {
    hashers: (RandomState, RandomState),
    deployments: HashMap<u128, Trace>,
    states: StateCounts,
    by_template: Counts,
    by_site: Counts,
    reasons: HashMap<Arc<str>, ReasonCount>,
    templates: HashSet<TemplateId>,
    sites: HashMap<SiteId, Metadata>,
    /// Every site that needs attention.
    troubled: BTreeMap<SiteId, Trouble>,
    /// How many of them have a message.
    messages: usize,
    plugins: HashSet<Arc<str>>,
    attention: AttentionIndex,
    rates: Rates,
    /// For each kind: the revision up to which the feed was applied, once everything was counted.
    read: [Option<Revision>; 4],
}

/// The counts to which one deployment belongs.
struct Trace {
    state: DeploymentState,
    prepared: bool,
    template: Option<u32>,
    site: Option<u32>,
    reason: Option<Arc<str>>,
}

/// Counts of deployments by the id of a related entity.
#[derive(Default)]
struct Counts {
    numbers: HashMap<Arc<str>, u32>,
    /// The ids and counts by number.
    slots: Vec<(Arc<str>, StateCounts)>,
    /// The numbers of slots without an id.
    free: Vec<u32>,
}

impl Counts {
    /// The number of an id. It is valid until the last deployment of the id is removed.
    fn number(&mut self, id: &str) -> u32 {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let id: Arc<str> = id.into();
        let free = self.free.pop();
        let number = free.unwrap_or(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        let slot = (id.clone(), StateCounts::default());
        match self.slot(number) {
            Some(place) => *place = slot,
            None => self.slots.push(slot),
        }
        self.numbers.insert(id, number);
        number
    }

    fn of(&self, id: &str) -> StateCounts {
        let number = self.numbers.get(id);
        number.map_or_else(StateCounts::default, |number| self.at(*number))
    }

    fn at(&self, number: u32) -> StateCounts {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        self.slots
            .get(at)
            .map_or_else(StateCounts::default, |(_, counts)| *counts)
    }

    fn slot(&mut self, number: u32) -> Option<&mut (Arc<str>, StateCounts)> {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        self.slots.get_mut(at)
    }

    /// Counts one more deployment.
    fn add(&mut self, number: u32, state: DeploymentState) {
        if let Some((_, counts)) = self.slot(number) {
            counts.add(state);
        }
    }

    /// Counts one deployment less. An id without deployments is forgotten: ids come and go.
    fn remove(&mut self, number: u32, state: DeploymentState) {
        let Some((id, counts)) = self.slot(number) else {
            return;
        };
        counts.remove(state);
        if counts.total() == 0 {
            let id = std::mem::take(id);
            self.numbers.remove(&id);
            self.free.push(number);
        }
    }
}

/// A reason why deployments do not get on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReasonCount {
    pub(crate) count: u64,
    /// Whether it is a fault, which needs action by a person.
    pub(crate) is_fault: bool,
    /// The earliest time at which one of the deployments got this reason.
    pub(crate) since: Timestamp,
}

/// The condition of a site that needs attention.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// The message; `None` if too many others are kept.
    pub(crate) message: Option<String>,
    pub(crate) since: Timestamp,
}

impl Tally {
    /// Drops the counts of a kind, before it is counted again.
    pub(crate) fn restart(&mut self, kind: Kind) {
        self.read[super::feed::index(kind)] = None;
        match kind {
            Kind::Template => self.templates.clear(),
            Kind::Site => {
                self.sites.clear();
                self.troubled.clear();
                self.messages = 0;
            }
            Kind::Deployment => {
                self.deployments.clear();
                self.states = StateCounts::default();
                self.by_template = Counts::default();
                self.by_site = Counts::default();
                self.reasons.clear();
                self.attention = AttentionIndex::default();
            }
            Kind::Plugin => self.plugins.clear(),
        }
    }

    /// All entities of a kind were counted; events after `start` were applied.
    pub(crate) fn complete(&mut self, kind: Kind, start: Revision) {
        let read = &mut self.read[super::feed::index(kind)];
        *read = Some(read.unwrap_or_default().max(start));
    }

    /// The feed of a kind was applied up to this revision.
    pub(crate) fn advance(&mut self, kind: Kind, revision: Revision) {
        if let Some(read) = &mut self.read[super::feed::index(kind)] {
            *read = revision.max(*read);
        }
    }

    /// The revision that the counts of deployments are true of; `None` while they are incomplete.
    pub(crate) fn revision(&self) -> Option<Revision> {
        self.read
            .iter()
            .copied()
            .try_fold(Revision(0), |most, read| Some(most.max(read?)))
    }

    /// Counts the current state of an entity. `live`: it has just changed.
    pub(crate) fn put(&mut self, entity: &Entity, live: bool) {
        match &entity.key {
            Key::Template(id) => {
                if entity.deleting {
                    self.templates.remove(id);
                } else {
                    self.templates.insert(id.clone());
                }
            }
            Key::Plugin(id) => {
                if entity.deleting {
                    self.plugins.remove(id.as_str());
                } else {
                    self.plugins.insert(id.as_str().into());
                }
            }
            Key::Site(id) => self.put_site(id, entity),
            Key::Deployment(_) => self.put_deployment(entity, live),
        }
    }

    fn put_site(&mut self, id: &SiteId, entity: &Entity) {
        self.forget_trouble(id);
        if entity.deleting {
            self.sites.remove(id);
            return;
        }
        self.sites.insert(id.clone(), entity.metadata.clone());
        if let Some(condition) = fault(entity) {
            let has_room = self.messages < MAX_MESSAGES;
            self.messages += usize::from(has_room);
            let trouble = Trouble {
                message: has_room.then(|| condition.message.clone()),
                since: condition.since,
            };
            self.troubled.insert(id.clone(), trouble);
        }
    }

    fn forget_trouble(&mut self, id: &SiteId) {
        let trouble = self.troubled.remove(id);
        if trouble.is_some_and(|trouble| trouble.message.is_some()) {
            self.messages -= 1;
        }
    }

    fn put_deployment(&mut self, entity: &Entity, live: bool) {
        let (Some(deployment), Some(state)) = (entity.deployment(), DeploymentState::of(entity))
        else {
            return;
        };
        let hash = self.hash(entity.key.id());
        let before = self.forget(hash);
        if live {
            let was_prepared = before.as_ref().is_some_and(|trace| trace.prepared);
            let was_placed = before
                .as_ref()
                .is_some_and(|trace| trace.state == DeploymentState::Scheduled);
            let prepared = deployment.prepared && !was_prepared;
            let placed = state == DeploymentState::Scheduled && !was_placed;
            self.rates.count(entity.updated, prepared, placed);
        }
        let template = deployment.template.as_ref();
        let site = deployment.site.as_ref();
        let template = template.map(|id| self.by_template.number(id.as_str()));
        let site = site.map(|id| self.by_site.number(id.as_str()));
        let reason = self.reason(entity, state);
        if let Key::Deployment(id) = &entity.key {
            let obstacle = obstacle(entity).map(|_| Obstacle(reason.as_ref()));
            self.attention.put(id, state, obstacle, deployment);
        }
        self.states.add(state);
        if let Some(template) = template {
            self.by_template.add(template, state);
        }
        if let Some(site) = site {
            self.by_site.add(site, state);
        }
        let trace = Trace {
            state,
            prepared: deployment.prepared,
            template,
            site,
            reason,
        };
        self.deployments.insert(hash, trace);
    }

    fn reason(&mut self, entity: &Entity, state: DeploymentState) -> Option<Arc<str>> {
        let condition = obstacle(entity).filter(|_| state.is_stuck())?;
        let room = self.reasons.len() < MAX_REASONS;
        let text = match self.reasons.get_key_value(&*condition.message) {
            Some((text, _)) => text.clone(),
            None if room => condition.message.as_str().into(),
            None => return None,
        };
        let is_fault = fault(entity).is_some();
        let counted = self.reasons.entry(text.clone()).or_insert(ReasonCount {
            count: 0,
            is_fault,
            since: condition.since,
        });
        counted.count += 1;
        counted.is_fault |= is_fault;
        if condition.since.0 < counted.since.0 {
            counted.since = condition.since;
        }
        Some(text)
    }

    /// Removes a deployment from the counts.
    fn forget(&mut self, hash: u128) -> Option<Trace> {
        let trace = self.deployments.remove(&hash)?;
        self.states.remove(trace.state);
        if let Some(template) = trace.template {
            self.by_template.remove(template, trace.state);
        }
        if let Some(site) = trace.site {
            self.by_site.remove(site, trace.state);
        }
        if let Some(reason) = &trace.reason
            && let Some(counted) = self.reasons.get_mut(reason)
        {
            counted.count -= 1;
            if counted.count == 0 {
                self.reasons.remove(reason);
            }
        }
        Some(trace)
    }

    /// An entity was removed.
    pub(crate) fn remove(&mut self, entity: &Entity) {
        match &entity.key {
            Key::Template(id) => _ = self.templates.remove(id),
            Key::Plugin(id) => _ = self.plugins.remove(id.as_str()),
            Key::Site(id) => {
                self.sites.remove(id);
                self.forget_trouble(id);
            }
            Key::Deployment(id) => {
                let hash = self.hash(id.as_str());
                self.forget(hash);
                self.attention.remove(id);
            }
        }
    }

    /// Two independent keyed hashes: no two ids have the same in practice.
    fn hash(&self, id: &str) -> u128 {
        let (one, other) = (self.hashers.0.hash_one(id), self.hashers.1.hash_one(id));
        u128::from(one) << 64 | u128::from(other)
    }

    /// The revision up to which the feed of a kind was applied, once everything was counted.
    pub(crate) fn read(&self, kind: Kind) -> Option<Revision> {
        self.read[super::feed::index(kind)]
    }

    /// The deployments that need attention, by their ids.
    pub(crate) fn attention(&self) -> &AttentionIndex {
        &self.attention
    }

    /// The reasons that name a plugin, the most frequent first.
    pub(crate) fn reasons_of(&self, plugin: &str, most: usize) -> Vec<(Arc<str>, ReasonCount)> {
        let mut reasons: Vec<_> = self
            .reasons
            .iter()
            .filter(|(text, counted)| counted.is_fault && names(text, plugin))
            .map(|(text, counted)| (text.clone(), *counted))
            .collect();
        reasons.sort_by(|(one, a), (other, b)| b.count.cmp(&a.count).then_with(|| one.cmp(other)));
        reasons.truncate(most);
        reasons
    }

    /// The deployments by state.
    pub(crate) fn states(&self) -> StateCounts {
        self.states
    }

    /// The number of entities of a kind, without those that are being deleted.
    pub(crate) fn total(&self, kind: Kind) -> u64 {
        let total = match kind {
            Kind::Template => self.templates.len(),
            Kind::Site => self.sites.len(),
            Kind::Plugin => self.plugins.len(),
            Kind::Deployment => {
                return self.states.total() - self.states.of(DeploymentState::Deleting);
            }
        };
        u64::try_from(total).unwrap_or(u64::MAX)
    }

    /// The deployments of a template by state.
    pub(crate) fn of_template(&self, id: &str) -> StateCounts {
        self.by_template.of(id)
    }

    /// The deployments of a site by state.
    pub(crate) fn of_site(&self, id: &str) -> StateCounts {
        self.by_site.of(id)
    }

    /// All templates that have deployments, with their deployments by state.
    pub(crate) fn templates(&self) -> Vec<(Arc<str>, StateCounts)> {
        let counted = self.by_template.numbers.iter();
        let counted = counted.map(|(id, number)| (id.clone(), self.by_template.at(*number)));
        let mut counted: Vec<_> = counted.filter(|(_, counts)| counts.total() > 0).collect();
        counted.sort_by(|(one, _), (other, _)| one.cmp(other));
        counted
    }

    /// The deployments by state for each value of a metadata key of their sites.
    pub(crate) fn by_site_metadata(&self, key: &str) -> BTreeMap<String, StateCounts> {
        let mut by_value = BTreeMap::<String, StateCounts>::new();
        for (id, metadata) in &self.sites {
            if let Some(value) = metadata.get(key) {
                let counts = self.by_site.of(id.as_str());
                if let Some(sum) = by_value.get_mut(value) {
                    sum.join(&counts);
                } else {
                    by_value.insert(value.to_owned(), counts);
                }
            }
        }
        by_value
    }

    /// The most frequent reasons: faults first, then those that deployments wait for.
    pub(crate) fn reasons(&self, most: usize) -> Vec<(Arc<str>, ReasonCount)> {
        let mut reasons: Vec<_> = self
            .reasons
            .iter()
            .map(|(text, counted)| (text.clone(), *counted))
            .collect();
        reasons.sort_by(|(one, a), (other, b)| {
            (b.is_fault, b.count)
                .cmp(&(a.is_fault, a.count))
                .then_with(|| one.cmp(other))
        });
        reasons.truncate(most);
        reasons
    }

    /// The number of deployments that a plugin blocks: those whose reason names it.
    pub(crate) fn failures_of(&self, plugin: &str) -> u64 {
        let faults = self.reasons.iter().filter(|(_, counted)| counted.is_fault);
        let named = faults.filter(|(text, _)| names(text, plugin));
        named.map(|(_, counted)| counted.count).sum()
    }

    /// The plugins that block deployments, the most frequent first: id, count, and a reason.
    pub(crate) fn failing_plugins(&self, most: usize) -> Vec<(Arc<str>, u64, Arc<str>)> {
        let mut failing: Vec<_> = self
            .plugins
            .iter()
            .filter_map(|id| {
                let name = id.split_once('|').map_or(&**id, |(_, name)| name);
                let faults = self.reasons.iter().filter(|(_, counted)| counted.is_fault);
                let named: Vec<_> = faults.filter(|(text, _)| names(text, name)).collect();
                let (text, _) = named.iter().max_by_key(|(_, counted)| counted.count)?;
                let count: u64 = named.iter().map(|(_, counted)| counted.count).sum();
                Some((id.clone(), count, (*text).clone()))
            })
            .collect();
        failing.sort_by(|(one, a, _), (other, b, _)| b.cmp(a).then_with(|| one.cmp(other)));
        failing.truncate(most);
        failing
    }

    /// A plugin that a text names: its id, and where in the text its name is: start and length.
    pub(crate) fn plugin_named(&self, text: &str) -> Option<(Arc<str>, usize, usize)> {
        let plugins = self.plugins.iter().take(MAX_NAMED);
        let named = plugins.filter_map(|id| {
            let name = id.split_once('|').map_or(&**id, |(_, name)| name);
            Some((id.clone(), named_at(text, name)?, name.len()))
        });
        // The name that comes first in the text; if several do, always the same plugin.
        named.min_by_key(|(id, at, _)| (*at, id.clone()))
    }

    /// The number of sites that need attention, and the first of them.
    pub(crate) fn troubled(&self, most: usize) -> (usize, Vec<(SiteId, Trouble)>) {
        let shown = self.troubled.iter().take(most);
        let shown = shown
            .map(|(id, trouble)| (id.clone(), trouble.clone()))
            .collect();
        (self.troubled.len(), shown)
    }

    /// How many deployments were prepared and placed recently.
    pub(crate) fn rates(&self) -> &Rates {
        &self.rates
    }
}

/// Whether a text names a plugin, as a separate word.
fn names(text: &str, plugin: &str) -> bool {
    named_at(text, plugin).is_some()
}

/// Where a text names a plugin.
fn named_at(text: &str, plugin: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let mut found = text.match_indices(plugin).map(|(at, _)| at);
    found.find(|at| {
        let at = *at;
        let before = text[..at].chars().next_back();
        let after = text[at + plugin.len()..].chars().next();
        // A type may stand before the name: `prepare/NAME`.
        !before.is_some_and(|c| is_part(c) && c != '/')
            && !after.is_some_and(|c| is_part(c) && c != '.')
    })
}

#[cfg(test)]
mod tests;
