//! Query planning: the postings to read for a selection, and the filters per row.
//!
//! Each facet of a [`Select`] that an index knows gives a *candidate*: the postings that together
//! contain every row that may match. The candidate with the fewest entries is read, its postings
//! merged in key order. So a page can end anywhere and the next one continues there. Each row is
//! then checked against the whole selection. A literal prefix of the ids narrows every read.

use crate::index::{Facet, FacetValues, RowIndex, state};
use crate::posting::{KeySource, Posting};
use crate::state::MemoryState;
use crate::table::Slot;
use crate::walk::KeyWalk;
use std::ops::Bound;
use tko_core::select::MetadataPatterns;
use tko_core::{DeploymentId, Key, Kind, Pattern, PluginId, PluginType, Select};

/// Maximum number of postings that are merged; a candidate with more is not considered.
const MAX_WIDTH: usize = 4_096;

/// The rows that may match one facet.
struct Candidate<'a> {
    lists: Vec<&'a Posting>,
    /// Whether the postings contain exactly the rows that match, each once.
    exact: bool,
}

impl Candidate<'_> {
    fn size(&self) -> usize {
        self.lists.iter().map(|list| list.len()).sum()
    }

    /// The number of entries that a walk reads, counting one for opening each posting.
    fn cost(&self) -> usize {
        self.size() + self.lists.len()
    }
}

/// The ids that a selection allows.
enum IdRange {
    /// Exactly these keys, in order.
    Among(Vec<Key>),
    /// The first possible key, and the prefix of all ids.
    From(Key, String),
    Any,
}

/// The way to answer one selection.
pub(crate) struct QueryPlan<'a> {
    state: &'a MemoryState,
    kind: Kind,
    ids: IdRange,
    /// The postings to read; `None` reads all rows of the kind.
    lists: Option<Vec<&'a Posting>>,
    /// The number of matches, if the index alone gives it.
    counted: Option<usize>,
}

impl<'a> QueryPlan<'a> {
    /// Plans a selection by the sizes of the postings.
    pub(crate) fn new(state: &'a MemoryState, select: &'a Select) -> Self {
        let kind = select.kind;
        let rows = state.of(kind).rows.len();
        let found = Candidates::of(state, select);
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

    /// The number of matches, if it is known without a walk.
    pub(crate) fn counted(&self) -> Option<usize> {
        self.counted
    }

    /// The rows that may match after this key, in key order.
    pub(crate) fn walk(&self, after: Option<&Key>) -> KeyWalk<'a> {
        let table = &self.state.of(self.kind).rows;
        let (from, prefix) = match &self.ids {
            IdRange::Among(keys) => {
                let found: Vec<(&Key, Slot)> = keys
                    .iter()
                    .filter(|key| after.is_none_or(|after| *key > after))
                    .filter_map(|key| table.entry(key))
                    .collect();
                return KeyWalk::new(vec![KeySource::Given(found.into_iter())], String::new());
            }
            IdRange::From(first, prefix) if after.is_none_or(|after| after < first) => {
                (Bound::Included(first), prefix.clone())
            }
            IdRange::From(_, prefix) => (bound(after), prefix.clone()),
            IdRange::Any => (bound(after), String::new()),
        };
        let sources = match &self.lists {
            Some(lists) => lists.iter().map(|list| KeySource::of(list, from)).collect(),
            None => vec![KeySource::Tree(
                table.keys().range((from, Bound::Unbounded)),
            )],
        };
        KeyWalk::new(sources, prefix)
    }

    /// Whether fewer rows have the id prefix than there are postings to open.
    fn fewer_ids_than(&self, width: usize) -> bool {
        let IdRange::From(first, prefix) = &self.ids else {
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

/// The ids that the patterns allow. A literal that is not a valid id matches nothing.
fn ids(select: &Select) -> IdRange {
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
        return IdRange::Among(keys);
    }
    let prefix = longest_prefix(&select.ids);
    // A pattern for plugins matches the name, but the id of a plugin does not start with its name.
    if prefix.is_empty() || select.kind == Kind::Plugin {
        return IdRange::Any;
    }
    match Key::new(select.kind, prefix) {
        Ok(first) => IdRange::From(first, prefix.to_owned()),
        Err(_) => IdRange::Among(Vec::new()),
    }
}

fn longest_prefix(patterns: &[Pattern]) -> &str {
    patterns
        .iter()
        .map(Pattern::literal_prefix)
        .max_by_key(|prefix| prefix.len())
        .unwrap_or_default()
}

/// The candidates for one selection.
#[derive(Default)]
struct Candidates<'a> {
    /// The number of facets in the selection, without ids.
    facets: usize,
    candidates: Vec<Candidate<'a>>,
}

impl<'a> Candidates<'a> {
    fn of(state: &'a MemoryState, select: &'a Select) -> Self {
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
            // Different triggers may have the same text.
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

    /// Counts a facet. `None`: the index cannot answer it.
    fn add(&mut self, lists: Option<Vec<&'a Posting>>, exact: bool) {
        self.facets += 1;
        self.candidates
            .extend(lists.map(|lists| Candidate { lists, exact }));
    }
}

fn exactly<'a, const N: usize>(
    index: &'a RowIndex,
    facets: [Facet; N],
    value: &str,
) -> Vec<&'a Posting> {
    facets
        .into_iter()
        .filter_map(|facet| index.of(facet).exactly(value))
        .collect()
}

fn in_state(index: &RowIndex, prepared: Option<bool>, approved: Option<bool>) -> Vec<&Posting> {
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

/// The postings of values that match all patterns; `None` if too many values must be checked.
fn matching<'a>(values: &'a FacetValues, patterns: &[Pattern]) -> Option<Vec<&'a Posting>> {
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

/// The postings of rows that name a row of another kind with matching metadata; `None` if too many
/// rows of that kind must be checked.
fn joined<'a>(
    state: &MemoryState,
    values: &'a FacetValues,
    kind: Kind,
    patterns: &MetadataPatterns,
) -> Option<Vec<&'a Posting>> {
    let select = Select::all(kind)
        .metadata_patterns(patterns.clone())
        .deleting(true);
    let mut lists = Vec::new();
    let mut walk = QueryPlan::new(state, &select).walk(None);
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
