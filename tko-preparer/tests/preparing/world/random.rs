//! Random numbers that can be repeated.

use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) struct Random(AtomicU64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(crate) fn seed(&self, seed: u64) {
        self.0.store(seed, Ordering::Relaxed);
    }

    pub(crate) fn below(&self, end: u64) -> u64 {
        let next = |state: u64| {
            state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407)
        };
        let old = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |s| Some(next(s)))
            .unwrap_or_default();
        (next(old) >> 33) % end
    }
}
