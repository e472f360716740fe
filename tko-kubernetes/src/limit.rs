//! [`RequestLimit`]: limits the number of requests to a cluster at the same time, and per second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

/// Limits the requests to one cluster.
pub(crate) struct RequestLimit {
    slots: Semaphore,
    interval: Duration,
    /// The time of the next request.
    next: Mutex<Instant>,
}

impl RequestLimit {
    pub(crate) fn new(in_flight: usize, rate: u32) -> Self {
        Self {
            slots: Semaphore::new(in_flight.max(1)),
            interval: Duration::from_secs(1) / rate.max(1),
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits for a turn. Dropping the permit ends the turn.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        let permit = self.slots.acquire().await.ok();
        let at = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let at = (*next).max(Instant::now());
            *next = at + self.interval;
            at
        };
        sleep_until(at).await;
        permit
    }
}
