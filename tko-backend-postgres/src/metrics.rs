//! How long statements take, and how they fail: counted for each [`Purpose`].
//!
//! A statement is measured where it is sent, by what it is sent with: [`Sending::sent`] on the
//! future, or [`Measures::rows`] around the rows. Both take a purpose and make of a failure what
//! callers see, so there is one way from a statement to a result, and it counts.
//!
//! Counting is three additions: no lock, and nothing is allocated. Reading it all is what a scrape
//! does (`collector`), together with what is looked at in the database now and then (`watch`).

mod collector;
mod purpose;
mod watch;

use crate::fault::{Fault, fault};
use futures_core::stream::BoxStream;
use futures_util::TryStreamExt;
use sqlx::Error as Sql;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tko_core::Result;

pub(crate) use collector::register;
pub(crate) use purpose::Purpose;
pub(crate) use watch::Watch;

/// Upper bounds of the buckets that durations fall into, in microseconds; the last has none.
const BOUNDS: [u64; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// How a statement may end that does not end well.
const ENDS: [&str; 5] = ["retry", "taken", "unavailable", "broken", "given_up"];

/// Whoever asked gave up, and the rest of the answer was not waited for.
const GIVEN_UP: usize = 4;

/// What became of all statements so far, of this process.
#[derive(Debug)]
pub(crate) struct Measures([Measure; Purpose::ALL.len()]);

/// Of one purpose.
#[derive(Debug, Default)]
struct Measure {
    /// How many took so long; of whichever end.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
    failures: [AtomicU64; ENDS.len()],
}

impl Default for Measures {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Measure::default()))
    }
}

impl Measures {
    /// One is being sent.
    fn start(&self, purpose: Purpose) -> Sent<'_> {
        Sent {
            measure: &self.0[purpose as usize],
            start: Instant::now(),
            ended: false,
        }
    }

    /// Rows as they come, measured until the last one.
    pub(crate) fn rows<'a, T>(
        &'a self,
        purpose: Purpose,
        rows: BoxStream<'a, Result<T, Sql>>,
    ) -> Rows<'a, T> {
        Rows {
            purpose,
            coming: rows,
            sent: self.start(purpose),
        }
    }
}

impl Measure {
    fn add(&self, took: Duration) {
        let micros = took.as_micros();
        let bucket = BOUNDS.partition_point(|bound| u128::from(*bound) < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

/// A statement that has not ended. Dropped before it does, it was given up.
struct Sent<'a> {
    measure: &'a Measure,
    start: Instant,
    ended: bool,
}

impl Sent<'_> {
    fn end(&mut self, error: Option<&Sql>) {
        self.ended = true;
        self.measure.add(self.start.elapsed());
        let failure = match error.map(Fault::of) {
            None => return,
            Some(Fault::Retry) => 0,
            Some(Fault::Taken) => 1,
            Some(Fault::Unavailable) => 2,
            Some(Fault::Broken) => 3,
        };
        self.measure.failures[failure].fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.measure.add(self.start.elapsed());
            self.measure.failures[GIVEN_UP].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A statement, as the future of its answer.
pub(crate) trait Sending: Sized + Send {
    /// Measures it. If it takes its connection from the pool, that is a part of it.
    fn measured<T>(
        self,
        measures: &Measures,
        purpose: Purpose,
    ) -> impl Future<Output = Result<T, Sql>> + Send
    where
        Self: Future<Output = Result<T, Sql>>,
    {
        async move {
            let mut sent = measures.start(purpose);
            let result = self.await;
            sent.end(result.as_ref().err());
            result
        }
    }

    /// The same; what fails is said as callers see it.
    fn sent<T>(
        self,
        measures: &Measures,
        purpose: Purpose,
    ) -> impl Future<Output = Result<T>> + Send
    where
        Self: Future<Output = Result<T, Sql>>,
    {
        async move {
            let result = self.measured(measures, purpose).await;
            result.map_err(fault(purpose.action()))
        }
    }
}

impl<F: Future + Send> Sending for F {}

/// Rows of a statement, as they come.
pub(crate) struct Rows<'a, T> {
    purpose: Purpose,
    coming: BoxStream<'a, Result<T, Sql>>,
    sent: Sent<'a>,
}

impl<T> Rows<'_, T> {
    /// The next one; `None`: that was the last.
    pub(crate) async fn try_next(&mut self) -> Result<Option<T>> {
        let next = self.coming.try_next().await;
        if !matches!(next, Ok(Some(_))) {
            self.sent.end(next.as_ref().err());
        }
        next.map_err(fault(self.purpose.action()))
    }

    /// The next ones, at most so many; none: those were the last.
    pub(crate) async fn next_chunk(&mut self, most: usize) -> Result<Vec<T>> {
        let mut chunk = Vec::new();
        while chunk.len() < most
            && !self.sent.ended
            && let Some(row) = self.try_next().await?
        {
            chunk.push(row);
        }
        Ok(chunk)
    }
}

#[cfg(test)]
mod tests;
