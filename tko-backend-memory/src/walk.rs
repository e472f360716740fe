//! Merging postings into one sequence of keys.

use crate::posting::KeySource;
use crate::table::Slot;
use std::cmp::Reverse;
use std::collections::binary_heap::{BinaryHeap, PeekMut};
use tko_core::Key;

/// Maximum number of index entries that are read under one lock.
pub(crate) const MAX_VISITED: usize = 10_000;

/// Several sources merged in key order, without duplicates.
pub(crate) struct KeyWalk<'a> {
    sources: Vec<KeySource<'a>>,
    /// The next entry of each source, with the source's position.
    heads: BinaryHeap<Reverse<(&'a Key, Slot, usize)>>,
    /// The walk ends at the first id that does not start with this.
    prefix: String,
    visited: usize,
}

impl<'a> KeyWalk<'a> {
    /// Opens all sources.
    pub(crate) fn new(mut sources: Vec<KeySource<'a>>, prefix: String) -> Self {
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

    /// The number of index entries read and sources opened.
    pub(crate) fn visited(&self) -> usize {
        self.visited
    }

    /// Whether the walk has ended.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.heads
            .peek()
            .is_none_or(|Reverse((key, ..))| !key.id().starts_with(&self.prefix))
    }

    #[inline]
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

impl<'a> Iterator for KeyWalk<'a> {
    type Item = (&'a Key, Slot);

    #[inline]
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
