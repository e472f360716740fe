//! What a suite needs of its subject: how to make one, and how to make its time pass.

use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Admission, Backend, WorkerApi};

/// Makes backends to be checked by [`backend_suite!`](crate::backend_suite).
///
/// Each check gets a harness of its own, and may make several subjects with it.
#[async_trait]
pub trait BackendHarness: Send + Sync + 'static {
    /// An empty store that keeps its last `history` changes, and not more than twice as many once
    /// [`trim`](Self::trim) was called.
    async fn fresh(&self, history: usize) -> Arc<dyn Backend>;

    /// The same store, as another process sees it. As it is, unless told otherwise.
    async fn beside(&self, subject: &Arc<dyn Backend>) -> Arc<dyn Backend> {
        subject.clone()
    }

    /// Lets this much time pass for all subjects made here. Nothing sleeps: deadlines that lie in
    /// it are over, waits that end in it end.
    async fn advance(&self, by: Duration);

    /// Forgets changes that need not be kept any more. Nothing, unless a subject does this only
    /// when it is told to.
    async fn trim(&self, subject: &Arc<dyn Backend>) {
        let _ = subject;
    }

    /// Whether the checks run on tokio's paused time: right for what does no I/O, and a must for
    /// a clock that follows tokio's. What waits for a socket must not.
    fn is_paused(&self) -> bool {
        false
    }
}

/// Makes the API to be checked by [`data_suite!`](crate::data_suite).
///
/// Each check gets a harness of its own, and may make several subjects with it.
#[async_trait]
pub trait DataHarness: Send + Sync + 'static {
    /// An empty store that asks `admission` before every commit of a body, finishes big deletions
    /// in the background (a [`DeletionController`](tko_worker::DeletionController) runs), and keeps its last
    /// `history` changes.
    async fn fresh(&self, admission: Arc<dyn Admission>, history: usize) -> Arc<dyn WorkerApi>;

    /// As [`BackendHarness::advance`].
    async fn advance(&self, by: Duration);

    /// As [`BackendHarness::is_paused`].
    fn is_paused(&self) -> bool {
        false
    }
}
