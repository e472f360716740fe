//! Lists in the order of time: what changed last comes first.
//!
//! Backends list by id. Where a filter selects few entities, they are read and sorted. Where it
//! selects many, the change feed says which of them changed last.

use crate::context::{ApiCaller, SharedContext};
use crate::scan;
use futures_util::{StreamExt, stream};
use std::collections::HashMap;
use tko_core::view::FilterLine;
use tko_core::{DataApi, Error, Key, List, Record, Result, Revision, Want};

/// Most entities that are read to be sorted.
const MAX_SORTED: usize = 500;

/// Changes of the feed in which the last ones are looked for.
const CHANGES: u64 = 4_096;

/// Entities that are looked up at the same time.
const AT_ONCE: usize = 32;

/// What changed last.
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
    let page = scan::page(context, api, list, filter).await?;
    let mut latest = LatestRecords {
        more: page.next.is_some(),
        records: page.items,
    };
    if latest.more {
        latest.records = recent(api, filter, most).await?;
    }
    // Equal times keep the order of ids.
    let records = &mut latest.records;
    records.sort_by_key(|record| std::cmp::Reverse(record.entity.updated.0));
    latest.more |= records.len() > most;
    records.truncate(most);
    Ok(latest)
}

/// The entities of the last changes that a filter selects.
async fn recent(api: &dyn DataApi, filter: &FilterLine, most: usize) -> Result<Vec<Record>> {
    let position = api.feed_position().await?;
    let first = Revision(position.revision.0.saturating_sub(CHANGES)).max(position.oldest);
    let mut changes = api.changes(Some(first));
    let mut last = HashMap::<Key, Revision>::new();
    while let Some(change) = changes.next().await {
        match change {
            Ok(change) if change.key.kind() == filter.select.kind => {
                last.insert(change.key, change.revision);
            }
            Ok(_) => {}
            // The feed is trimmed meanwhile: what was read is what there is.
            Err(Error::Expired { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    let mut keys: Vec<_> = last.into_iter().collect();
    keys.sort_by_key(|(_, revision)| std::cmp::Reverse(revision.0));
    let mut select = filter.select.clone();
    select.deleting |= filter.state == Some(tko_core::view::DeploymentState::Deleting);
    let want = Want::ROW.with_deleting();
    let mut found = stream::iter(keys)
        .map(async |(key, _)| api.get(&key, want).await)
        .buffered(AT_ONCE);
    let mut records = Vec::new();
    while let Some(record) = found.next().await {
        match record {
            Ok(record) if select.matches(&record.entity) && filter.fits(&record.entity) => {
                records.push(record);
            }
            Ok(_) | Err(Error::NotFound(_) | Error::Forbidden(_)) => {}
            Err(error) => return Err(error),
        }
        if records.len() == most {
            break;
        }
    }
    Ok(records)
}
