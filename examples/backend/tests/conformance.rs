//! Both suites hold for the backend, and for a store over it.

use async_trait::async_trait;
use example_backend::BytesBackend;
use std::sync::Arc;
use std::time::Duration;
use tko_conformance::{
    BackendHarness, CountedIds, DataHarness, ManualClock, backend_suite, data_suite,
};
use tko_core::{Admission, Backend, Store, WorkerApi};
use tko_worker::{CancellationToken, DeletionController};

#[derive(Default)]
struct Harness {
    clock: ManualClock,
}

impl Harness {
    fn backend(&self, history: usize) -> Arc<BytesBackend> {
        let clock = Arc::new(self.clock.clone());
        Arc::new(BytesBackend::new(clock, history as u64))
    }
}

#[async_trait]
impl BackendHarness for Harness {
    async fn fresh(&self, history: usize) -> Arc<dyn Backend> {
        self.backend(history)
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

#[async_trait]
impl DataHarness for Harness {
    async fn fresh(&self, admission: Arc<dyn Admission>, history: usize) -> Arc<dyn WorkerApi> {
        let ids = Arc::new(CountedIds::default());
        let store = Store::new(self.backend(history), admission, ids);
        let clock = Arc::new(self.clock.clone());
        let deletions = DeletionController::new(store.clone()).with_clock(clock);
        tokio::spawn(deletions.run(CancellationToken::new()));
        Arc::new(store)
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

backend_suite!(mod backend = Harness::default());
data_suite!(mod data = Harness::default());
