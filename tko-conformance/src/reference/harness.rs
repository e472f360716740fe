//! The reference on the bench.

use super::Reference;
use crate::clock::ManualClock;
use crate::harness::BackendHarness;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tko_core::Backend;

/// Makes [`Reference`]s: an example of a harness, and what proves the checks themselves.
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
