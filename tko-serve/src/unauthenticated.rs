//! [`UnauthenticatedLimit`]: limits the connections that have not yet made an authenticated request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

/// Maximum number of refused requests that wait for their answer on one connection without an
/// authenticated request. With HTTP/2, a connection has many requests at once.
pub(crate) const MAX_WAITING_REFUSALS: usize = 16;

/// The connections that have not yet made an authenticated request; at most a fixed number.
///
/// The oldest gives way to the next. A client with credentials authenticates within moments, so it
/// is hardly ever the oldest, no matter how many others there are.
#[derive(Debug)]
pub(crate) struct UnauthenticatedLimit {
    max: usize,
    next: AtomicU64,
    waiting: Mutex<BTreeMap<u64, CancellationToken>>,
}

impl UnauthenticatedLimit {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max: max.max(1),
            next: AtomicU64::new(0),
            waiting: Mutex::default(),
        })
    }

    /// Adds a connection, which ends when `end` is cancelled.
    pub(crate) fn enter(self: &Arc<Self>, end: CancellationToken) -> ConnectionProgress {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.lock();
        waiting.insert(id, end);
        while waiting.len() > self.max {
            if let Some((_, oldest)) = waiting.pop_first() {
                tracing::debug!("closing the oldest connection without an authenticated request");
                oldest.cancel();
            }
        }
        drop(waiting);
        ConnectionProgress {
            id,
            limit: self.clone(),
            requested: AtomicBool::new(false),
            known: AtomicBool::new(false),
            refusals: AtomicUsize::new(0),
        }
    }

    /// Ends the oldest connection, to make room.
    pub(crate) fn evict(&self) {
        if let Some((_, oldest)) = self.lock().pop_first() {
            oldest.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, CancellationToken>> {
        self.waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The behaviour of a connection so far.
#[derive(Debug)]
pub(crate) struct ConnectionProgress {
    id: u64,
    limit: Arc<UnauthenticatedLimit>,
    /// Whether a request arrived since this was last asked.
    requested: AtomicBool,
    /// Whether a request was authenticated.
    known: AtomicBool,
    /// Number of refused requests that wait for their answer.
    refusals: AtomicUsize,
}

impl ConnectionProgress {
    /// Records a request, with or without credentials.
    pub(crate) fn request(&self) {
        self.requested.store(true, Ordering::Relaxed);
    }

    /// Records that a request was authenticated.
    pub(crate) fn authenticated(&self) {
        if !self.known.swap(true, Ordering::Relaxed) {
            self.limit.lock().remove(&self.id);
        }
    }

    /// Whether a request was authenticated.
    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Whether a request arrived since this was last asked.
    pub(crate) fn take_requested(&self) -> bool {
        self.requested.swap(false, Ordering::Relaxed)
    }

    /// Records that a refused request waits for its answer, until the returned value is dropped.
    pub(crate) fn refuse(self: &Arc<Self>) -> WaitingRefusal {
        self.refusals.fetch_add(1, Ordering::Relaxed);
        WaitingRefusal(self.clone())
    }

    /// Whether [`MAX_WAITING_REFUSALS`] refused requests wait, and none was authenticated.
    pub(crate) fn has_too_many_refusals(&self) -> bool {
        !self.is_known() && self.refusals.load(Ordering::Relaxed) >= MAX_WAITING_REFUSALS
    }
}

/// A refused request that waits for its answer.
#[derive(Debug)]
pub(crate) struct WaitingRefusal(Arc<ConnectionProgress>);

impl Drop for WaitingRefusal {
    fn drop(&mut self) {
        self.0.refusals.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for ConnectionProgress {
    fn drop(&mut self) {
        self.limit.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::UnauthenticatedLimit;
    use tokio_util::sync::CancellationToken;

    #[test]
    fn s3_the_oldest_unauthenticated_connection_gives_way_and_the_others_stay() {
        let limit = UnauthenticatedLimit::new(2);
        let ends: Vec<CancellationToken> = (0..4).map(|_| CancellationToken::new()).collect();
        let known = limit.enter(ends[0].clone());
        known.authenticated();
        let all: Vec<_> = ends[1..]
            .iter()
            .map(|end| limit.enter(end.clone()))
            .collect();
        let cancelled: Vec<bool> = ends.iter().map(CancellationToken::is_cancelled).collect();
        assert_eq!(cancelled, [false, true, false, false]);
        drop(all);
        assert!(limit.lock().is_empty());
    }
}
