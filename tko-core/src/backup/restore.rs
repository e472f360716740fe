//! Restores a backup into an empty store.

use super::{BackupFrame, BackupReader, BackupSize};
use crate::change::{Change, ChangeSet, Put};
use crate::entity::{Entity, Record};
use crate::error::Result;
use crate::id::Key;
use crate::revision::Revision;
use crate::triggers::{lane, triggered};
use crate::work::{Enqueue, Stage};
use async_trait::async_trait;
use std::collections::{BTreeMap, HashSet};
use std::io::Read;

/// Maximum number of entities in one change set.
const SET: usize = 200;

/// Maximum number of resources in the packages of one change set; a larger package gets its own
/// set.
const RESOURCES: usize = 5_000;

/// How much later the revisions of a restored store are. The original store may have made up to
/// this many changes after the backup. Watchers that followed it then notice that they have to list
/// again.
const GAP: u64 = 1 << 24;

/// A store that a backup can be restored into.
#[async_trait]
pub trait RestoreTarget: Send + Sync {
    /// Prepares an empty store: its next revisions are later than `revision`.
    ///
    /// # Errors
    /// `BadArgument`: the store is not empty.
    async fn start_restore(&self, revision: Revision) -> Result<()>;

    /// Commits a set of puts and deletions. Stores each entity exactly as in `entities`, version and
    /// times included.
    ///
    /// # Errors
    /// As [`Backend::commit`](crate::Backend::commit).
    async fn restore_set(&self, set: ChangeSet, entities: BTreeMap<Key, Entity>) -> Result<()>;
}

/// Reads a backup into an empty store, and enqueues all work that may have to be done.
///
/// If it fails, the store contains some of the entities: delete them, and start again.
///
/// # Errors
/// - `BadArgument`: the backup is damaged or incomplete, or the store is not empty.
/// - `Unavailable`, `Internal`: the backup could not be read, or the store could not be written.
pub async fn restore<R: Read + Send>(
    reader: &mut BackupReader<R>,
    target: &dyn RestoreTarget,
) -> Result<BackupSize> {
    let revision = Revision(reader.revision().0.saturating_add(GAP));
    target.start_restore(revision).await?;
    let mut size = BackupSize::default();
    let mut pending = PendingSet::default();
    while let Some(frame) = reader.next_frame()? {
        let (key, resources) = match &frame {
            BackupFrame::Entity(record) => {
                let resources = record.package.as_ref().map_or(0, crate::Package::len);
                (record.entity.key.clone(), resources)
            }
            BackupFrame::Deleted(key) => (key.clone(), 0),
        };
        if !pending.has_room_for(&key, resources) {
            std::mem::take(&mut pending).commit(target).await?;
        }
        pending.resources += resources;
        pending.keys.insert(key);
        match frame {
            BackupFrame::Entity(record) => {
                size.entities += 1;
                pending.put(record);
            }
            BackupFrame::Deleted(key) => pending.set.changes.push(Change::Delete(key)),
        }
    }
    pending.commit(target).await?;
    Ok(size)
}

/// A change set that is being filled.
#[derive(Default)]
struct PendingSet {
    set: ChangeSet,
    entities: BTreeMap<Key, Entity>,
    keys: HashSet<Key>,
    resources: usize,
}

impl PendingSet {
    fn has_room_for(&self, key: &Key, resources: usize) -> bool {
        self.keys.is_empty()
            || (self.keys.len() < SET
                && self.resources + resources <= RESOURCES
                && !self.keys.contains(key))
    }

    fn put(&mut self, record: Record) {
        let mut put = Put::of(&record.entity);
        put.body = record.package;
        self.set.changes.push(Change::Put(put));
        self.set
            .enqueue
            .extend(triggered(None, Some(&record.entity)));
        if record.entity.deleting {
            let key = record.entity.key.clone();
            let stage = match key {
                Key::Site(_) => Stage::Schedule,
                _ => Stage::Delete,
            };
            let enqueue = Enqueue::now(stage, key, lane(&record.entity));
            self.set.enqueue.push(enqueue);
        }
        let entity = (*record.entity).clone();
        self.entities.insert(entity.key.clone(), entity);
    }

    async fn commit(self, target: &dyn RestoreTarget) -> Result<()> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let set = self.set.cause("restored from a backup");
        target.restore_set(set, self.entities).await
    }
}
