//! The state of the store: all rows, work, modifications and changes.

use crate::index::RowIndex;
use crate::log::Log;
use crate::pool::Pools;
use crate::table::{MemoryRow, SlotTable};
use crate::work::Queue;
use std::collections::BTreeMap;
use std::sync::Arc;
use tko_core::commit::Modifications;
use tko_core::select::metadata_match;
use tko_core::{
    DeploymentId, Enqueue, Entity, Key, Kind, Outcome, Record, Revision, Select, Stage, Timestamp,
    Token, Want,
};

/// The entities of one kind.
#[derive(Debug, Default)]
pub(crate) struct Collection {
    pub(crate) rows: SlotTable,
    pub(crate) index: RowIndex,
    /// The number of rows that are being deleted.
    pub(crate) deleting: usize,
}

/// The whole state of the store.
#[derive(Debug)]
pub(crate) struct MemoryState {
    kinds: [Collection; Kind::ALL.len()],
    queues: [Queue; Stage::ALL.len()],
    pub(crate) modifications: Modifications,
    /// The deployment that has each idempotency key.
    pub(crate) holders: BTreeMap<Arc<str>, DeploymentId>,
    pub(crate) log: Log,
    pub(crate) pools: Pools,
    /// The last version that was assigned.
    pub(crate) version: u64,
    /// The last fence that was assigned.
    fence: u64,
}

impl MemoryState {
    pub(crate) fn new(history: usize) -> Self {
        Self {
            kinds: std::array::from_fn(|_| Collection::default()),
            queues: Stage::ALL.map(Queue::new),
            modifications: Modifications::default(),
            holders: BTreeMap::new(),
            log: Log::new(history),
            pools: Pools::default(),
            version: 0,
            fence: 0,
        }
    }

    /// The rows of one kind, and their index.
    pub(crate) fn of(&self, kind: Kind) -> &Collection {
        &self.kinds[kind as usize]
    }

    pub(crate) fn of_mut(&mut self, kind: Kind) -> &mut Collection {
        &mut self.kinds[kind as usize]
    }

    /// The row of this key.
    pub(crate) fn row(&self, key: &Key) -> Option<&MemoryRow> {
        self.of(key.kind()).rows.get(key)
    }

    /// The revision of the last change.
    pub(crate) fn revision(&self) -> Revision {
        self.log.last()
    }

    /// A row as a record, with the parts that are wanted.
    pub(crate) fn record(&self, row: &MemoryRow, want: Want) -> Record {
        let mut record = row.record(want.package, want.revision);
        if want.work {
            let key = &row.entity.key;
            record.work = self.queues.iter().filter_map(|q| q.work(key)).collect();
        }
        record
    }

    /// Whether a row is selected, including joins.
    #[inline]
    pub(crate) fn selects(&self, select: &Select, entity: &Entity) -> bool {
        select.matches(entity)
            && select.joins(entity).all(|(patterns, key)| {
                key.and_then(|key| self.row(&key))
                    .is_some_and(|row| metadata_match(patterns, &row.entity.metadata))
            })
    }

    /// The queue of a stage.
    pub(crate) fn queue(&self, stage: Stage) -> &Queue {
        &self.queues[stage as usize]
    }

    /// The queue of a stage, and the last fence.
    pub(crate) fn queue_mut(&mut self, stage: Stage) -> (&mut Queue, &mut u64) {
        (&mut self.queues[stage as usize], &mut self.fence)
    }

    /// Enqueues work, if its entity exists.
    pub(crate) fn enqueue(&mut self, enqueue: &Enqueue, now: Timestamp) {
        if let Some((key, _)) = self.kinds[enqueue.key.kind() as usize]
            .rows
            .entry(&enqueue.key)
        {
            self.queues[enqueue.stage as usize].enqueue(enqueue, key, now);
        }
    }

    /// Removes all work on a key.
    pub(crate) fn dequeue(&mut self, key: &Key) {
        for queue in &mut self.queues {
            queue.remove(key);
        }
    }

    /// The stage of the live lease that a token proves.
    pub(crate) fn leased(&self, token: &Token, now: Timestamp) -> Option<Stage> {
        Stage::ALL
            .into_iter()
            .find(|stage| self.queue(*stage).is_live(token, now))
    }

    /// Ends a live lease or an open modification. False: there is none.
    pub(crate) fn settle(&mut self, token: &Token, outcome: &Outcome, now: Timestamp) -> bool {
        let settled = self
            .queues
            .iter_mut()
            .any(|queue| queue.settle(token, outcome, now));
        settled || self.modifications.close(token, now)
    }

    /// Moves the end of a live lease or an open modification. False: there is none.
    pub(crate) fn renew(&mut self, token: &Token, until: Timestamp, now: Timestamp) -> bool {
        let renewed = self
            .queues
            .iter_mut()
            .any(|queue| queue.renew(token, until, now));
        renewed || self.modifications.renew(token, until, now)
    }
}
