//! All that is stored, behind one lock.

use crate::index::Index;
use crate::log::Log;
use crate::modifications::Modifications;
use crate::pool::Pools;
use crate::queue::Queue;
use crate::table::{Row, Table};
use std::collections::BTreeMap;
use std::sync::Arc;
use tko_core::select::{MetadataPatterns, metadata_match};
use tko_core::{
    DeploymentId, Enqueue, Entity, Key, Kind, Outcome, Record, Revision, Select, Stage, Timestamp,
    Token, Want,
};

/// The entities of one kind.
#[derive(Debug, Default)]
pub(crate) struct Collection {
    pub(crate) rows: Table,
    pub(crate) index: Index,
    /// How many are being deleted.
    pub(crate) deleting: usize,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct State {
    kinds: [Collection; Kind::ALL.len()],
    queues: [Queue; Stage::ALL.len()],
    pub(crate) modifications: Modifications,
    /// Who has which `once` key.
    pub(crate) holders: BTreeMap<Arc<str>, DeploymentId>,
    pub(crate) log: Log,
    pub(crate) pools: Pools,
    /// The last version that was given.
    pub(crate) version: u64,
    /// The last fence that was given.
    fence: u64,
}

impl State {
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

    /// The entities of this kind.
    pub(crate) fn of(&self, kind: Kind) -> &Collection {
        &self.kinds[kind as usize]
    }

    pub(crate) fn of_mut(&mut self, kind: Kind) -> &mut Collection {
        &mut self.kinds[kind as usize]
    }

    /// The row of this key.
    pub(crate) fn row(&self, key: &Key) -> Option<&Row> {
        self.of(key.kind()).rows.get(key)
    }

    /// Of the last change.
    pub(crate) fn revision(&self) -> Revision {
        self.log.last()
    }

    /// A row as read.
    pub(crate) fn record(&self, row: &Row, want: Want) -> Record {
        let mut record = row.record(want.package, want.revision);
        if want.work {
            let key = &row.entity.key;
            record.work = self.queues.iter().filter_map(|q| q.work(key)).collect();
        }
        record
    }

    /// Whether a row is selected, joins included.
    pub(crate) fn selects(&self, select: &Select, entity: &Entity) -> bool {
        let joined = |patterns: &MetadataPatterns, key: &dyn Fn() -> Option<Key>| {
            patterns.is_empty()
                || key().is_some_and(|key| {
                    self.row(&key)
                        .is_some_and(|row| metadata_match(patterns, &row.entity.metadata))
                })
        };
        select.matches(entity)
            && joined(&select.template_metadata, &|| {
                entity.deployment()?.template.as_ref().map(Key::from)
            })
            && joined(&select.site_metadata, &|| {
                entity.deployment()?.site.as_ref().map(Key::from)
            })
    }

    /// The work of this stage.
    pub(crate) fn queue(&self, stage: Stage) -> &Queue {
        &self.queues[stage as usize]
    }

    /// To take from, with the fences.
    pub(crate) fn queue_mut(&mut self, stage: Stage) -> (&mut Queue, &mut u64) {
        (&mut self.queues[stage as usize], &mut self.fence)
    }

    /// Makes work due, if its key is there.
    pub(crate) fn enqueue(&mut self, enqueue: &Enqueue, now: Timestamp) {
        if let Some((key, _)) = self.kinds[enqueue.key.kind() as usize]
            .rows
            .entry(&enqueue.key)
        {
            self.queues[enqueue.stage as usize].enqueue(enqueue, key, now);
        }
    }

    /// Ends all work on a key.
    pub(crate) fn dequeue(&mut self, key: &Key) {
        for queue in &mut self.queues {
            queue.remove(key);
        }
    }

    /// The stage of a live lease.
    pub(crate) fn leased(&self, token: &Token, now: Timestamp) -> Option<Stage> {
        Stage::ALL
            .into_iter()
            .find(|stage| self.queue(*stage).is_live(token, now))
    }

    /// Ends a lease or an edit. False: it is not live.
    pub(crate) fn settle(&mut self, token: &Token, outcome: &Outcome, now: Timestamp) -> bool {
        let settled = self
            .queues
            .iter_mut()
            .any(|queue| queue.settle(token, outcome, now));
        settled || self.modifications.close(token, now)
    }

    /// Lets a lease or an edit end at `until`. False: it is not live.
    pub(crate) fn renew(&mut self, token: &Token, until: Timestamp, now: Timestamp) -> bool {
        let renewed = self
            .queues
            .iter_mut()
            .any(|queue| queue.renew(token, until, now));
        renewed || self.modifications.renew(token, until, now)
    }
}
