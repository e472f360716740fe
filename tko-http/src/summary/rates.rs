//! [`Rates`]: how many deployments were prepared and placed recently.

use std::collections::VecDeque;
use tko_core::Timestamp;

/// Length of one interval, in microseconds: 10 s.
const INTERVAL: i64 = 10_000_000;

/// Number of intervals that are kept: half an hour.
pub(crate) const INTERVALS: usize = 180;

/// How many deployments were prepared and placed in each interval of the last half hour.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// The number of the last interval, counted from 1970.
    last: i64,
    counts: VecDeque<(u32, u32)>,
}

impl Rates {
    /// Counts a change at this time.
    pub(super) fn count(&mut self, at: Timestamp, prepared: bool, placed: bool) {
        if !prepared && !placed {
            return;
        }
        let number = at.0.div_euclid(INTERVAL);
        if self.counts.is_empty() {
            self.last = number;
            self.counts.push_back((0, 0));
        }
        while self.last < number {
            if number - self.last > i64::try_from(INTERVALS).unwrap_or(i64::MAX) {
                self.counts.clear();
                self.last = number - 1;
            }
            self.last += 1;
            self.counts.push_back((0, 0));
            if self.counts.len() > INTERVALS {
                self.counts.pop_front();
            }
        }
        let behind = usize::try_from(self.last - number).unwrap_or(usize::MAX);
        let at = self.counts.len().checked_sub(1 + behind);
        if let Some(counts) = at.and_then(|at| self.counts.get_mut(at)) {
            counts.0 += u32::from(prepared);
            counts.1 += u32::from(placed);
        }
    }

    /// Deployments prepared and placed a second, in each interval up to the one before `now`, the
    /// oldest first.
    pub(crate) fn until(&self, now: Timestamp) -> Vec<(f64, f64)> {
        let end = now.0.div_euclid(INTERVAL);
        let intervals = i64::try_from(INTERVALS).unwrap_or(i64::MAX);
        let seconds = 10.0;
        (end - intervals..end)
            .map(|number| {
                let behind = usize::try_from(self.last - number).ok();
                let at = behind.and_then(|behind| self.counts.len().checked_sub(1 + behind));
                let counts = at.and_then(|at| self.counts.get(at)).copied();
                let (prepared, placed) = counts.unwrap_or_default();
                (f64::from(prepared) / seconds, f64::from(placed) / seconds)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{INTERVAL, INTERVALS, Rates};
    use tko_core::Timestamp;

    #[test]
    fn changes_are_counted_in_their_interval() {
        let mut rates = Rates::default();
        let at = |interval: i64| Timestamp(interval * INTERVAL + 1);
        for _ in 0..20 {
            rates.count(at(1_000), true, false);
        }
        rates.count(at(1_002), true, true);
        // Commits of several processes can arrive a little out of order.
        rates.count(at(1_001), false, true);
        let rates_now = rates.until(at(1_003));
        assert_eq!(rates_now.len(), INTERVALS);
        assert_eq!(
            rates_now[INTERVALS - 3..],
            [(2.0, 0.0), (0.0, 0.1), (0.1, 0.1)]
        );
        assert_eq!(rates.until(at(5_000)), vec![(0.0, 0.0); INTERVALS]);
        rates.count(at(9_000_000), true, false);
        assert_eq!(rates.counts.len(), 1);
    }
}
