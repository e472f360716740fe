//! Modifications and work: how claims begin and end.

use super::state::{ReferenceModification, ReferenceState, ReferenceWork, TokenStanding};
use serde_json::Value;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;
use tko_core::{
    Claim, Enqueue, Error, Key, Lane, Modification, Outcome, Result, Stage, Timestamp, Token, Want,
    Work,
};

/// Due work as a claim sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DueWork {
    /// The time at which it was due or its lease expired.
    pub(crate) since: Timestamp,
    pub(crate) key: Key,
    pub(crate) lane: Lane,
    /// Whether three workers abandoned it, so that it is claimed alone.
    pub(crate) alone: bool,
    pub(crate) attempts: u32,
}

const EDIT: &str = "edit";
const LEASE: &str = "lease";

impl ReferenceState {
    fn secret(&mut self, sort: &str) -> String {
        let chance = RandomState::new();
        let (one, other) = (chance.hash_one(sort), chance.hash_one(self.given));
        format!("{sort}-{}-{one:016x}{other:016x}", self.give())
    }

    pub(super) fn open_edit(&self, key: &Key, now: Timestamp) -> Option<&ReferenceModification> {
        let open = |hold: &&ReferenceModification| {
            hold.token.key == *key && !hold.ended && hold.until > now
        };
        self.edits.iter().find(open)
    }

    pub(super) fn is_edit(&self, token: &Token) -> bool {
        self.edits.iter().any(|hold| hold.token == *token)
    }

    pub(crate) fn standing(&self, token: &Token, now: Timestamp) -> TokenStanding {
        if let Some(hold) = self.edits.iter().find(|hold| hold.token == *token) {
            return match (hold.ended, hold.until > now) {
                (true, _) => TokenStanding::Unknown,
                (false, true) => TokenStanding::Live,
                (false, false) => TokenStanding::Late,
            };
        }
        let leased = |item: &&ReferenceWork| item.token.as_ref() == Some(token);
        match self.work.values().find(leased) {
            Some(item) if item.work.leased.is_some_and(|until| until > now) => TokenStanding::Live,
            None if !token.secret.starts_with(LEASE) => TokenStanding::Unknown,
            _ => TokenStanding::Late,
        }
    }

    pub(crate) fn edit(
        &mut self,
        key: &Key,
        ttl: Duration,
        want: Want,
        now: Timestamp,
    ) -> Result<Modification> {
        let record = self.record(key, want).filter(|r| !r.entity.deleting);
        let record = record.ok_or_else(|| Error::not_found(key))?;
        if self.open_edit(key, now).is_some() {
            return Err(Error::Busy(key.clone()));
        }
        let token = Token::new(key.clone(), self.secret(EDIT));
        let until = now.plus(ttl);
        self.edits.push(ReferenceModification {
            token: token.clone(),
            until,
            ended: false,
        });
        Ok(Modification::new(token, until, record))
    }

    pub(super) fn mark(&mut self, mark: Enqueue, now: Timestamp) {
        if !self.rows.contains_key(&mark.key) {
            return;
        }
        let due = now.plus(mark.after);
        let at = (mark.stage, mark.key.clone());
        let item = self.work.entry(at).or_insert_with(|| ReferenceWork {
            work: Work::new(mark.stage, mark.key, mark.lane, due),
            token: None,
            marked: None,
        });
        item.work.due = item.work.due.min(due);
        if item.token.is_some() {
            item.marked = Some(mark.lane);
        }
    }

    /// All work of this stage that can be claimed now.
    pub(crate) fn due(&self, stage: Stage, now: Timestamp) -> Vec<DueWork> {
        let of_stage = self.work.values().filter(|item| item.work.stage == stage);
        of_stage
            .map(|item| DueWork {
                // Work under an expired lease is due.
                since: item.work.leased.unwrap_or(item.work.due),
                key: item.work.key.clone(),
                lane: item.work.lane,
                alone: item.work.leased.is_some() && item.work.attempts >= Lane::PATIENCE,
                attempts: item.work.attempts,
            })
            .filter(|asked| asked.since <= now)
            .collect()
    }

