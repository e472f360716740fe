//! The status of the database that metrics show: the feed, and whatever delays numbering or vacuum.
//!
//! The loop that polls the feed's position also polls the status, with one statement instead of its
//! usual one, once metrics are registered. A failed or old poll is not shown.

use crate::database::Database;
use crate::dialect;
use crate::metrics::{Instrument, Purpose};
use sqlx::FromRow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tko_core::Result;

/// The time between two polls.
const INTERVAL: Duration = Duration::from_secs(5);

/// An older status is not shown.
const MAX_AGE: Duration = Duration::from_secs(20);

/// One poll: the start of some indexes, and the server's list of sessions.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct DatabaseStatus {
    /// The last revision.
    pub(crate) revision: i64,
    /// The revision before the oldest change that is kept.
    pub(crate) oldest: i64,
    /// Changes without a revision, counted up to a limit.
    pub(crate) pending: i64,
    /// How long the first of those changes has waited, in microseconds.
    pub(crate) waited: i64,
    /// The age of the oldest transaction that holds back the vacuum, in seconds.
    pub(crate) transaction: f64,
    /// Transactions since the oldest one that holds back the vacuum.
    pub(crate) horizon: i64,
}

/// Polls the status of the database, and keeps the last one.
#[derive(Debug, Default)]
pub(crate) struct DatabaseMonitor {
    is_enabled: AtomicBool,
    status: Mutex<Option<(Instant, DatabaseStatus)>>,
}

impl DatabaseMonitor {
    /// Starts polling.
    pub(crate) fn enable(&self) {
        self.is_enabled.store(true, Ordering::Relaxed);
    }

    /// Returns the last status, unless it is old.
    pub(crate) fn status(&self) -> Option<DatabaseStatus> {
        let (at, status) = (*self.lock())?;
        (at.elapsed() < MAX_AGE).then_some(status)
    }

    /// Whether it is time for a poll.
    pub(crate) fn is_due(&self) -> bool {
        let is_old = |(at, _): &(Instant, DatabaseStatus)| at.elapsed() > INTERVAL;
        self.is_enabled.load(Ordering::Relaxed) && self.lock().as_ref().is_none_or(is_old)
    }

    /// Polls the database. Returns the last revision.
    pub(crate) async fn poll(&self, database: &Database) -> Result<u64> {
        let polled = sqlx::query_as(dialect::STATUS)
            .fetch_one(&database.pool)
            .sent(&database.metrics, Purpose::Watch)
            .await;
        let status: Option<DatabaseStatus> = polled.as_ref().ok().copied();
        *self.lock() = status.map(|status| (Instant::now(), status));
        polled.map(|status| status.revision.unsigned_abs())
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, DatabaseStatus)>> {
        self.status
            .lock()
            .expect("no code panics while it holds it")
    }
}
