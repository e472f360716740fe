//! How many change sets a queue waits for before it writes them together.
//!
//! The queue tries to wait for a few more than arrived the last time. If they do not arrive, it
//! waits for as many as did, and tries again after an increasing number of batches. So a fixed
//! number of callers that each wait for their answer soon wait no longer than necessary.

use std::time::Duration;
use tokio::time::Instant;

/// The longest wait for more sets.
pub(super) const LINGER: Duration = Duration::from_millis(6);

/// The time after the last batch during which more sets are expected.
const RECENT: Duration = Duration::from_millis(50);

/// The fewest and the most batches between two attempts to wait for more.
const PATIENCE: (u32, u32) = (8, 256);

/// Tracks how many sets to wait for.
#[derive(Debug)]
pub(super) struct BatchPace {
    wanted: usize,
    /// Whether more are expected than arrived before.
    is_attempt: bool,
    /// The number of batches until the next attempt, and the number before the last attempt.
    left: u32,
    patience: u32,
    last: Option<Instant>,
}

impl Default for BatchPace {
    fn default() -> Self {
        Self {
            wanted: 1,
            is_attempt: false,
            left: 0,
            patience: PATIENCE.0,
            last: None,
        }
    }
}

impl BatchPace {
    /// The number of sets to wait for.
    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Whether several sets came together just before, so that one more is unlikely to remain
    /// alone.
    pub(super) fn expects_more(&mut self) -> bool {
        let is_recent = self.last.is_some_and(|last| last.elapsed() < RECENT);
        if !is_recent {
            *self = Self::default();
        }
        self.wanted > 1
    }

    /// Learns from the size of a batch.
    pub(super) fn took(&mut self, sets: usize) {
        self.last = Some(Instant::now());
        if sets < self.wanted {
            if self.is_attempt {
                self.patience = (self.patience * 2).min(PATIENCE.1);
            }
            self.is_attempt = false;
            self.wanted = sets;
            self.left = self.patience;
        } else if self.is_attempt || self.left == 0 {
            if self.is_attempt {
                self.patience = PATIENCE.0;
            }
            self.is_attempt = true;
            self.wanted = sets + sets / 2 + 1;
        } else {
            self.left -= 1;
            self.wanted = self.wanted.max(sets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BatchPace;

    /// Batches of this many callers, each of which waits for its answer. Returns the batches that
    /// waited in vain.
    fn in_vain(callers: usize, batches: usize) -> usize {
        let mut pace = BatchPace::default();
        (0..batches)
            .filter(|_| {
                let is_in_vain = pace.wanted() > callers;
                pace.took(callers);
                is_in_vain
            })
            .count()
    }

    #[test]
    fn few_callers_seldom_wait_in_vain() {
        for callers in [1, 2, 8, 50] {
            let waits = in_vain(callers, 2_000);
            assert!(waits < 20, "{callers} callers: {waits}");
        }
    }

    #[test]
    fn batches_grow_while_more_sets_come() {
        let mut pace = BatchPace::default();
        for _ in 0..20 {
            let wanted = pace.wanted();
            pace.took(wanted);
        }
        assert!(pace.wanted() > 100, "{}", pace.wanted());
    }
}
