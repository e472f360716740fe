//! The life of one piece of work: enqueued, leased, renewed, settled.
//!
//! These rules are pure: the caller passes the time of the store's clock, and writes the item back.
//!
//! 1. [`WorkItem::enqueued`] creates the item, or merges the request into the existing item.
//! 2. From [`WorkItem::ready`] on, a claim may choose it and lease it by `WorkItem::lease`.
//! 3. The worker may [`WorkItem::renew`] the lease and [set progress](WorkItem::set_progress) while
//!    [`WorkItem::is_leased`] holds for its token.
//! 4. [`WorkItem::settle`] ends the lease, and removes the item or makes it due again.
//!
//! If step 4 does not come in time, the lease expires and step 2 follows again. The attempt counts,
//! because a crashed worker cannot report its failure.
//!
//! Nothing is lost if work is enqueued while a worker is busy with it. The item remembers that, and
//! is due again when it is settled. So the state at the time of the last enqueue is always worked
//! on.

use crate::id::Key;
use crate::revision::Timestamp;
use crate::work::{Enqueue, Lane, Outcome, Stage, Token, Work};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// One piece of work as a backend keeps it, by stage and key.
///
/// A backend that claims in the order of [`ready`](Self::ready) within each lane needs no
/// background sweep: an expired lease is due work.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WorkItem {
    /// The lane in which it is claimed.
    pub lane: Lane,
    /// When the work is due. While it is leased: when it is due once the lease ends.
    pub due: Timestamp,
    /// The number of claims since it was last done, not counting those that ended with a yield.
    pub attempts: u32,
    /// The error of the last failed attempt.
    pub error: Option<Box<str>>,
    /// The worker's own progress.
    pub progress: Option<Box<Value>>,
    /// Set if it was enqueued again while it was leased: the lane of the last such [`Enqueue`].
    pub requeued: Option<Lane>,
    /// The last lease; it may have expired.
    pub lease: Option<Box<WorkLease>>,
}

/// A lease of a [`WorkItem`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkLease {
    /// The secret of its token.
    pub secret: Arc<str>,
    /// When it expires: from this time on it is not live.
    pub until: Timestamp,
}

impl WorkItem {
    /// New work.
    ///
    /// It is due at `now` plus the delay of the request, without attempts, progress and lease.
    pub fn new(enqueue: &Enqueue, now: Timestamp) -> Self {
        Self {
            lane: enqueue.lane,
            due: now.plus(enqueue.after),
            attempts: 0,
            error: None,
            progress: None,
            requeued: None,
            lease: None,
        }
    }

    /// Enqueues work, whether or not it already exists.
    ///
    /// The caller stores the returned item under the stage and key of the request.
    #[must_use]
    pub fn enqueued(present: Option<Self>, enqueue: &Enqueue, now: Timestamp) -> Self {
        match present {
            Some(mut item) => {
                item.enqueue(enqueue, now);
                item
            }
            None => Self::new(enqueue, now),
        }
    }

    /// Enqueues work that already exists: the earlier time wins, and the lane stays. If it is
    /// leased, it is due again as soon as the lease is settled.
    ///
    /// A lease that has expired counts as a lease here until the next claim replaces it. An enqueue
    /// never shortens a lease: until its end, no one else may claim the item.
    pub fn enqueue(&mut self, enqueue: &Enqueue, now: Timestamp) {
        if self.lease.is_some() {
            self.requeued = Some(enqueue.lane);
        }
        self.due = self.due.min(now.plus(enqueue.after));
    }

    /// The time from which it may be claimed: the end of its lease, or when it is due.
    ///
    /// An index on this time finds work that is due and work whose lease expired alike.
    pub fn ready(&self) -> Timestamp {
        self.lease.as_ref().map_or(self.due, |lease| lease.until)
    }

    /// Whether this token proves a lease of it that has not expired. The caller compares keys.
    ///
    /// Exactly at its end, a lease is no longer live. A token of an earlier lease of the same item
    /// proves nothing, because each lease has its own secret.
    pub fn is_leased(&self, token: &Token, now: Timestamp) -> bool {
        self.lease
            .as_ref()
            .is_some_and(|lease| lease.secret == token.secret && lease.until > now)
    }

    /// Whether the work must be claimed alone: so many workers lost it that the work itself may be
    /// what kills them.
    ///
    /// A lease that still exists was never settled. If the item is due, that lease expired, so its
    /// worker was lost. Work that fails and is settled is never suspect, because its lease is gone.
    pub fn is_suspect(&self) -> bool {
        self.lease.is_some() && self.attempts >= Lane::PATIENCE
    }

    /// Leases it until `until`, under a new secret. Counts an attempt.
    ///
    /// Earlier enqueues are forgotten, because the new worker reads the state after them. An
    /// expired lease is replaced, so its token is worthless from now on. `due`, the last error and
    /// the progress stay. The caller makes sure that the item is [ready](Self::ready).
    pub fn lease(&mut self, secret: Arc<str>, until: Timestamp) {
        self.attempts = self.attempts.saturating_add(1);
        self.requeued = None;
        self.lease = Some(Box::new(WorkLease { secret, until }));
    }

