//! Rows, and how they are read.

use super::work::{Hold, Item};
use std::collections::BTreeMap;
use std::sync::Arc;
use tko_core::select::metadata_match;
use tko_core::{
    ChangeRecord, Count, Cursor, Entity, Key, List, Package, Page, Record, Revision, Select, Stage,
    Want,
};

/// Everything that there is.
pub(crate) struct State {
    pub(super) rows: BTreeMap<Key, Row>,
    /// The last `history` changes, oldest first.
    pub(super) feed: Vec<ChangeRecord>,
    /// How many changes were dropped from the feed: the revision of the last of them.
    pub(super) dropped: u64,
    pub(super) history: usize,
    pub(super) work: BTreeMap<(Stage, Key), Item>,
    /// The last fence of each, for ever.
    pub(super) fences: BTreeMap<(Stage, Key), u64>,
    /// Every edit that was ever made, for ever: so each dead token is told what it died of.
    pub(super) edits: Vec<Hold>,
    /// The lane that was last served, of each stage.
    pub(super) turn: BTreeMap<Stage, u8>,
    /// Numbers that are given once.
    pub(super) given: u64,
}

/// One entity.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) entity: Arc<Entity>,
    pub(super) body: Package,
    pub(super) revision: Revision,
}

impl Row {
    pub(super) fn record(&self, want: Want) -> Record {
        Record {
            entity: self.entity.clone(),
            package: want.package.then(|| self.body.clone()),
            revision: want.revision.then_some(self.revision),
            work: Vec::new(),
        }
    }
}

impl State {
    pub(crate) fn new(history: usize) -> Self {
        Self {
            rows: BTreeMap::new(),
            feed: Vec::new(),
            dropped: 0,
            history,
            work: BTreeMap::new(),
            fences: BTreeMap::new(),
            edits: Vec::new(),
            turn: BTreeMap::new(),
            given: 0,
        }
    }

    /// A number that was never given before.
    pub(super) fn give(&mut self) -> u64 {
        self.given += 1;
        self.given
    }

    pub(crate) fn record(&self, key: &Key, want: Want) -> Option<Record> {
        let mut record = self.rows.get(key)?.record(want);
        if want.work {
            let own = self.work.values().filter(|item| item.work.key == *key);
            record.work = own.map(|item| item.work.clone()).collect();
        }
        Some(record)
    }

    /// All that match, in key order.
    pub(crate) fn matching(&self, select: &Select) -> impl Iterator<Item = &Key> {
        self.rows
            .iter()
            .filter(|(_, row)| self.selects(select, &row.entity))
            .map(|(key, _)| key)
    }

    fn selects(&self, select: &Select, entity: &Entity) -> bool {
        let deployment = entity.deployment();
        let template = deployment.and_then(|d| d.template.as_ref()).map(Key::from);
        let site = deployment.and_then(|d| d.site.as_ref()).map(Key::from);
        let joins = [
            (template, &select.template_metadata),
            (site, &select.site_metadata),
        ];
        select.matches(entity)
            && joins.into_iter().all(|(key, patterns)| {
                let row = key.and_then(|key| self.rows.get(&key));
                patterns.is_empty()
                    || row.is_some_and(|row| metadata_match(patterns, &row.entity.metadata))
            })
    }

    pub(crate) fn page(&self, list: &List) -> Page {
        let limit = list.most();
        let after = list.after.as_ref().map(|Cursor(key)| key);
        let mut keys: Vec<&Key> = self
            .matching(&list.select)
            .filter(|key| after.is_none_or(|after| *key > after))
            .take(limit + 1)
            .collect();
        let more = keys.len() > limit;
        keys.truncate(limit);
        Page {
            revision: self.revision(),
            next: keys
                .last()
                .filter(|_| more)
                .map(|key| Cursor((*key).clone())),
            items: keys
                .into_iter()
                .filter_map(|key| self.record(key, list.want))
                .collect(),
        }
    }

    pub(crate) fn count(&self, select: &Select, bound: u64) -> Count {
        let all = self.matching(select).count() as u64;
        Count {
            found: all.min(bound),
            more: all > bound,
        }
    }
}
