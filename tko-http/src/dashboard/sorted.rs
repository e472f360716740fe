//! Lists in the order of time: the entities that changed last come first.
//!
//! Backends list by id. If a filter selects few entities, they are read and sorted. If it selects
//! many, the change feed shows which of them changed last.

use crate::context::{ApiCaller, SharedContext};
use crate::scan;
use futures_util::StreamExt;
use std::collections::HashMap;
use tko_core::view::FilterLine;
use tko_core::{DataApi, Error, Key, List, Record, Result, Revision};

/// Maximum number of entities that are read to be sorted.
const MAX_SORTED: usize = 500;

/// How many changes of the feed are searched for the last changed entities.
const CHANGES: u64 = 4_096;

/// The entities that changed last.
pub(super) struct LatestRecords {
    /// The records, the last change first.
    pub(super) records: Vec<Record>,
    /// Whether there are others, whose changes are older.
    pub(super) more: bool,
}

/// The `most` entities that a filter selects and that changed last.
pub(super) async fn latest(
    context: &SharedContext,
    caller: &ApiCaller,
    filter: &FilterLine,
    most: usize,
) -> Result<LatestRecords> {
    let api = &*caller.api;
    let list = List::new(filter.select.clone()).limit(MAX_SORTED);
    let page = scan::page(context, caller, list, filter).await?;
    let mut latest = LatestRecords {
        more: page.next.is_some(),
        records: page.items,
    };
    if latest.more && filter.select.is_watchable() {
        let recent = recent(api, filter).await?;
        // Without a feed, the first entities by id are better than none.
        if !recent.is_empty() {
            latest.records = recent;
        }
    }
    // With equal times, the order is that of the ids, so that it stays the same.
    let records = &mut latest.records;
    records.sort_by(|one, other| {
        let (one, other) = (&one.entity, &other.entity);
        (other.updated.0, &one.key).cmp(&(one.updated.0, &other.key))
    });
    latest.more |= records.len() > most;
    records.truncate(most);
    Ok(latest)
}

/// The entities of the last changes that a filter selects, as the last change left them.
async fn recent(api: &dyn DataApi, filter: &FilterLine) -> Result<Vec<Record>> {
    let position = api.feed_position().await?;
    let first = Revision(position.revision.0.saturating_sub(CHANGES)).max(position.oldest);
    let mut changes = api.changes(Some(first));
    let mut last = HashMap::<Key, Record>::new();
    while let Some(change) = changes.next().await {
        let change = match change {
            Ok(change) => change,
            // The feed was trimmed meanwhile, so the entities read so far are all that is known.
            Err(Error::Expired { .. } | Error::NotImplemented(_)) => break,
            Err(error) => return Err(error),
        };
        if change.key.kind() != filter.select.kind {
            continue;
        }
        match change.after {
            Some(record) if filter.matches(&record.entity) == Some(true) => {
                last.insert(change.key, record);
            }
            _ => {
                last.remove(&change.key);
            }
        }
    }
    Ok(last.into_values().collect())
}
