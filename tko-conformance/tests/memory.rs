//! The checks hold for the memory backend: on a clock that only the harness moves, with several
//! threads at work.

use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tko_backend_memory::{Memory, Settings};
use tko_conformance::{BackendHarness, ManualClock, backend_suite};
use tko_core::Backend;

#[derive(Default)]
struct InMemory {
    clock: ManualClock,
    paused: bool,
}

#[async_trait]
impl BackendHarness for InMemory {
    async fn fresh(&self, history: usize) -> Arc<dyn Backend> {
        let settings = Settings { history };
        Arc::new(Memory::new(Arc::new(self.clock.clone()), settings))
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn is_paused(&self) -> bool {
        self.paused
    }
}

backend_suite!(mod memory = InMemory::default());
