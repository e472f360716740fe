//! Rows of one kind, by id and by slot.
//!
//! A row has a *slot*, its place in one array, for as long as its entity lives. Indexes name slots,
//! so that what is found is one step away, and a change that moves nothing in an index touches
//! none.

use std::collections::BTreeMap;
use std::sync::Arc;
use tko_core::{Entity, Key, Package, Record, Revision};

/// One state of one entity. Shared by the table, the log, and whoever reads.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The row as people of the crate `tko-core` know it.
    pub(crate) entity: Arc<Entity>,
    /// Shared by all whose body has the same content.
    pub(crate) body: Arc<Package>,
    /// Of the change that made it.
    pub(crate) revision: Revision,
}

impl Row {
    /// As read, without its work.
    pub(crate) fn record(&self, package: bool, revision: bool) -> Record {
        Record {
            entity: self.entity.clone(),
            package: package.then(|| Package::clone(&self.body)),
            revision: revision.then_some(self.revision),
            work: Vec::new(),
        }
    }
}

/// Where a row is in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(u32);

impl Slot {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// All rows of one kind.
#[derive(Debug, Default)]
pub(crate) struct Table {
    slots: BTreeMap<Key, Slot>,
    rows: Vec<Option<Row>>,
    free: Vec<Slot>,
}

impl Table {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The row of this key.
    pub(crate) fn get(&self, key: &Key) -> Option<&Row> {
        self.slots.get(key).map(|slot| self.row(*slot))
    }

    /// The key as the table has it, to share its memory, and its slot.
    pub(crate) fn entry(&self, key: &Key) -> Option<(&Key, Slot)> {
        self.slots
            .get_key_value(key)
            .map(|(key, slot)| (key, *slot))
    }

    /// All keys in order.
    pub(crate) fn keys(&self) -> &BTreeMap<Key, Slot> {
        &self.slots
    }

    /// The row in a slot that an index of this kind names.
    pub(crate) fn row(&self, slot: Slot) -> &Row {
        self.rows[slot.index()]
            .as_ref()
            .expect("indexes name no slot longer than its row lives")
    }

    /// Adds or replaces; the slot of a row that was there stays.
    pub(crate) fn put(&mut self, row: Row) -> Slot {
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
    pub(crate) fn remove(&mut self, key: &Key) -> Option<(Slot, Row)> {
        let slot = self.slots.remove(key)?;
        self.free.push(slot);
        let row = self.rows[slot.index()].take();
        row.map(|row| (slot, row))
    }
}
