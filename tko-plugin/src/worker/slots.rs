//! A process as its pool sees it: how many calls it has, and how many it may have.

use super::order::WorkerOrder;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// A process, as its pool knows it. Without it, the process is stopped.
#[derive(Debug)]
pub(super) struct ProcessHandle {
    pub(super) orders: mpsc::UnboundedSender<WorkerOrder>,
    pub(super) slots: Arc<Slots>,
}

/// How many calls a process has, and how many it may have.
#[derive(Debug)]
pub(super) struct Slots {
    load: AtomicUsize,
    /// Maximum calls in flight; 0 until the process is ready.
    capacity: AtomicUsize,
    /// Calls that the process may still get.
    remaining: AtomicU64,
}

impl Slots {
    pub(super) fn new(calls: u64) -> Self {
        Self {
            load: AtomicUsize::new(0),
            capacity: AtomicUsize::new(0),
            remaining: AtomicU64::new(calls),
        }
    }

    pub(super) fn load(&self) -> usize {
        self.load.load(Ordering::Acquire)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.capacity.load(Ordering::Acquire) > 0
    }

    pub(super) fn is_free(&self) -> bool {
        self.load() < self.capacity.load(Ordering::Acquire)
    }

    /// Takes a slot; returns false if this is the last call of the process. Only the pool takes
    /// slots, under its lock.
    pub(super) fn take(&self) -> bool {
        self.load.fetch_add(1, Ordering::AcqRel);
        self.remaining.fetch_sub(1, Ordering::AcqRel) > 1
    }

    /// Releases a slot when its call has ended.
    pub(super) fn release(&self) {
        self.load.fetch_sub(1, Ordering::AcqRel);
    }

    /// Makes the process ready for this many calls at a time.
    pub(super) fn open(&self, capacity: usize) {
        self.capacity.store(capacity, Ordering::Release);
    }
}