    /// The time at which the next work of this stage is due.
    pub(super) fn next_time(&self, stage: Stage, now: Timestamp) -> Option<Timestamp> {
        let of_stage = self.work.values().filter(|item| item.work.stage == stage);
        of_stage
            .map(|item| item.work.leased.unwrap_or(item.work.due))
            .filter(|at| *at > now)
            .min()
    }

    /// The keys to lease next: lanes in turn, earliest first in a lane.
    pub(super) fn next_keys(&mut self, stage: Stage, max: usize, now: Timestamp) -> Vec<Key> {
        let mut lanes: BTreeMap<u8, Vec<DueWork>> = BTreeMap::new();
        let mut due = self.due(stage, now);
        due.sort();
        for asked in due.into_iter().rev() {
            lanes.entry(asked.lane.number()).or_default().push(asked);
        }
        let mut keys = Vec::new();
        while keys.len() < max {
            let last = self.turn.get(&stage).copied();
            let later = last.and_then(|last| lanes.range(last + 1..).next());
            let Some((&lane, _)) = later.or_else(|| lanes.iter().next()) else {
                break;
            };
            let waiting = lanes.get_mut(&lane).map(Vec::pop);
            let Some(asked) = waiting.flatten() else {
                lanes.remove(&lane);
                continue;
            };
            if asked.alone && !keys.is_empty() {
                break;
            }
            self.turn.insert(stage, lane);
            keys.push(asked.key);
            if asked.alone {
                break;
            }
        }
        keys
    }

    /// Leases due work.
    pub(crate) fn lease(
        &mut self,
        stage: Stage,
        key: &Key,
        lease: Duration,
        now: Timestamp,
    ) -> Claim {
        let token = Token::new(key.clone(), self.secret(LEASE));
        let at = (stage, key.clone());
        let fence = self.fences.entry(at.clone()).or_default();
        *fence += 1;
        let fence = *fence;
        let until = now.plus(lease);
        let item = self.work.get_mut(&at).expect("it is due");
        item.work.attempts += 1;
        item.work.leased = Some(until);
        item.token = Some(token.clone());
        item.marked = None;
        Claim::new(token, item.work.clone(), fence, until)
    }

    fn leased(&mut self, token: &Token) -> Option<&mut ReferenceWork> {
        let mut items = self.work.values_mut();
        items.find(|item| item.token.as_ref() == Some(token))
    }

    pub(super) fn progress(&mut self, token: &Token, progress: Option<Value>) {
        if let Some(item) = self.leased(token) {
            item.work.progress = progress;
        }
    }

    pub(crate) fn renew(&mut self, token: &Token, ttl: Duration, now: Timestamp) -> bool {
        if self.standing(token, now) != TokenStanding::Live {
            return false;
        }
        let until = now.plus(ttl);
        if let Some(item) = self.leased(token) {
            item.work.leased = Some(until);
        }
        for hold in self.edits.iter_mut().filter(|hold| hold.token == *token) {
            hold.until = until;
        }
        true
    }

    pub(crate) fn end(&mut self, token: &Token, outcome: &Outcome, now: Timestamp) -> bool {
        if self.standing(token, now) != TokenStanding::Live {
            return false;
        }
        for hold in self.edits.iter_mut().filter(|hold| hold.token == *token) {
            hold.ended = true;
        }
        let Some(item) = self.leased(token) else {
            return true;
        };
        let marked = item.marked.take();
        let work = &mut item.work;
        item.token = None;
        work.leased = None;
        match outcome {
            Outcome::Done => {
                let at = (work.stage, work.key.clone());
                self.work.remove(&at);
                if let Some(lane) = marked {
                    self.mark(Enqueue::now(at.0, at.1, lane), now);
                }
            }
            Outcome::Retry { after, reason } => {
                work.due = match marked {
                    Some(_) => now,
                    None => now.plus(*after),
                };
                work.error = Some(reason.clone());
                if work.attempts >= Lane::PATIENCE {
                    work.lane = Lane::FAILING;
                }
            }
            Outcome::Yield { after } => {
                work.due = match marked {
                    Some(_) => now,
                    None => now.plus(*after),
                };
                work.attempts -= 1;
            }
        }
        true
    }
}
