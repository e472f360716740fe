//! Walking lists of keys in one order, and the pages that come of it.

use crate::index::Posting;
use crate::plan::Plan;
use crate::state::State;
use crate::table::Slot;
use std::cmp::Reverse;
use std::collections::binary_heap::{BinaryHeap, PeekMut};
use std::collections::btree_map;
use std::ops::Bound;
use tko_core::{Cursor, Key, List, Page};

/// Most index entries that are looked at under one lock.
pub(crate) const MAX_VISITED: usize = 10_000;

/// One list of keys, in order.
pub(crate) enum Source<'a> {
    /// Looked up one by one.
    Given(std::vec::IntoIter<(&'a Key, Slot)>),
    /// A short posting.
    Few(std::slice::Iter<'a, (Key, Slot)>),
    /// A long posting, or all rows.
    Tree(btree_map::Range<'a, Key, Slot>),
}

impl<'a> Source<'a> {
    /// A posting from here on.
    pub(crate) fn of(posting: &'a Posting, from: Bound<&Key>) -> Self {
        match posting {
            Posting::Few(list) => {
                let start = match from {
                    Bound::Unbounded => 0,
                    Bound::Included(first) => list.partition_point(|(key, _)| key < first),
                    Bound::Excluded(last) => list.partition_point(|(key, _)| key <= last),
                };
                Self::Few(list[start..].iter())
            }
            Posting::Many(tree) => Self::Tree(tree.range::<Key, _>((from, Bound::Unbounded))),
        }
    }
}

impl<'a> Iterator for Source<'a> {
    type Item = (&'a Key, Slot);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Given(keys) => keys.next(),
            Self::Few(list) => list.next().map(|(key, slot)| (key, *slot)),
            Self::Tree(tree) => tree.next().map(|(key, slot)| (key, *slot)),
        }
    }
}

/// Lists merged in key order; what is in several comes once.
pub(crate) struct Walk<'a> {
    sources: Vec<Source<'a>>,
    /// The next of each list, and which list that is.
    heads: BinaryHeap<Reverse<(&'a Key, Slot, usize)>>,
    /// Ids that do not start with this are behind the end.
    prefix: String,
    visited: usize,
}

impl<'a> Walk<'a> {
    /// Opens the lists.
    pub(crate) fn new(mut sources: Vec<Source<'a>>, prefix: String) -> Self {
        let heads: BinaryHeap<_> = sources
            .iter_mut()
            .enumerate()
            .filter_map(|(at, source)| source.next().map(|(key, slot)| Reverse((key, slot, at))))
            .collect();
        let visited = sources.len();
        Self {
            sources,
            heads,
            prefix,
            visited,
        }
    }

    /// How many index entries were looked at, and lists opened.
    pub(crate) fn visited(&self) -> usize {
        self.visited
    }

    /// Whether nothing comes any more.
    pub(crate) fn is_done(&self) -> bool {
        self.heads
            .peek()
            .is_none_or(|Reverse((key, ..))| !key.id().starts_with(&self.prefix))
    }

    fn pop(&mut self) -> Option<(&'a Key, Slot)> {
        let mut head = self.heads.peek_mut()?;
        let Reverse((key, slot, at)) = *head;
        self.visited += 1;
        match self.sources[at].next() {
            Some((next, slot)) => *head = Reverse((next, slot, at)),
            None => {
                PeekMut::pop(head);
            }
        }
        Some((key, slot))
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (&'a Key, Slot);

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done() {
            return None;
        }
        let (key, slot) = self.pop()?;
        while self
            .heads
            .peek()
            .is_some_and(|Reverse((next, ..))| *next == key)
        {
            self.pop();
        }
        Some((key, slot))
    }
}

/// One page, and what was looked at for it.
pub(crate) fn page(state: &State, list: &List) -> (Page, usize) {
    let limit = list.most();
    let rows = &state.of(list.select.kind).rows;
    let after = list.after.as_ref().map(|Cursor(key)| key);
    let mut walk = Plan::new(state, &list.select).walk(after);
    let mut page = Page {
        revision: state.revision(),
        items: Vec::new(),
        next: None,
    };
    while let Some((key, slot)) = walk.next() {
        let row = rows.row(slot);
        if state.selects(&list.select, &row.entity) {
            page.items.push(state.record(row, list.want));
        }
        if page.items.len() == limit || walk.visited() >= MAX_VISITED {
            page.next = (!walk.is_done()).then(|| Cursor(key.clone()));
            break;
        }
    }
    (page, walk.visited())
}

#[cfg(test)]
pub(crate) mod tests;
