//! Exports a store while it is in use.

use super::{BackupSize, BackupWriter};
use crate::backend::Backend;
use crate::entity::{Record, Want};
use crate::error::{Error, Result};
use crate::id::{Key, Kind};
use crate::select::{List, Select};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

/// Number of records in one page, whose packages are in memory at the same time.
const PAGE: usize = 100;

/// Writes the state of a store at one revision, and returns the output with the size of the backup.
///
/// All pages are listed, each from its own instant. The feed then shows which entities changed
/// since the start, and their states at the last revision are written again. So the result is the
/// state at that revision. The store must keep its changes as long as the export takes.
///
/// # Errors
/// - `Unavailable`, `Internal`: the store could not be read, or the bytes could not be written.
/// - `Expired`: changes since the start are no longer kept; keep more history.
pub async fn export<W: Write>(backend: Arc<dyn Backend>, out: W) -> Result<(W, BackupSize)> {
    let start = backend.feed_position().await?;
    let mut pages = Vec::new();
    for kind in Kind::ALL {
        let select = Select::all(kind).deleting(true);
        let list = List::new(select).limit(PAGE);
        pages.push(list.want(Want::PACKAGE.with_revision()));
    }
    // The revision of the state is known only after the pages, and stands in the head. So the
    // revision of the head is that of the start, and a restored store is later than the end.
    let mut writer = BackupWriter::new(out, start.revision, start.now)?;
    for list in pages {
        let mut pages = backend.clone().pages(list);
        while let Some(page) = pages.next().await {
            for record in &page?.items {
                writer.entity(record)?;
            }
        }
    }
    let end = backend.feed_position().await?;
    let mut changed: BTreeMap<Key, Option<Record>> = BTreeMap::new();
    if end.revision > start.revision {
        let mut feed = backend.tail(start.revision, Want::PACKAGE);
        loop {
            let change = feed.next().await.ok_or_else(|| {
                Error::unavailable("write the backup", "the feed of changes ended")
            })??;
            let is_last = change.revision >= end.revision;
            changed.insert(change.key, change.after);
            if is_last {
                break;
            }
        }
    }
    for (key, record) in changed {
        match record {
            Some(record) => writer.entity(&record)?,
            None => writer.deleted(&key)?,
        }
    }
    writer.finish()
}
