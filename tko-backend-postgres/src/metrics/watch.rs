//! What operators watch that only the database knows.
//!
//! Seen by the pass that looks at the head of the feed anyway, in place of one of its statements,
//! and only once somebody wants to know. What cannot be seen, or was seen long ago, is not told.

use super::{Purpose, Sending};
use crate::dialect;
use crate::postgres::Shared;
use sqlx::FromRow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tko_core::Result;

/// From one look to the next.
const PAUSE: Duration = Duration::from_secs(5);

/// What was seen longer ago may be otherwise by now.
const STALE: Duration = Duration::from_secs(20);

/// What a look sees: entries of indexes where they begin, and the server's list of sessions.
#[derive(Clone, Copy, Debug, FromRow)]
pub(super) struct Seen {
    /// The head of the feed.
    pub(super) revision: i64,
    /// The one before the oldest change that is kept.
    pub(super) oldest: i64,
    /// Changes without a revision, up to a bound.
    pub(super) pending: i64,
    /// How long the first of them has waited, in microseconds.
    pub(super) waited: i64,
    /// How long the oldest transaction has run that holds back the vacuum, in seconds.
    pub(super) transaction: f64,
    /// How many transactions have begun since the first that the vacuum must keep rows for.
    pub(super) horizon: i64,
}

/// What was seen last, if anybody wants to know.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    wanted: AtomicBool,
    seen: Mutex<Option<(Instant, Seen)>>,
}

impl Watch {
    /// Somebody will ask.
    pub(super) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// What was seen last, unless that is long ago.
    pub(super) fn seen(&self) -> Option<Seen> {
        let (at, seen) = (*self.lock())?;
        (at.elapsed() < STALE).then_some(seen)
    }

    /// Whether to look again.
    pub(crate) fn is_due(&self) -> bool {
        let is_old = |(at, _): &(Instant, Seen)| at.elapsed() > PAUSE;
        self.wanted.load(Ordering::Relaxed) && self.lock().as_ref().is_none_or(is_old)
    }

    /// Looks; the head of the feed.
    pub(crate) async fn look(&self, shared: &Shared) -> Result<u64> {
        let looked = sqlx::query_as(dialect::WATCHED)
            .fetch_one(&shared.pool)
            .sent(&shared.measures, Purpose::Watch)
            .await;
        let seen: Option<Seen> = looked.as_ref().ok().copied();
        *self.lock() = seen.map(|seen| (Instant::now(), seen));
        looked.map(|seen| seen.revision.unsigned_abs())
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Seen)>> {
        self.seen.lock().expect("no code panics while it has it")
    }
}