    /// The end of a lease that begins now. At least one microsecond: a shorter lease would be due
    /// again at once.
    ///
    /// The caller bounds `lease` from above, if it must.
    pub fn lease_end(now: Timestamp, lease: Duration) -> Timestamp {
        now.plus(lease.max(Duration::from_micros(1)))
    }

    /// Moves the end of its lease, to an earlier or a later time. Without a lease it does nothing.
    ///
    /// The caller first checks the token by [`is_leased`](Self::is_leased): an expired lease would
    /// live again.
    pub fn renew(&mut self, until: Timestamp) {
        if let Some(lease) = &mut self.lease {
            lease.until = until;
        }
    }

    /// Replaces its progress; null removes it.
    ///
    /// The size is not checked here: [`check`](super::check) refuses too much progress beforehand.
    pub fn set_progress(&mut self, progress: Value) {
        self.progress = (!progress.is_null()).then(|| Box::new(progress));
    }

    /// Ends its lease. False: the work is done, and the caller removes the item.
    ///
    /// True: the item stays and the caller writes it back. If it was enqueued while it was leased,
    /// it is due at once, whatever the delay of the outcome:
    ///
    /// - After `Done` it is like new work, in the lane of the last enqueue.
    /// - After `Retry` it keeps progress and attempts, and gets the reason as its error. From
    ///   [`Lane::PATIENCE`] attempts on it moves to [`Lane::FAILING`].
    /// - After `Yield` it keeps everything, and the attempt of this lease no longer counts.
    ///
    /// The caller first checks the token by [`is_leased`](Self::is_leased).
    #[must_use]
    pub fn settle(&mut self, outcome: &Outcome, now: Timestamp) -> bool {
        self.lease = None;
        let requeued = self.requeued.take();
        let next = |after| match requeued {
            Some(_) => now,
            None => now.plus(after),
        };
        match outcome {
            Outcome::Done => {
                let Some(lane) = requeued else {
                    return false;
                };
                *self = Self {
                    lane,
                    due: now,
                    attempts: 0,
                    error: None,
                    progress: None,
                    requeued: None,
                    lease: None,
                };
            }
            Outcome::Retry { after, reason } => {
                self.due = next(*after);
                self.error = Some(reason.as_str().into());
                if self.attempts >= Lane::PATIENCE {
                    self.lane = Lane::FAILING;
                }
            }
            Outcome::Yield { after } => {
                self.due = next(*after);
                self.attempts = self.attempts.saturating_sub(1);
            }
        }
        true
    }

    /// Chooses the work to lease next, of all the work of one stage: lanes in turn, in a lane the
    /// earliest first, ties by key. A [suspect](Self::is_suspect) comes alone.
    ///
    /// `turn` is the lane that was claimed from last, `None` at first; it is updated. At most `max`
    /// items are chosen. It is for a backend that has no index of its own.
    ///
    /// The rotation takes one item from each lane that has due work, and begins again after the
    /// last lane. So a lane with much work delays the others by only one item per turn. Items that
    /// are not [ready](Self::ready) at `now` are left out.
    ///
    /// A suspect at the head of a lane ends the choice before it. A later call returns it as the
    /// only item. So if it brings its worker down, no other work is lost with it.
    pub fn choose(
        mut items: Vec<(Key, Self)>,
        turn: &mut Option<Lane>,
        max: usize,
        now: Timestamp,
    ) -> Vec<(Key, Self)> {
        items.retain(|(_, item)| item.ready() <= now);
        items.sort_by(|(key, item), (other, than)| (item.ready(), key).cmp(&(than.ready(), other)));
        let mut lanes: [VecDeque<(Key, Self)>; Lane::COUNT as usize] = Default::default();
        for (key, item) in items {
            lanes[usize::from(item.lane.number())].push_back((key, item));
        }
        let mut chosen = Vec::new();
        while chosen.len() < max {
            let last = turn.unwrap_or(Lane::FAILING).number();
            let lane = (1..=Lane::COUNT)
                .map(|step| Lane::new((last + step) % Lane::COUNT))
                .find(|lane| !lanes[usize::from(lane.number())].is_empty());
            let Some(lane) = lane else { break };
            let due = &mut lanes[usize::from(lane.number())];
            let alone = due.front().is_some_and(|(_, item)| item.is_suspect());
            if alone && !chosen.is_empty() {
                break;
            }
            chosen.extend(due.pop_front());
            *turn = Some(lane);
            if alone {
                break;
            }
        }
        chosen
    }

