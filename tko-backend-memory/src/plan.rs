//! How a selection is answered: which list is walked, and in what order.
//!
//! Of all that a [`Select`] asks for, whatever an index knows gives a *candidate*: the lists of
//! keys that together hold everything which may match. The one with the fewest keys is walked, its
//! lists merged in key order, so that a page may end anywhere and the next one go on from there;
//! each row is then judged by the whole selection. A literal start of the ids narrows every walk.

use crate::index::{Facet, Index, Posting, Values, state};
use crate::state::State;
use crate::table::Slot;
use crate::walk::{Source, Walk};
use std::ops::Bound;
use tko_core::select::MetadataPatterns;
use tko_core::{DeploymentId, Key, Kind, Pattern, PluginId, PluginType, Select};

/// Most lists that are merged: a candidate that takes more is left out.
const MAX_WIDTH: usize = 4_096;

/// What may match, for one facet.
struct Candidate<'a> {
    lists: Vec<&'a Posting>,
    /// It holds just what this facet selects, nothing twice.
    exact: bool,
}

impl Candidate<'_> {
    fn size(&self) -> usize {
        self.lists.iter().map(|list| list.len()).sum()
    }

    /// Entries that a walk looks at: each list has to be opened.
    fn cost(&self) -> usize {
        self.size() + self.lists.len()
    }
}

/// What a selection says of ids.
enum Ids {
    /// One of these, in order.
    Among(Vec<Key>),
    /// Those that start with this text, the first possible one being this key.
    From(Key, String),
    Any,
}

/// How to answer one selection.
pub(crate) struct Plan<'a> {
    state: &'a State,
    kind: Kind,
    ids: Ids,
    /// The cheapest; `None`: all rows of the kind.
    lists: Option<Vec<&'a Posting>>,
    /// How many match, where that can be told without looking at them.
    counted: Option<usize>,
}

impl<'a> Plan<'a> {
    /// Looks at what the indexes have.
    pub(crate) fn new(state: &'a State, select: &'a Select) -> Self {
        let kind = select.kind;
        let rows = state.of(kind).rows.len();
        let found = Found::of(state, select);
        let counted = match found.candidates.as_slice() {
            _ if !select.ids.is_empty() || (state.of(kind).deleting > 0 && !select.deleting) => {
                None
            }
            [] if found.facets == 0 => Some(rows),
            [only] if found.facets == 1 && only.exact => Some(only.size()),
            _ => None,
        };
        let mut plan = Self {
            state,
            kind,
            ids: ids(select),
            lists: None,
            counted,
        };
        let best = found.candidates.into_iter().min_by_key(Candidate::cost);
        plan.lists = best
            .filter(|best| {
                best.lists.is_empty()
                    || (best.cost() <= rows && !plan.fewer_ids_than(best.lists.len()))
            })
            .map(|best| best.lists);
        plan
    }

    /// How many match, if that is known without a walk.
    pub(crate) fn counted(&self) -> Option<usize> {
        self.counted
    }

    /// What may match after this key, in key order.
    pub(crate) fn walk(&self, after: Option<&Key>) -> Walk<'a> {
        let table = &self.state.of(self.kind).rows;
        let (from, prefix) = match &self.ids {
            Ids::Among(keys) => {
                let found: Vec<(&Key, Slot)> = keys
                    .iter()
                    .filter(|key| after.is_none_or(|after| *key > after))
                    .filter_map(|key| table.entry(key))
                    .collect();
                return Walk::new(vec![Source::Given(found.into_iter())], String::new());
            }
            Ids::From(first, prefix) if after.is_none_or(|after| after < first) => {
                (Bound::Included(first), prefix.clone())
            }
            Ids::From(_, prefix) => (bound(after), prefix.clone()),
            Ids::Any => (bound(after), String::new()),
        };
        let sources = match &self.lists {
            Some(lists) => lists.iter().map(|list| Source::of(list, from)).collect(),
            None => vec![Source::Tree(table.keys().range((from, Bound::Unbounded)))],
        };
        Walk::new(sources, prefix)
    }

    /// Whether fewer rows have the wanted start of their id than there are lists to open.
    fn fewer_ids_than(&self, width: usize) -> bool {
        let Ids::From(first, prefix) = &self.ids else {
            return false;
        };
        let keys = self.state.of(self.kind).rows.keys();
        keys.range(first..)
            .take(width)
            .take_while(|(key, _)| key.id().starts_with(prefix))
            .count()
            < width
    }
}

fn bound(after: Option<&Key>) -> Bound<&Key> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}

/// Reads the id patterns. A text that is no id is the id of nothing.
fn ids(select: &Select) -> Ids {
    if let Some(literal) = select.ids.iter().find_map(Pattern::as_literal) {
        let mut keys = Vec::new();
        if select.kind == Kind::Plugin {
            for plugin in PluginType::ALL {
                keys.extend(PluginId::new(plugin, literal).map(Key::from).ok());
            }
            keys.sort();
        } else {
            keys.extend(Key::new(select.kind, literal).ok());
        }
        return Ids::Among(keys);
    }
    let prefix = longest_prefix(&select.ids);
    // Patterns of plugins are for the name, which is not what their ids start with.
    if prefix.is_empty() || select.kind == Kind::Plugin {
        return Ids::Any;
    }
    match Key::new(select.kind, prefix) {
        Ok(first) => Ids::From(first, prefix.to_owned()),
        Err(_) => Ids::Among(Vec::new()),
    }
}

