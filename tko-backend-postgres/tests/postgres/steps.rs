//! The checks of suite 2 about effects and deletions, on a store over a real server.
//!
//! The other checks of suite 2 concern the rules of the store, which are the same on every backend.

use crate::harness::Harness;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tko_conformance::{BackendHarness, CountedIds, DATA_CHECKS, DataHarness};
use tko_core::{Admission, Backend, Store, WorkerApi};
use tko_worker::{CancellationToken, DeletionController};

/// Makes stores over fresh databases.
#[derive(Default)]
struct StoreHarness(Harness);

#[async_trait]
impl DataHarness for StoreHarness {
    async fn fresh(&self, admission: Arc<dyn Admission>, history: usize) -> Arc<dyn WorkerApi> {
        let backend: Arc<dyn Backend> = self.0.fresh(history).await;
        let store = Store::new(backend, admission, Arc::new(CountedIds::default()));
        let deletions = DeletionController::new(store.clone());
        tokio::spawn(deletions.run(CancellationToken::new()));
        Arc::new(store)
    }

    async fn advance(&self, by: Duration) {
        self.0.advance(by).await;
    }
}

/// O1: what a preparer commits, and a purge, hold on PostgreSQL as in memory.
#[test]
fn steps_and_deletions_hold_on_postgresql() {
    // Checks that enqueue work themselves expect to claim it at once; here a pass enqueues it.
    let files = ["effects::", "purge::", "modification::an_edit"];
    let mut count = 0;
    for check in DATA_CHECKS {
        if files.iter().any(|file| check.name.starts_with(file)) {
            eprintln!("{}", check.name);
            (check.run)(Arc::new(StoreHarness::default()));
            count += 1;
        }
    }
    assert!(count > 10, "{count} checks");
}
