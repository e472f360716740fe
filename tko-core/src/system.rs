//! The clock of the machine, and generators of ids. No other module reads the machine's time.

use crate::clock::{Clock, Ids};
use crate::id::DeploymentId;
use crate::revision::Timestamp;
use futures_core::future::BoxFuture;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The clock of the machine.
///
/// It reads the machine's time once and follows its monotonic clock from then on. So it does not go
/// back when the machine's time is set. It sleeps on tokio's timer.
#[derive(Clone, Debug)]
pub struct SystemClock {
    start: Timestamp,
    since: Instant,
}

impl SystemClock {
    /// Creates a clock that starts at the machine's current time.
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

/// A generator of ids in the order of time; within a process they increase strictly.
///
/// An id is 20 lower-case digits of base32hex (RFC 4648). They encode the milliseconds since 1970
/// and the next 52 bits of a UUIDv7 (RFC 9562), which are a counter with a random start.
///
/// Suitable for memory and for a single PostgreSQL, because deployments that are created together
/// are stored together. Ids are short because every index entry of a deployment contains its id.
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

/// A generator of random ids of 100 bits, in the form of [`TimeOrderedIds`].
///
/// Suitable for stores that shard by key range, where rising ids would all go to one shard.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl Ids for RandomIds {
    fn next(&self) -> DeploymentId {
        // Skip the bits that are the same in every UUIDv4.
        let uuid = uuid::Uuid::new_v4().as_u128();
        id(uuid >> 80 << 52 | uuid & 0xf_ffff_ffff_ffff)
    }
}

/// Encodes 100 bits, the highest first.
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
