//! The machine's clock, and ids that follow it. The one module that reads them.

use crate::clock::{Clock, Ids};
use crate::id::DeploymentId;
use crate::revision::Timestamp;
use futures_core::future::BoxFuture;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The machine's time at start, and from then on its monotonic clock: it does not go back when the
/// machine's time is set. Sleeps on tokio's timer.
#[derive(Clone, Debug)]
pub struct SystemClock {
    start: Timestamp,
    since: Instant,
}

impl SystemClock {
    /// Starts now.
    #[allow(clippy::disallowed_methods)] // The one place that asks the machine for its time.
    pub fn new() -> Self {
        let start = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self {
            start: Timestamp::default().plus(start),
            since: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.start.plus(self.since.elapsed())
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// Ids in order of time: UUIDv7 (RFC 9562) as 32 hexadecimal digits, rising within a process.
/// Right for one PostgreSQL and for memory; stores that shard by key range want random ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeOrderedIds;

impl Ids for TimeOrderedIds {
    fn next(&self) -> DeploymentId {
        let id = uuid::Uuid::now_v7().simple().to_string();
        DeploymentId::new(&id).expect("hexadecimal digits are letters and digits")
    }
}
