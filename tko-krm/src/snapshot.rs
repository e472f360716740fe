//! Reading the state at one revision, page by page.
//!
//! The data service lists the current state. Changes since the revision are undone: changed
//! entities are left out, and their states before the first change are put in.

use crate::failure::{KrmAnswer, KrmFailure};
use crate::feed::{Batch, DenseChanges, WatchFeed, before};
use crate::object;
use crate::selector::ObjectSelector;
use std::collections::BTreeMap;
use std::time::Duration;
use tko_core::{Caller, Cursor, DataApi, Error, Key, Kind, List, Record, Revision, Want};

/// Maximum number of changes that are undone; a listing with more changes is restarted.
const MAX_UNDONE: u64 = 20_000;

/// How long to wait for changes that the listing has already seen.
const PATIENCE: Duration = Duration::from_secs(5);

/// One page of a state.
pub(crate) struct StatePage {
    pub(crate) items: Vec<Record>,
    /// The revision of the state.
    pub(crate) revision: Revision,
    pub(crate) next: Option<Cursor>,
}

/// Reads a state for a caller.
#[derive(Clone, Copy)]
pub(crate) struct StateReader<'a> {
    pub(crate) data: &'a dyn DataApi,
    pub(crate) feed: &'a WatchFeed,
    pub(crate) caller: &'a Caller,
    pub(crate) selector: &'a ObjectSelector,
    pub(crate) want: Want,
}

impl StateReader<'_> {
    /// Reads a page of the current state, or of the state at `at`.
    pub(crate) async fn page(
        &self,
        at: Option<Revision>,
        after: Option<Cursor>,
        limit: usize,
    ) -> KrmAnswer<StatePage> {
        let Self {
            data,
            feed,
            caller,
            selector,
            want,
        } = *self;
        let failed = |error: Error| KrmFailure::from_other(&error);
        let Some(select) = selector.to_select() else {
            let revision = match at {
                Some(at) => at,
                None => data.feed_position().await.map_err(failed)?.revision,
            };
            return Ok(StatePage {
                items: Vec::new(),
                revision,
                next: None,
            });
        };
        let mut list = List::new(select).after(after.clone()).want(want);
        list.limit = limit;
        let page = data.list(&list).await.map_err(failed)?;
        let mut items = page.items;
        items.retain(|record| selector.matches(record));
        let revision = at.unwrap_or(page.revision);
        if page.revision > revision {
            let range = (after.map(|cursor| cursor.0), page.next.as_ref());
            let too_old = || expired(revision, range.0.is_some());
            let between = (revision, page.revision);
            let changed = changed(feed, selector.kind(), between, too_old()).await?;
            let changed = changed
                .into_iter()
                .filter(|(key, _)| range.0.as_ref().is_none_or(|after| key > after))
                .filter(|(key, _)| range.1.is_none_or(|upto| *key <= upto.0));
            for (key, first) in changed {
                let found = items.binary_search_by(|record| record.entity.key.cmp(&key));
                let old = before(&**feed.data(), &key, first).await;
                let old = old.map_err(|error| KrmFailure::from_change(&error, too_old()))?;
                let old =
                    old.filter(|record| selector.matches(record) && caller.reads(&record.entity));
                match (found, old) {
                    (Ok(place), Some(old)) => items[place] = old,
                    (Ok(place), None) => {
                        items.remove(place);
                    }
                    (Err(place), Some(old)) => items.insert(place, old),
                    (Err(_), None) => {}
                }
            }
        }
        Ok(StatePage {
            items,
            revision,
            next: page.next,
        })
    }
}

/// The error that the state of this revision is no longer kept, for the first page or a later one.
fn expired(revision: Revision, is_continued: bool) -> Box<KrmFailure> {
    let version = object::resource_version(revision);
    KrmFailure::expired(if is_continued {
        format!(
            "The provided continue parameter is too old: the state at resource version {version} is \
             no longer kept. Start the list again, or use the token in this answer for the rest of \
             the current state, which is inconsistent with the part that was read"
        )
    } else {
        format!(
            "The resourceVersion for the provided list is too old: the state at resource version \
             {version} is no longer kept; list the current state"
        )
    })
}

/// The entities of a kind that changed between two revisions, each with the first change.
async fn changed(
    feed: &WatchFeed,
    kind: Kind,
    (after, upto): (Revision, Revision),
    expired: Box<KrmFailure>,
) -> KrmAnswer<BTreeMap<Key, Revision>> {
    if upto.0 - after.0 > MAX_UNDONE {
        return Err(expired);
    }
    let mut changed = BTreeMap::new();
    let mut note = |key: &Key, revision: Revision| {
        if key.kind() == kind && revision <= upto {
            changed.entry(key.clone()).or_insert(revision);
        }
    };
    let mut at = after;
    feed.start()
        .await
        .map_err(|error| KrmFailure::from_other(&error))?;
    if !feed.reach(upto, PATIENCE).await {
        return Err(KrmFailure::unavailable("the feed of changes is behind"));
    }
    let mut dense = None;
    while at < upto {
        match feed.after(at) {
            Batch::Changes(changes, end) => {
                for change in changes {
                    note(&change.record.entity.key, change.revision);
                }
                at = end;
            }
            Batch::Behind => {
                let data = feed.data();
                let dense = dense.get_or_insert_with(|| DenseChanges::after(&**data, at));
                match dense.next().await {
                    Ok(change) => {
                        note(&change.record.entity.key, change.revision);
                        at = change.revision;
                    }
                    Err(error) => return Err(KrmFailure::from_change(&error, expired)),
                }
            }
        }
    }
    Ok(changed)
}
