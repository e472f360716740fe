//! Follows the registered catalogs and inventories.

use futures_util::StreamExt;
use std::collections::HashSet;
use std::sync::Arc;
use tko_core::select::MAX_PAGE;
use tko_core::{
    Clock, Entity, Error, Event, Key, Kind, List, PluginType, Record, Result, Revision, Select,
    Watch, WorkerApi,
};
use tko_worker::Retry;
use tokio::sync::mpsc;

/// A change of the registered entries.
pub(crate) enum EntryEvent {
    /// The entry is registered.
    Present(Arc<Entity>),
    /// The entry is not registered any more.
    Absent(Key),
}

/// Whether a plugin is a catalog or an inventory.
fn is_entry(key: &Key) -> bool {
    let Key::Plugin(id) = key else { return false };
    matches!(
        id.plugin_type(),
        PluginType::Catalog | PluginType::Inventory
    )
}

/// Sends all entries, then their changes, until the receiver is dropped.
///
/// # Errors
/// A permanent error of the store. All other errors are retried.
pub(crate) async fn follow(
    data: Arc<dyn WorkerApi>,
    clock: Arc<dyn Clock>,
    events: mpsc::Sender<EntryEvent>,
) -> Result<()> {
    let mut retry = Retry::new(clock);
    let mut known = HashSet::new();
    loop {
        let at = match load(&*data, &events, &mut known).await {
            Ok(Some(at)) => at,
            Ok(None) => return Ok(()),
            Err(error) => {
                retry.pause("load catalogs and inventories", error).await?;
                continue;
            }
        };
        match watch(&*data, &events, &mut known, at, &mut retry).await {
            Ok(true) => retry.pause_before_reopening().await,
            Ok(false) => return Ok(()),
            Err(Error::Expired { .. }) => {}
            Err(error) => {
                retry
                    .pause("follow catalogs and inventories", error)
                    .await?;
            }
        }
    }
}

/// Sends all entries, and those that are gone. Returns the revision to watch from; `None` if the
/// receiver is gone.
async fn load(
    data: &dyn WorkerApi,
    events: &mpsc::Sender<EntryEvent>,
    known: &mut HashSet<Key>,
) -> Result<Option<Revision>> {
    let mut list = List::new(Select::all(Kind::Plugin));
    list.limit = MAX_PAGE;
    let mut first = None;
    let mut found = HashSet::new();
    let mut present = Vec::new();
    loop {
        let page = data.list(&list).await?;
        first.get_or_insert(page.revision);
        for Record { entity, .. } in page.items {
            if is_entry(&entity.key) {
                found.insert(entity.key.clone());
                present.push(EntryEvent::Present(entity));
            }
        }
        list.after = page.next;
        if list.after.is_none() {
            break;
        }
    }
    let gone = known.difference(&found).cloned().map(EntryEvent::Absent);
    for event in gone.chain(present) {
        if events.send(event).await.is_err() {
            return Ok(None);
        }
    }
    *known = found;
    Ok(first)
}

/// Sends the changes of entries. Returns whether the watch itself ended.
async fn watch(
    data: &dyn WorkerApi,
    events: &mpsc::Sender<EntryEvent>,
    known: &mut HashSet<Key>,
    at: Revision,
    retry: &mut Retry,
) -> Result<bool> {
    let mut watch = data.watch(Watch::new(Select::all(Kind::Plugin), at));
    loop {
        let event = tokio::select! {
            event = watch.next() => event,
            () = events.closed() => return Ok(false),
        };
        let Some(event) = event else { return Ok(true) };
        let event = match event? {
            Event::Put { record, .. } if is_entry(&record.entity.key) => {
                known.insert(record.entity.key.clone());
                EntryEvent::Present(record.entity)
            }
            Event::Gone { before, .. } if is_entry(&before.entity.key) => {
                known.remove(&before.entity.key);
                EntryEvent::Absent(before.entity.key.clone())
            }
            _ => continue,
        };
        retry.reset();
        if events.send(event).await.is_err() {
            return Ok(false);
        }
    }
}
