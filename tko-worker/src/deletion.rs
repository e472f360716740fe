//! The controller of [`Stage::Delete`]: finishes large and interrupted
//! deletions.

use crate::handle::Handle;
use crate::settings::WorkerSettings;
use crate::worker::Worker;
use async_trait::async_trait;
use std::sync::Arc;
use tko_core::system::SystemClock;
use tko_core::{Backend, Claim, Clock, Outcome, Result, Stage, Store};
use tokio_util::sync::CancellationToken;

/// Finishes deletions that were interrupted, or that wait for a modification to end.
///
/// Every process with a [`Store`] should run one; any number may share a backend. Its worker is
/// named `deletions` by default.
pub struct DeletionController<B: ?Sized> {
    store: Store<B>,
    clock: Arc<dyn Clock>,
    settings: WorkerSettings,
}

impl<B: Backend + ?Sized> DeletionController<B> {
    /// A controller for the deletions of this store, on the system's clock.
    pub fn new(store: Store<B>) -> Self {
        Self {
            store,
            clock: Arc::new(SystemClock::new()),
            settings: WorkerSettings::new("deletions"),
        }
    }

    /// Sets the clock that measures leases, pauses and timeouts. Default: the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the settings of its worker.
    #[must_use]
    pub fn with_settings(mut self, settings: WorkerSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Works until `shutdown`.
    ///
    /// # Errors
    ///
    /// As [`Worker::run`].
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let handle = Arc::new(Deletions(self.store.clone()));
        Worker::new(Arc::new(self.store), Stage::Delete, handle)
            .with_clock(self.clock)
            .with_settings(self.settings)
            .run(shutdown)
            .await
    }
}

struct Deletions<B: ?Sized>(Store<B>);

#[async_trait]
impl<B: Backend + ?Sized> Handle for Deletions<B> {
    async fn handle(&self, claim: &Claim) -> Result<Option<Outcome>> {
        self.0.finish_deletion(&claim.work.key).await?;
        Ok(Some(Outcome::Done))
    }
}
