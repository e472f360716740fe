//! Harnesses for the reference.

use super::Reference;
use crate::clock::{CountedIds, ManualClock};
use crate::harness::{BackendHarness, DataHarness};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Admission, Backend, Store, WorkerApi};
use tko_worker::{CancellationToken, DeletionController};

/// Makes [`Reference`]s: an example of a harness, and the backend that validates the checks
/// themselves.
#[derive(Clone, Debug, Default)]
pub struct ReferenceHarness {
    clock: ManualClock,
}

#[async_trait]
impl BackendHarness for ReferenceHarness {
    async fn fresh(&self, history: usize) -> Arc<dyn Backend> {
        Arc::new(Reference::new(Arc::new(self.clock.clone()), history))
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn is_paused(&self) -> bool {
        true
    }
}

/// A [`Store`] over the reference.
#[async_trait]
impl DataHarness for ReferenceHarness {
    async fn fresh(&self, admission: Arc<dyn Admission>, history: usize) -> Arc<dyn WorkerApi> {
        let clock = Arc::new(self.clock.clone());
        let backend = Arc::new(Reference::new(clock.clone(), history));
        let store = Store::new(backend, admission, Arc::new(CountedIds::default()));
        let deletions = DeletionController::new(store.clone()).with_clock(clock);
        tokio::spawn(deletions.run(CancellationToken::new()));
        Arc::new(store)
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn is_paused(&self) -> bool {
        true
    }
}
