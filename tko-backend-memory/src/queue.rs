//! Due work of one stage, and the leases on it.
//!
//! An item is in its lane under the time at which it is there for the taking: when it is due, or,
//! while it is leased, when the lease ends. So a lapsed lease is due work without anything that
//! sweeps, and finding what to claim looks at the first item of each lane.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Claim, Enqueue, Key, Lane, Outcome, Stage, Timestamp, Token, Work};
use uuid::Uuid;

const LANES: usize = Lane::COUNT as usize;

/// What the secret of a lease starts with, so that a dead one is still known for a lease.
const LEASE: &str = "lease.";

/// Whether a token is of a lease, live or not.
pub(crate) fn is_lease(token: &Token) -> bool {
    token.secret.starts_with(LEASE)
}

#[derive(Debug)]
struct Item {
    due: Timestamp,
    attempts: u32,
    lane: Lane,
    /// Marked since it was claimed: the lane of the last mark.
    again: Option<Lane>,
    lease: Option<Box<Lease>>,
    error: Option<Box<str>>,
    progress: Option<Box<serde_json::Value>>,
}

#[derive(Debug)]
struct Lease {
    secret: Arc<str>,
    until: Timestamp,
}

impl Item {
    /// When it may be claimed.
    fn ready(&self) -> Timestamp {
        self.lease.as_ref().map_or(self.due, |lease| lease.until)
    }

    fn is_leased(&self, token: &Token, now: Timestamp) -> bool {
        self.lease
            .as_ref()
            .is_some_and(|lease| lease.secret == token.secret && lease.until > now)
    }

    /// Several workers had it and did not come back: it may be what kills them.
    fn is_suspect(&self) -> bool {
        self.lease.is_some() && self.attempts >= Lane::PATIENCE
    }

    fn work(&self, stage: Stage, key: &Key) -> Work {
        Work {
            stage,
            key: key.clone(),
            lane: self.lane,
            due: self.due,
            attempts: self.attempts,
            error: self.error.as_deref().map(str::to_owned),
            progress: self.progress.as_deref().cloned(),
            leased: self.lease.as_ref().map(|lease| lease.until),
        }
    }
}

/// All work of one stage.
#[derive(Debug)]
pub(crate) struct Queue {
    stage: Stage,
    items: BTreeMap<Key, Item>,
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

    /// What there is to do on this key.
    pub(crate) fn work(&self, key: &Key) -> Option<Work> {
        self.items.get(key).map(|item| item.work(self.stage, key))
    }

    /// Makes due. `key` is the row's own, to share its memory.
    pub(crate) fn enqueue(&mut self, enqueue: &Enqueue, key: &Key, now: Timestamp) {
        let due = now.plus(enqueue.after);
        if self.items.contains_key(key) {
            self.change(key, |item| {
                if item.lease.is_some() {
                    item.again = Some(enqueue.lane);
                }
                item.due = item.due.min(due);
            });
            return;
        }
        let item = Item {
            due,
            attempts: 0,
            lane: enqueue.lane,
            again: None,
            lease: None,
            error: None,
            progress: None,
        };
        self.lanes[lane(&item)].insert((due, key.clone()));
        self.items.insert(key.clone(), item);
    }

    /// Removes what there is to do on this key, leased or not.
    pub(crate) fn remove(&mut self, key: &Key) {
        if let Some((key, item)) = self.items.remove_entry(key) {
            self.lanes[lane(&item)].remove(&(item.ready(), key));
        }
    }

    /// When the next item may be claimed, if there is any.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.lanes
            .iter()
            .filter_map(|lane| lane.first().map(|(at, _)| *at))
            .min()
    }

    /// Leases what is due: lanes in turn, earliest first in a lane. A suspect comes alone.
    pub(crate) fn take(
        &mut self,
        max: usize,
        lease: Duration,
        now: Timestamp,
        fences: &mut u64,
    ) -> Vec<Claim> {
        // A lease of no time at all would be due again in the same breath.
        let until = now.plus(lease.max(Duration::from_micros(1)));
        let mut claims = Vec::new();
        while claims.len() < max
            && let Some((turn, key)) = self.due(now)
        {
            let suspect = self.items.get(&key).is_some_and(Item::is_suspect);
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

    /// The first item of the next lane that has one due.
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
        let lease = Lease {
            secret: secret.clone(),
            until,
        };
        self.change(&key, |item| {
            item.attempts = item.attempts.saturating_add(1);
            item.again = None;
            item.lease = Some(Box::new(lease));
        });
        let work = self.work(&key)?;
        Some(Claim {
            token: Token { key, secret },
            work,
            fence,
            until,
        })
    }

    /// Whether this is the token of a lease that has not ended.
    pub(crate) fn is_live(&self, token: &Token, now: Timestamp) -> bool {
        self.items
            .get(&token.key)
            .is_some_and(|item| item.is_leased(token, now))
    }

    /// Lets a live lease end at `until`. False: it is not live.
    pub(crate) fn renew(&mut self, token: &Token, until: Timestamp, now: Timestamp) -> bool {
        let live = self.is_live(token, now);
        if live {
            self.change(&token.key, |item| {
                if let Some(lease) = &mut item.lease {
                    lease.until = until;
                }
            });
        }
        live
    }

    /// Replaces the progress of leased work; null removes it.
    pub(crate) fn progress(&mut self, key: &Key, progress: serde_json::Value) {
        if let Some(item) = self.items.get_mut(key) {
            item.progress = (!progress.is_null()).then(|| Box::new(progress));
        }
    }

    /// Ends a live lease. False: it is not live.
    pub(crate) fn settle(&mut self, token: &Token, outcome: &Outcome, now: Timestamp) -> bool {
        let Some(item) = self.items.get(&token.key) else {
            return false;
        };
        if !item.is_leased(token, now) {
            return false;
        }
        if *outcome == Outcome::Done && item.again.is_none() {
            self.remove(&token.key);
            return true;
        }
        self.change(&token.key, |item| {
            item.lease = None;
            let again = item.again.take();
            let next = |after| match again {
                Some(_) => now,
                None => now.plus(after),
            };
            match outcome {
                Outcome::Done => {
                    item.due = now;
                    item.attempts = 0;
                    item.lane = again.unwrap_or(item.lane);
                    item.error = None;
                    item.progress = None;
                }
                Outcome::Retry { after, reason } => {
                    item.due = next(*after);
                    item.error = Some(reason.as_str().into());
                    if item.attempts >= Lane::PATIENCE {
                        item.lane = Lane::FAILING;
                    }
                }
                Outcome::Yield { after } => {
                    item.due = next(*after);
                    item.attempts = item.attempts.saturating_sub(1);
                }
            }
        });
        true
    }

    /// Changes an item and moves it to where it then belongs.
    fn change(&mut self, key: &Key, change: impl FnOnce(&mut Item)) {
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

fn lane(item: &Item) -> usize {
    usize::from(item.lane.number())
}
