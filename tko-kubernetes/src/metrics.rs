//! Counters of requests and corrections.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the requests of a scheduler to all clusters together.
#[derive(Debug, Default)]
pub struct ClusterCounters {
    reads: AtomicU64,
    writes: AtomicU64,
    watches: AtomicU64,
    corrections: AtomicU64,
    pruned: AtomicU64,
}

/// The values of [`ClusterCounters`] at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterTotals {
    /// Number of requests that read.
    pub reads: u64,
    /// Number of requests that write.
    pub writes: u64,
    /// Number of watches that were opened.
    pub watches: u64,
    /// Number of objects that were applied again because another program had changed them.
    pub corrections: u64,
    /// Number of objects that were deleted because no deployment has them any more.
    pub pruned: u64,
}

impl ClusterCounters {
    /// The values now.
    pub fn totals(&self) -> ClusterTotals {
        ClusterTotals {
            reads: self.reads.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
            watches: self.watches.load(Ordering::Relaxed),
            corrections: self.corrections.load(Ordering::Relaxed),
            pruned: self.pruned.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn wrote(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn watched(&self) {
        self.watches.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn corrected(&self) {
        self.corrections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn pruned(&self) {
        self.pruned.fetch_add(1, Ordering::Relaxed);
    }
}
