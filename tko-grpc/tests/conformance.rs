//! The conformance suite over client, server and the memory backend.

use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tko_backend_memory::Memory;
use tko_conformance::{CountedIds, DataHarness, ManualClock, data_suite};
use tko_core::{Admission, Store, WorkerApi};
use tko_grpc::client::{self, Client};
use tko_grpc::server::{Listen, Server, Sockets};
use tko_worker::{CancellationToken, DeletionController};

/// Serves each API on a separate port.
#[derive(Default)]
struct Remote(ManualClock);

#[async_trait]
impl DataHarness for Remote {
    // The server knows its caller from the connection, not from `with_caller` of a client.
    fn names_callers(&self) -> bool {
        false
    }

    async fn fresh(&self, admission: Arc<dyn Admission>, history: usize) -> Arc<dyn WorkerApi> {
        let settings = tko_backend_memory::MemorySettings { history };
        let backend = Arc::new(Memory::new(Arc::new(self.0.clone()), settings));
        let store = Store::new(backend, admission, Arc::new(CountedIds::default()));
        let clock = Arc::new(self.0.clone());
        let deletions = DeletionController::new(store.clone()).with_clock(clock);
        tokio::spawn(deletions.run(CancellationToken::new()));
        let sockets = Sockets::bind(&Listen::default())
            .await
            .expect("loopback is there");
        let address = sockets.addresses()[0].to_string();
        tokio::spawn(Server::new(Arc::new(store)).serve(sockets, CancellationToken::new()));
        let client = Client::new(client::ClientSettings::new(address)).expect("an address");
        Arc::new(client)
    }

    async fn advance(&self, by: Duration) {
        self.0.advance(by);
    }
}

data_suite!(mod remote = Remote::default());
