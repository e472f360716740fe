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

/// Ids in order of time, rising within a process: the milliseconds since 1970 and the 52 bits that
/// follow them in a UUIDv7 (RFC 9562, a counter that starts at random), as 20 digits of base32hex
/// (RFC 4648) in lower case.
///
/// Right for one PostgreSQL and for memory: what is created together lies together. An id stands in
/// every index entry of its deployment, so it is no longer than it must be.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeOrderedIds;

impl Ids for TimeOrderedIds {
    fn next(&self) -> DeploymentId {
        // 48 bits of time, 4 of the version, 12, 2 of the variant, 62.
        let uuid = uuid::Uuid::now_v7().as_u128();
        let (time, high, low) = (uuid >> 80, uuid >> 64 & 0xfff, uuid >> 22 & 0xff_ffff_ffff);
        id(time << 52 | high << 40 | low)
    }
}

/// Ids in no order: 100 random bits, as [`TimeOrderedIds`] are written. For stores that shard by
/// key range, where rising ids all go to one shard.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl Ids for RandomIds {
    fn next(&self) -> DeploymentId {
        // Without the bits that are the same in every UUIDv4.
        let uuid = uuid::Uuid::new_v4().as_u128();
        id(uuid >> 80 << 52 | uuid & 0xf_ffff_ffff_ffff)
    }
}

/// 100 bits, the highest first.
fn id(bits: u128) -> DeploymentId {
    const DIGITS: [char; 32] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h',
        'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v',
    ];
    let digits: String = (0..20)
        .rev()
        .map(|place| DIGITS[(bits >> (5 * place) & 31) as usize])
        .collect();
    DeploymentId::new(&digits).expect("letters and digits make an id")
}

#[cfg(test)]
mod tests {
    use super::{RandomIds, TimeOrderedIds};
    use crate::clock::Ids;
    use std::collections::BTreeSet;

    #[test]
    fn ids_rise_with_time_or_are_spread() {
        let rising: Vec<_> = (0..10_000).map(|_| TimeOrderedIds.next()).collect();
        assert!(rising.is_sorted());
        let spread: BTreeSet<_> = (0..10_000).map(|_| RandomIds.next()).collect();
        // That one of 32 beginnings is missing comes up once in 10^136 times.
        let starts: BTreeSet<_> = spread.iter().map(|id| &id.as_str()[..1]).collect();
        assert_eq!((spread.len(), starts.len()), (10_000, 32));
        assert!(
            rising
                .iter()
                .chain(&spread)
                .all(|id| id.as_str().len() == 20)
        );
        let once: BTreeSet<_> = rising.iter().collect();
        assert_eq!(once.len(), rising.len());
    }
}
