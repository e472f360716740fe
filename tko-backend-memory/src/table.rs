//! The rows of one kind, by key and by slot.
//!
//! A row keeps its *slot*, its position in one array, as long as its entity exists. Indexes refer to
//! slots: reading a row takes one step, and a change of unindexed values touches no index.

use std::collections::BTreeMap;
use std::sync::Arc;
use tko_core::{Entity, Key, Package, Record, Revision};

/// One state of one entity, shared by the table, the log, and all readers.
#[derive(Clone, Debug)]
pub(crate) struct MemoryRow {
    /// The entity as `tko-core` defines it.
    pub(crate) entity: Arc<Entity>,
    /// The body, shared by all rows with the same content.
    pub(crate) body: Arc<Package>,
    /// The revision of the change that led to this state.
    pub(crate) revision: Revision,
}

impl MemoryRow {
    /// The row as a record, without its work.
    pub(crate) fn record(&self, package: bool, revision: bool) -> Record {
        Record::new(self.entity.clone())
            .package(package.then(|| Package::clone(&self.body)))
            .revision(revision.then_some(self.revision))
    }
}

/// The position of a row in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(u32);

impl Slot {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// All rows of one kind, by key and by slot.
#[derive(Debug, Default)]
pub(crate) struct SlotTable {
    slots: BTreeMap<Key, Slot>,
    rows: Vec<Option<MemoryRow>>,
    free: Vec<Slot>,
}

impl SlotTable {
    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The row of this key.
    pub(crate) fn get(&self, key: &Key) -> Option<&MemoryRow> {
        self.slots.get(key).map(|slot| self.row(*slot))
    }

    /// The table's own copy of a key, to share its memory, and the slot.
    pub(crate) fn entry(&self, key: &Key) -> Option<(&Key, Slot)> {
        self.slots
            .get_key_value(key)
            .map(|(key, slot)| (key, *slot))
    }

    /// All keys in order, with their slots.
    pub(crate) fn keys(&self) -> &BTreeMap<Key, Slot> {
        &self.slots
    }

    /// The row in a slot that an index refers to.
    pub(crate) fn row(&self, slot: Slot) -> &MemoryRow {
        self.rows[slot.index()]
            .as_ref()
            .expect("indexes refer only to slots of existing rows")
    }

    /// Adds or replaces a row. A replaced row keeps its slot.
    pub(crate) fn put(&mut self, row: MemoryRow) -> Slot {
        let key = &row.entity.key;
        if let Some(slot) = self.slots.get(key) {
            self.rows[slot.index()] = Some(row);
            return *slot;
        }
        let key = key.clone();
        let slot = if let Some(slot) = self.free.pop() {
            self.rows[slot.index()] = Some(row);
            slot
        } else {
            let number =
                u32::try_from(self.rows.len()).expect("memory ends long before four billion rows");
            self.rows.push(Some(row));
            Slot(number)
        };
        self.slots.insert(key, slot);
        slot
    }

    /// Removes the row, and frees its slot.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<(Slot, MemoryRow)> {
        let slot = self.slots.remove(key)?;
        self.free.push(slot);
        let row = self.rows[slot.index()].take();
        row.map(|row| (slot, row))
    }
}