    /// The work as clients read it.
    ///
    /// It shows the end of the lease, never its secret. The end may lie in the past.
    pub fn work(&self, stage: Stage, key: &Key) -> Work {
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

#[cfg(test)]
mod tests {
    use super::{Enqueue, Lane, Outcome, Stage, Timestamp, Token, WorkItem};
    use crate::id::{Key, Kind};
    use serde_json::{Value, json};
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(name: &str) -> Key {
        Key::new(Kind::Site, name).expect("a site's id")
    }

    fn item(lane: u8, due: i64) -> WorkItem {
        let enqueue = Enqueue::now(Stage::Schedule, key("s"), Lane::new(lane));
        WorkItem::new(&enqueue, Timestamp(due))
    }

    fn leased(attempts: u32, until: i64) -> WorkItem {
        let mut item = item(2, 0);
        for _ in 0..attempts {
            item.lease("secret".into(), Timestamp(until));
        }
        item
    }

    fn chosen(items: &[(&str, WorkItem)], turn: &mut Option<Lane>, max: usize) -> Vec<String> {
        let items = items.iter().map(|(name, item)| (key(name), item.clone()));
        let chosen = WorkItem::choose(items.collect(), turn, max, Timestamp(10));
        chosen
            .into_iter()
            .map(|(key, _)| key.id().to_owned())
            .collect()
    }

    #[test]
    fn lanes_take_turns_and_the_earliest_comes_first_in_a_lane() {
        let items = [
            ("a2", item(3, 2)),
            ("a1", item(3, 1)),
            ("b1", item(9, 5)),
            ("b0", item(9, 5)),
            ("later", item(0, 11)),
        ];
        let mut turn = None;
        assert_eq!(chosen(&items, &mut turn, 3), ["a1", "b0", "a2"]);
        assert_eq!(turn, Some(Lane::new(3)));
        assert_eq!(chosen(&items, &mut turn, 1), ["b0"]);
        assert_eq!(turn, Some(Lane::new(9)));
        assert!(chosen(&items, &mut turn, 0).is_empty());
    }

    #[test]
    fn work_that_workers_lost_is_chosen_alone() {
        let items = [
            ("suspect", leased(Lane::PATIENCE, 9)),
            ("first", item(1, 0)),
            ("last", item(4, 0)),
        ];
        let mut turn = None;
        assert_eq!(chosen(&items, &mut turn, 9), ["first"]);
        assert_eq!(chosen(&items, &mut turn, 9), ["suspect"]);
        assert_eq!(chosen(&items, &mut turn, 9), ["last", "first"]);
    }

    #[test]
    fn a_lease_is_live_until_its_end_and_not_at_it() {
        let item = leased(1, 9);
        let token = Token::new(key("s"), "secret");
        assert!(item.is_leased(&token, Timestamp(8)));
        assert!(!item.is_leased(&token, Timestamp(9)));
        assert!(!item.is_leased(&Token::new(key("s"), "other"), Timestamp(8)));
        assert_eq!(item.ready(), Timestamp(9), "it can be claimed again then");
        let end = WorkItem::lease_end(Timestamp(5), Duration::ZERO);
        assert_eq!(end, Timestamp(6));
    }

    #[test]
    fn done_work_is_removed_unless_it_was_enqueued_meanwhile() {
        assert!(!leased(1, 9).settle(&Outcome::Done, Timestamp(5)));
        let mut again = leased(3, 9);
        again.set_progress(json!(1));
        again.enqueue(
            &Enqueue {
                after: SECOND,
                ..Enqueue::now(Stage::Schedule, key("s"), Lane::new(7))
            },
            Timestamp(4),
        );
        assert!(again.settle(&Outcome::Done, Timestamp(5)));
        assert_eq!(again, item(7, 5), "as new, in the lane of the last enqueue");
    }

    #[test]
    fn a_retry_counts_and_a_yield_does_not() {
        let retry = Outcome::Retry {
            after: SECOND,
            reason: "why".to_owned(),
        };
        let mut item = leased(1, 9);
        item.set_progress(json!({"step": 1}));
        assert!(item.settle(&retry, Timestamp(5)));
        assert_eq!((item.attempts, item.due), (1, Timestamp(1_000_005)));
        assert_eq!(item.error.as_deref(), Some("why"));
        assert_eq!(item.lane, Lane::new(2));
        item.lease("secret".into(), Timestamp(9));
        assert!(item.settle(&Outcome::Yield { after: SECOND }, Timestamp(5)));
        assert_eq!(item.attempts, 1);
        assert!(item.progress.is_some(), "progress is kept");
        item.set_progress(Value::Null);
        assert_eq!(item.progress, None);
        let mut failing = leased(Lane::PATIENCE, 9);
        assert!(failing.settle(&retry, Timestamp(5)));
        assert_eq!(failing.lane, Lane::FAILING);
    }

    #[test]
    fn enqueueing_moves_due_work_earlier_and_keeps_its_lane() {
        let mut item = item(2, 100);
        let enqueue = Enqueue::now(Stage::Schedule, key("s"), Lane::new(9));
        item.enqueue(&enqueue, Timestamp(50));
        assert_eq!((item.due, item.lane), (Timestamp(50), Lane::new(2)));
        item.enqueue(&enqueue, Timestamp(60));
        assert_eq!((item.due, item.requeued), (Timestamp(50), None));
        let item = WorkItem::enqueued(None, &enqueue, Timestamp(1));
        assert_eq!((item.due, item.lane), (Timestamp(1), Lane::new(9)));
    }
}