fn longest_prefix(patterns: &[Pattern]) -> &str {
    patterns
        .iter()
        .map(Pattern::literal_prefix)
        .max_by_key(|prefix| prefix.len())
        .unwrap_or_default()
}

/// All that an index can say of a selection.
#[derive(Default)]
struct Found<'a> {
    /// How many facets it has, ids left out.
    facets: usize,
    candidates: Vec<Candidate<'a>>,
}

impl<'a> Found<'a> {
    fn of(state: &'a State, select: &'a Select) -> Self {
        let index = &state.of(select.kind).index;
        let mut found = Self::default();
        for (name, pattern) in &select.metadata {
            let lists = index.metadata(name).map_or(Some(Vec::new()), |values| {
                matching(values, std::slice::from_ref(pattern))
            });
            found.add(lists, true);
        }
        for (facet, patterns) in [
            (Facet::Template, &select.template_ids),
            (Facet::Site, &select.site_ids),
        ] {
            if !patterns.is_empty() {
                found.add(matching(index.of(facet), patterns), true);
            }
        }
        for (facet, value) in [
            (
                Facet::Parent,
                select.parent.as_ref().map(DeploymentId::as_str),
            ),
            (
                Facet::PluginType,
                select.plugin_type.map(PluginType::as_str),
            ),
            (Facet::Executor, select.executor.as_deref()),
        ] {
            if let Some(value) = value {
                found.add(Some(exactly(index, [facet], value)), true);
            }
        }
        if let Some(trigger) = &select.trigger {
            // As text two triggers may look alike.
            let lists = exactly(index, [Facet::Trigger], &trigger.to_string());
            found.add(Some(lists), false);
        }
        if let Some(site) = &select.concerning {
            let lists = exactly(index, [Facet::Site, Facet::Place], site.as_str());
            found.add(Some(lists), false);
        }
        if select.prepared.is_some() || select.approved.is_some() {
            found.add(
                Some(in_state(index, select.prepared, select.approved)),
                true,
            );
        }
        for (facet, kind, patterns) in [
            (Facet::Template, Kind::Template, &select.template_metadata),
            (Facet::Site, Kind::Site, &select.site_metadata),
        ] {
            if !patterns.is_empty() {
                found.add(joined(state, index.of(facet), kind, patterns), false);
            }
        }
        found
    }

    /// Counts a facet; with no lists, the index cannot answer it.
    fn add(&mut self, lists: Option<Vec<&'a Posting>>, exact: bool) {
        self.facets += 1;
        self.candidates
            .extend(lists.map(|lists| Candidate { lists, exact }));
    }
}

fn exactly<'a, const N: usize>(
    index: &'a Index,
    facets: [Facet; N],
    value: &str,
) -> Vec<&'a Posting> {
    facets
        .into_iter()
        .filter_map(|facet| index.of(facet).exactly(value))
        .collect()
}

fn in_state(index: &Index, prepared: Option<bool>, approved: Option<bool>) -> Vec<&Posting> {
    [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .filter(|(is_prepared, is_approved)| {
            prepared.is_none_or(|wanted| wanted == *is_prepared)
                && approved.is_none_or(|wanted| wanted == *is_approved)
        })
        .filter_map(|(prepared, approved)| {
            index.of(Facet::State).exactly(state(prepared, approved))
        })
        .collect()
}

/// The rows whose value matches all patterns; `None`: too many values.
fn matching<'a>(values: &'a Values, patterns: &[Pattern]) -> Option<Vec<&'a Posting>> {
    let all_match = |value: &str| patterns.iter().all(|pattern| pattern.matches(value));
    if let Some(literal) = patterns.iter().find_map(Pattern::as_literal) {
        let posting = values.exactly(literal).filter(|_| all_match(literal));
        return Some(posting.into_iter().collect());
    }
    let mut lists = Vec::new();
    for (looked, (value, posting)) in values.starting_with(longest_prefix(patterns)).enumerate() {
        if looked == MAX_WIDTH {
            return None;
        }
        if all_match(value) {
            lists.push(posting);
        }
    }
    Some(lists)
}

/// The rows that name one of those of another kind whose metadata matches; `None`: too many.
fn joined<'a>(
    state: &State,
    values: &'a Values,
    kind: Kind,
    patterns: &MetadataPatterns,
) -> Option<Vec<&'a Posting>> {
    let select = Select {
        metadata: patterns.clone(),
        deleting: true,
        ..Select::all(kind)
    };
    let mut lists = Vec::new();
    let mut walk = Plan::new(state, &select).walk(None);
    while let Some((key, slot)) = walk.next() {
        if walk.visited() > MAX_WIDTH {
            return None;
        }
        if select.matches(&state.of(kind).rows.row(slot).entity) {
            lists.extend(values.exactly(key.id()));
        }
    }
    Some(lists)
}
