//! Exports a store while it is in use.

use super::{BackupSize, BackupWriter};
use crate::backend::Backend;
use crate::change::ChangeRecord;
use crate::entity::Want;
use crate::error::{Error, Result};
use crate::id::{Key, Kind};
use crate::revision::Revision;
use crate::select::{List, Select};
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
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
    if end.revision > start.revision {
        write_changed(&*backend, start.revision, end.revision, &mut writer).await?;
    }
    writer.finish()
}

/// Writes the entities that changed after `start`, in their states at `end`.
///
/// The feed is read twice, because the packages of all these entities may not fit into memory. The
/// first read takes only rows, to find the last change of each entity; the second takes packages,
/// one change at a time.
///
/// Deleted entities come first. Their idempotency keys are then free when the next holders are
/// restored; otherwise, those would be left out.
async fn write_changed<W: Write>(
    backend: &dyn Backend,
    start: Revision,
    end: Revision,
    writer: &mut BackupWriter<W>,
) -> Result<()> {
    let changed = ChangedMeanwhile::read(backend, start, end).await?;
    for key in &changed.deleted {
        writer.deleted(key)?;
    }
    let mut left = changed.last.len();
    let mut feed = backend.tail(start, Want::PACKAGE);
    while left > 0 {
        let change = next_change(&mut feed).await?;
        let revision = change.revision;
        let is_last = changed.last.get(&change.key) == Some(&revision);
        if let Some(record) = change.after.filter(|_| is_last) {
            writer.entity(&record)?;
            left -= 1;
        }
        // No later change is one of them, so the feed would be followed for ever.
        if left > 0 && revision >= end {
            let why = "the feed of changes left out a change";
            return Err(Error::unavailable("write the backup", why));
        }
    }
    Ok(())
}

/// The entities that changed while the pages were written.
#[derive(Default)]
struct ChangedMeanwhile {
    /// Those that were deleted, also if they were created again.
    deleted: BTreeSet<Key>,
    /// The revision of the last change of each that exists at the end.
    last: BTreeMap<Key, Revision>,
}

impl ChangedMeanwhile {
    /// Reads the changes after `start` and up to `end`.
    async fn read(backend: &dyn Backend, start: Revision, end: Revision) -> Result<Self> {
        let mut changed = Self::default();
        let mut feed = backend.tail(start, Want::ROW);
        loop {
            let change = next_change(&mut feed).await?;
            let revision = change.revision;
            if change.after.is_some() {
                changed.last.insert(change.key, revision);
            } else {
                changed.last.remove(&change.key);
                changed.deleted.insert(change.key);
            }
            if revision >= end {
                return Ok(changed);
            }
        }
    }
}

async fn next_change(feed: &mut BoxStream<'static, Result<ChangeRecord>>) -> Result<ChangeRecord> {
    let ended = || Error::unavailable("write the backup", "the feed of changes ended");
    feed.next().await.ok_or_else(ended)?
}
