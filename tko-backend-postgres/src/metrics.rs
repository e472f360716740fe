//! Durations and failures of statements, by [`Purpose`].
//!
//! A statement is measured where it is sent: by [`Instrument::sent`] or [`Instrument::measured`] on
//! its future, or by [`StatementMetrics::rows`] around its rows. Each takes a purpose, so every
//! statement is counted.
//!
//! A measurement is three additions, without allocation. A scrape reads the totals
//! (`collector`).

mod purpose;

use crate::fault::{SqlFault, fault};
use crate::throttle::ConnectionThrottle;
use futures_core::stream::BoxStream;
use futures_util::TryStreamExt;
use sqlx::Error as SqlError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tko_core::Result;

pub(crate) use purpose::Purpose;

/// Upper bounds of the buckets of durations, in microseconds. One more bucket has no bound.
pub(crate) const BOUNDS: [u64; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// Labels of failures.
pub(crate) const FAILURES: [&str; 5] = ["retry", "taken", "unavailable", "broken", "given_up"];

/// The position of the label for a statement that was dropped before its answer was complete.
const CANCELLED: usize = 4;

/// Durations and failures of all statements of a process, by purpose, and their throttle.
#[derive(Debug)]
pub(crate) struct StatementMetrics {
    pub(crate) purposes: [PurposeMetrics; Purpose::ALL.len()],
    /// The throttle that every measured statement passes.
    throttle: ConnectionThrottle,
}

/// Durations and failures of the statements of one purpose.
#[derive(Debug, Default)]
pub(crate) struct PurposeMetrics {
    /// Statements by duration, failed ones included.
    pub(crate) buckets: [AtomicU64; BOUNDS.len() + 1],
    /// The sum of all durations.
    pub(crate) nanoseconds: AtomicU64,
    pub(crate) failures: [AtomicU64; FAILURES.len()],
}

impl Default for StatementMetrics {
    fn default() -> Self {
        Self {
            purposes: std::array::from_fn(|_| PurposeMetrics::default()),
            throttle: ConnectionThrottle::default(),
        }
    }
}

impl StatementMetrics {
    /// Starts the clock of a statement.
    fn start(&self, purpose: Purpose) -> RunningStatement<'_> {
        RunningStatement {
            totals: &self.purposes[purpose as usize],
            start: Instant::now(),
            has_ended: false,
        }
    }

    /// Measures a statement whose rows arrive one by one, until the last one.
    pub(crate) fn rows<'a, T>(
        &'a self,
        purpose: Purpose,
        rows: BoxStream<'a, Result<T, SqlError>>,
    ) -> MeasuredRows<'a, T> {
        MeasuredRows {
            purpose,
            rows,
            running: self.start(purpose),
        }
    }
}

impl PurposeMetrics {
    fn add(&self, took: Duration) {
        let micros = took.as_micros();
        let bucket = BOUNDS.partition_point(|bound| u128::from(*bound) < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

/// A statement that is running. Dropping it before [`end`](Self::end) counts as cancelled.
struct RunningStatement<'a> {
    totals: &'a PurposeMetrics,
    start: Instant,
    has_ended: bool,
}

impl RunningStatement<'_> {
    fn end(&mut self, error: Option<&SqlError>) {
        self.has_ended = true;
        self.totals.add(self.start.elapsed());
        let failure = match error.map(SqlFault::of) {
            None => return,
            Some(SqlFault::Retry) => 0,
            Some(SqlFault::Taken) => 1,
            Some(SqlFault::Unavailable) => 2,
            Some(SqlFault::Broken) => 3,
        };
        self.totals.failures[failure].fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for RunningStatement<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.totals.add(self.start.elapsed());
            self.totals.failures[CANCELLED].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The future of a statement's answer, which can be measured.
pub(crate) trait Instrument: Sized + Send {
    /// Measures the statement, including the wait for a connection if it takes one from the pool.
    fn measured<T>(
        self,
        metrics: &StatementMetrics,
        purpose: Purpose,
    ) -> impl Future<Output = Result<T, SqlError>> + Send
    where
        Self: Future<Output = Result<T, SqlError>>,
    {
        async move {
            let mut running = metrics.start(purpose);
            let result = match metrics.throttle.pass().await {
                Ok(()) => self.await,
                Err(error) => Err(error),
            };
            running.end(result.as_ref().err());
            metrics.throttle.note(result.as_ref().err());
            result
        }
    }

    /// Measures the statement, and translates an error for callers.
    fn sent<T>(
        self,
        metrics: &StatementMetrics,
        purpose: Purpose,
    ) -> impl Future<Output = Result<T>> + Send
    where
        Self: Future<Output = Result<T, SqlError>>,
    {
        async move {
            let result = self.measured(metrics, purpose).await;
            result.map_err(fault(purpose.action()))
        }
    }
}

impl<F: Future + Send> Instrument for F {}

/// The rows of a statement that is being measured.
pub(crate) struct MeasuredRows<'a, T> {
    purpose: Purpose,
    rows: BoxStream<'a, Result<T, SqlError>>,
    running: RunningStatement<'a>,
}

impl<T> MeasuredRows<'_, T> {
    /// Returns the next row; `None` after the last one.
    pub(crate) async fn try_next(&mut self) -> Result<Option<T>> {
        let next = self.rows.try_next().await;
        if !matches!(next, Ok(Some(_))) {
            self.running.end(next.as_ref().err());
        }
        next.map_err(fault(self.purpose.action()))
    }

    /// Returns up to `most` rows; none after the last one.
    pub(crate) async fn next_chunk(&mut self, most: usize) -> Result<Vec<T>> {
        let mut chunk = Vec::new();
        while chunk.len() < most
            && !self.running.has_ended
            && let Some(row) = self.try_next().await?
        {
            chunk.push(row);
        }
        Ok(chunk)
    }
}

#[cfg(test)]
mod tests;
