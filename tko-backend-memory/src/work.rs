//! The queue of one stage: due work and its leases.
//!
//! A lane sorts its items by the time from which they can be claimed. That is when they are due or,
//! while they are leased, when the lease ends. So expired leases need no sweep, and a claim reads
//! only the first item of each lane.

pub(crate) mod claim;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tko_core::commit::WorkItem;
use tko_core::{Claim, Enqueue, Key, Lane, Outcome, Stage, Timestamp, Token, Work};
use uuid::Uuid;

const LANES: usize = Lane::COUNT as usize;

/// The prefix of a lease's secret. It identifies tokens of leases that are no longer remembered.
const LEASE: &str = "lease.";

/// Whether a token belongs to a lease, live or not.
pub(crate) fn is_lease(token: &Token) -> bool {
    token.secret.starts_with(LEASE)
}

/// All work of one stage, by key and by lane.
#[derive(Debug)]
pub(crate) struct Queue {
    stage: Stage,
    items: BTreeMap<Key, WorkItem>,
    lanes: [BTreeSet<(Timestamp, Key)>; LANES],
    /// The lane that was last claimed from.
    turn: usize,
}

impl Queue {
    pub(crate) fn new(stage: Stage) -> Self {
        Self {
            stage,
            items: BTreeMap::new(),
            lanes: std::array::from_fn(|_| BTreeSet::new()),
            turn: LANES - 1,
        }
    }

    /// The work on this key.
    pub(crate) fn work(&self, key: &Key) -> Option<Work> {
        self.items.get(key).map(|item| item.work(self.stage, key))
    }

    /// Enqueues work. `key` is the row's own copy, to share its memory.
    pub(crate) fn enqueue(&mut self, enqueue: &Enqueue, key: &Key, now: Timestamp) {
        if self.items.contains_key(key) {
            self.change(key, |item| item.enqueue(enqueue, now));
            return;
        }
        let item = WorkItem::new(enqueue, now);
        self.lanes[lane(&item)].insert((item.due, key.clone()));
        self.items.insert(key.clone(), item);
    }

    /// Removes the work on this key, leased or not.
    pub(crate) fn remove(&mut self, key: &Key) {
        if let Some((key, item)) = self.items.remove_entry(key) {
            self.lanes[lane(&item)].remove(&(item.ready(), key));
        }
    }

    /// The time from which the next item can be claimed.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.lanes
            .iter()
            .filter_map(|lane| lane.first().map(|(at, _)| *at))
            .min()
    }

    /// Leases due work: lanes in turn, earliest first in a lane. A suspect is leased alone.
    pub(crate) fn take(
        &mut self,
        max: usize,
        lease: Duration,
        now: Timestamp,
        fences: &mut u64,
    ) -> Vec<Claim> {
        let until = WorkItem::lease_end(now, lease);
        let mut claims = Vec::new();
        while claims.len() < max
            && let Some((turn, key)) = self.due(now)
        {
            let suspect = self.items.get(&key).is_some_and(WorkItem::is_suspect);
            if suspect && !claims.is_empty() {
                break;
            }
            self.turn = turn;
            *fences += 1;
            claims.extend(self.lease(key, until, *fences));
            if suspect {
                break;
            }
        }
        claims
    }

    /// The first item of the next lane with due work.
    fn due(&self, now: Timestamp) -> Option<(usize, Key)> {
        (1..=LANES)
            .map(|step| (self.turn + step) % LANES)
            .find_map(|turn| {
                let (at, key) = self.lanes[turn].first()?;
                (*at <= now).then(|| (turn, key.clone()))
            })
    }

    fn lease(&mut self, key: Key, until: Timestamp, fence: u64) -> Option<Claim> {
        let secret: Arc<str> = format!("{LEASE}{}", Uuid::new_v4().simple()).into();
        self.change(&key, |item| item.lease(secret.clone(), until));
        let work = self.work(&key)?;
        Some(Claim::new(Token::new(key, secret), work, fence, until))
    }

    /// Whether this token proves a live lease.
    pub(crate) fn is_live(&self, token: &Token, now: Timestamp) -> bool {
        self.items
            .get(&token.key)
            .is_some_and(|item| item.is_leased(token, now))
    }

    /// Moves the end of a live lease. False: it is not live.
    pub(crate) fn renew(&mut self, token: &Token, until: Timestamp, now: Timestamp) -> bool {
        let live = self.is_live(token, now);
        if live {
            self.change(&token.key, |item| item.renew(until));
        }
        live
    }

    /// Replaces the progress of leased work; null removes it.
    pub(crate) fn progress(&mut self, key: &Key, progress: serde_json::Value) {
        if let Some(item) = self.items.get_mut(key) {
            item.set_progress(progress);
        }
    }

    /// Ends a live lease. False: it is not live.
    pub(crate) fn settle(&mut self, token: &Token, outcome: &Outcome, now: Timestamp) -> bool {
        if !self.is_live(token, now) {
            return false;
        }
        let mut stays = true;
        self.change(&token.key, |item| stays = item.settle(outcome, now));
        if !stays {
            self.remove(&token.key);
        }
        true
    }

    /// Changes an item and moves it to its new position.
    fn change(&mut self, key: &Key, change: impl FnOnce(&mut WorkItem)) {
        let Some(item) = self.items.get_mut(key) else {
            return;
        };
        let from = (lane(item), item.ready());
        change(item);
        let to = (lane(item), item.ready());
        if from != to
            && let Some((_, key)) = self.lanes[from.0].take(&(from.1, key.clone()))
        {
            self.lanes[to.0].insert((to.1, key));
        }
    }
}

fn lane(item: &WorkItem) -> usize {
    usize::from(item.lane.number())
}
