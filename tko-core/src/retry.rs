//! Retries of requests to the store, for controllers and for followers of its feed.

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::work::backoff;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

/// Longest pause: after an outage of hours, the store is reached again soon after it is back.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Backoff between failed requests to the store: 1 s doubling to 30 s, with jitter.
pub struct Retry {
    clock: Arc<dyn Clock>,
    failures: u32,
}

impl Retry {
    /// No failures yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, failures: 0 }
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Logs the error and pauses before the next attempt. `action` completes "failed to …".
    ///
    /// # Errors
    ///
    /// Returns the error if it is [permanent](is_permanent).
    pub async fn pause(&mut self, action: &str, error: Error) -> Result<()> {
        if is_permanent(&error) {
            return Err(error);
        }
        let pause = self.next_pause();
        tracing::warn!(attempt = self.failures, error = %error.chain(), next = ?pause, "failed to {action}; retrying");
        self.clock.sleep(pause).await;
        Ok(())
    }

    /// Pauses before a feed that ended without an error is opened again.
    pub async fn pause_before_reopening(&mut self) {
        let pause = self.next_pause();
        self.clock.sleep(pause).await;
    }

    fn next_pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        // Jitter after the limit: workers that lost the store together come back one by one.
        let pause = backoff(self.failures, 0.0).min(MAX_PAUSE);
        pause.mul_f64(1.0 - jitter() / 2.0)
    }
}

/// Whether retrying cannot help until someone changes the configuration: the request is not
/// authenticated, not allowed, or not implemented.
///
/// A bad argument is not permanent: it can come from an entity, and no entity must be able to stop
/// a controller.
pub fn is_permanent(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unauthenticated | ErrorKind::Forbidden | ErrorKind::NotImplemented
    )
}

/// Random number from 0 to 1 that spreads retries and resyncs. Not for secrets.
pub fn jitter() -> f64 {
    let bits = RandomState::new().hash_one(0_u8) >> 32;
    f64::from(u32::try_from(bits).unwrap_or(0)) / f64::from(u32::MAX)
}
