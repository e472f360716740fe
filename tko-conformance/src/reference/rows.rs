//! Reads of rows.

use super::state::ReferenceState;
use tko_core::select::metadata_match;
use tko_core::{Count, Cursor, Entity, Key, List, Page, Record, Select, Want};

impl ReferenceState {
    pub(crate) fn record(&self, key: &Key, want: Want) -> Option<Record> {
        let mut record = self.rows.get(key)?.record(want);
        if want.work {
            let own = self.work.values().filter(|item| item.work.key == *key);
            record.work = own.map(|item| item.work.clone()).collect();
        }
        Some(record)
    }

    /// The keys of all matches, in order.
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
        let next = keys
            .last()
            .filter(|_| more)
            .map(|key| Cursor((*key).clone()));
        Page::new(
            self.revision(),
            keys.into_iter()
                .filter_map(|key| self.record(key, list.want))
                .collect(),
        )
        .next(next)
    }

    pub(crate) fn count(&self, select: &Select, bound: u64) -> Count {
        let all = self.matching(select).count() as u64;
        Count::new(all.min(bound), all > bound)
    }
}
