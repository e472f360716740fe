//! The harness of a suite: makes the stores under test and advances their time.

use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Admission, Backend, WorkerApi};

/// Makes backends for [`backend_suite!`](crate::backend_suite).
///
/// Each check gets its own harness, and may make several backends with it.
#[async_trait]
pub trait BackendHarness: Send + Sync + 'static {
    /// Makes an empty store that keeps its last `history` changes, and at most twice as many after
    /// [`trim`](Self::trim).
    ///
    /// The first store of a harness is at revision 0. Later ones may be at any, so a store that the
    /// check has dropped may be emptied and used again.
    async fn fresh(&self, history: usize) -> Arc<dyn Backend>;

    /// Opens the same store as another process would. By default this returns the same value.
    async fn beside(&self, subject: &Arc<dyn Backend>) -> Arc<dyn Backend> {
        subject.clone()
    }

    /// Advances the time of all stores made here. Nothing sleeps: deadlines within `by` have
    /// passed, and waits that end within it end.
    async fn advance(&self, by: Duration);

    /// Removes changes that need not be kept. By default it does nothing; override it for a store
    /// that only trims on request.
    async fn trim(&self, subject: &Arc<dyn Backend>) {
        let _ = subject;
    }

    /// Whether the checks run on tokio's paused time. True suits a store without I/O, and is
    /// required for a clock that follows tokio's. A store that waits for sockets needs false.
    fn is_paused(&self) -> bool {
        false
    }
}

/// Makes stores for [`data_suite!`](crate::data_suite).
///
/// Each check gets its own harness, and may make several stores with it.
#[async_trait]
pub trait DataHarness: Send + Sync + 'static {
    /// Makes an empty store that keeps its last `history` changes. It asks `admission` before it
    /// stores a package, and finishes large deletions in the background
    /// (a [`DeletionController`](tko_worker::DeletionController) runs). Each store starts at revision
    /// 0.
    async fn fresh(&self, admission: Arc<dyn Admission>, history: usize) -> Arc<dyn WorkerApi>;

    /// Whether causes name the caller given to [`DataApi::with_caller`](tko_core::DataApi). A
    /// remote client returns false: its server names the caller that it authenticated.
    fn names_callers(&self) -> bool {
        true
    }

    /// As [`BackendHarness::advance`].
    async fn advance(&self, by: Duration);

    /// As [`BackendHarness::is_paused`].
    fn is_paused(&self) -> bool {
        false
    }
}
