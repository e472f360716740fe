//! The contract of backends holds.

use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::{BackendHarness, ManualClock, backend_suite};
use tko_core::Backend;

#[derive(Default)]
struct Harness {
    clock: ManualClock,
}

#[async_trait]
impl BackendHarness for Harness {
    async fn fresh(&self, history: usize) -> Arc<dyn Backend> {
        let clock = Arc::new(self.clock.clone());
        Arc::new(Memory::new(clock, MemorySettings { history }))
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

backend_suite!(mod memory = Harness::default());
