//! Clocks and an id generator under the control of tests.

use futures_core::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tko_core::{Clock, DeploymentId, Ids, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;

/// The start of the clocks: one million seconds, so that it is not mistaken for "never".
const START: Timestamp = Timestamp(1_000_000_000_000);

/// A clock that stands still until [`advance`](Self::advance) moves it. Clones share the time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<watch::Sender<Timestamp>>);

impl ManualClock {
    /// Makes a clock at its start.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(START)))
    }

    /// Advances the time, and ends the sleeps that are over by then.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = now.plus(by));
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let until = self.now().plus(time);
        let mut moved = self.0.subscribe();
        Box::pin(async move {
            // If the clock is dropped, nobody can observe the time any more.
            let _ = moved.wait_for(|now| *now >= until).await;
        })
    }
}

/// Tokio's time, which tests can pause.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock(Instant);

impl TokioClock {
    /// Makes a clock at its start.
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// The time since its start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        START.plus(self.elapsed())
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// Generates ids in order: `id000001`, `id000002` and so on.
#[derive(Debug, Default)]
pub struct CountedIds(AtomicU64);

impl Ids for CountedIds {
    fn next(&self) -> DeploymentId {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        DeploymentId::new(&format!("id{number:06}")).expect("letters and digits")
    }
}

#[cfg(test)]
mod tests {
    use super::{CountedIds, ManualClock};
    use futures_util::FutureExt;
    use std::time::Duration;
    use tko_core::{Clock, Ids};

    #[test]
    fn a_sleep_ends_when_the_clock_was_moved_that_far() {
        let clock = ManualClock::new();
        let mut sleep = clock.sleep(Duration::from_secs(2));
        clock.advance(Duration::from_secs(1));
        assert!((&mut sleep).now_or_never().is_none());
        clock.advance(Duration::from_secs(1));
        assert!((&mut sleep).now_or_never().is_some());
    }

    #[test]
    fn counted_ids_rise() {
        let ids = CountedIds::default();
        let (first, second) = (ids.next(), ids.next());
        assert!(first < second);
    }
}
