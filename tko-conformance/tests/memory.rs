//! Both suites for the memory backend and a store over it, on a manual clock and several threads.

use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::{
    BackendHarness, CountedIds, DataHarness, ManualClock, backend_suite, data_suite,
};
use tko_core::{Admission, Backend, Store, WorkerApi};
use tko_worker::{CancellationToken, DeletionController};

#[derive(Default)]
struct InMemory {
    clock: ManualClock,
}

impl InMemory {
    fn memory(&self, history: usize) -> Arc<Memory> {
        let clock = Arc::new(self.clock.clone());
        Arc::new(Memory::new(clock, MemorySettings { history }))
    }
}

#[async_trait]
impl BackendHarness for InMemory {
    async fn fresh(&self, history: usize) -> Arc<dyn Backend> {
        self.memory(history)
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

#[async_trait]
impl DataHarness for InMemory {
    async fn fresh(&self, admission: Arc<dyn Admission>, history: usize) -> Arc<dyn WorkerApi> {
        let ids = Arc::new(CountedIds::default());
        let store = Store::new(self.memory(history), admission, ids);
        let clock = Arc::new(self.clock.clone());
        let deletions = DeletionController::new(store.clone()).with_clock(clock);
        tokio::spawn(deletions.run(CancellationToken::new()));
        Arc::new(store)
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

backend_suite!(mod backend = InMemory::default());
data_suite!(mod data = InMemory::default());
