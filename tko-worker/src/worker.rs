//! The worker: companions, claims and shutdown.

use crate::claims::ClaimLoop;
use crate::handle::Handle;
use crate::lease::Leases;
use crate::settings::WorkerSettings;
use futures_util::future::{BoxFuture, join_all};
use std::convert::Infallible;
use std::sync::Arc;
use tko_core::system::SystemClock;
use tko_core::{Clock, Error, Result, Stage, WorkerApi};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// Claims due work of one stage, and passes it to a [`Handle`], until it is shut down.
///
/// Any number of workers, in one process or many, share the work of a stage. See the
/// [crate](crate) for an example.
pub struct Worker {
    data: Arc<dyn WorkerApi>,
    stage: Stage,
    handle: Arc<dyn Handle>,
    clock: Arc<dyn Clock>,
    settings: WorkerSettings,
    companions: Vec<Companion>,
}

struct Companion {
    run: BoxFuture<'static, Result<Infallible>>,
    is_ready: oneshot::Receiver<()>,
}

/// Reports that a companion is ready, so that its worker may start to claim.
pub struct Ready(oneshot::Sender<()>);

impl Ready {
    /// Reports that the companion is ready. Dropping this value does the same.
    pub fn set(self) {
        // The receiver is gone if the worker is shutting down.
        let _ = self.0.send(());
    }
}

impl Worker {
    /// A worker for one stage of the work of `data`, on the system's clock and with default
    /// settings.
    pub fn new(data: Arc<dyn WorkerApi>, stage: Stage, handle: Arc<dyn Handle>) -> Self {
        Self {
            data,
            stage,
            handle,
            clock: Arc::new(SystemClock::new()),
            settings: WorkerSettings::new("worker"),
            companions: Vec::new(),
        }
    }

    /// Sets the clock that measures leases, backoff and the grace period.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the limits and intervals; replaces those that the worker was created with.
    #[must_use]
    pub fn with_settings(mut self, settings: WorkerSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Adds a task that runs in parallel with the claims, such as one that follows a feed.
    ///
    /// No work is claimed before it reports [`Ready`]. It runs until the worker ends, after the
    /// last work; if it fails, the worker shuts down with its error.
    #[must_use]
    pub fn with_companion<F>(mut self, companion: impl FnOnce(Ready) -> F) -> Self
    where
        F: Future<Output = Result<Infallible>> + Send + 'static,
    {
        let (ready, is_ready) = oneshot::channel();
        self.companions.push(Companion {
            run: Box::pin(companion(Ready(ready))),
            is_ready,
        });
        self
    }

    /// Works until `shutdown` is cancelled.
    ///
    /// It then claims nothing more, lets work in flight run for the [grace
    /// period](WorkerSettings::grace), and releases the rest, which is due again at once. Dropping
    /// the future instead stops all work immediately; its leases expire.
    ///
    /// Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// A [permanent](crate::is_permanent) error of claiming, or of a companion, after the same
    /// graceful shutdown. An unreachable store is not an error: the worker retries until it is
    /// back.
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let settings = self.settings.checked();
        let leases = Leases::new(self.data.clone(), self.clock.clone(), settings.lease);
        let mut companions = JoinSet::new();
        let mut is_ready = Vec::new();
        for companion in self.companions {
            companions.spawn(companion.run);
            is_ready.push(companion.is_ready);
        }
        let renewed = leases.clone();
        companions.spawn(async move { Ok(renewed.keep().await) });
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            Some(ended) = companions.join_next() => return Err(failure(ended)),
            _ = join_all(is_ready) => {}
        }
        let (name, stage) = (settings.name.clone(), self.stage);
        tracing::info!(worker = name, ?stage, "worker started");
        let mut claims =
            ClaimLoop::new(self.data, stage, self.handle, self.clock, settings, leases);
        let ended = tokio::select! {
            biased;
            Some(ended) = companions.join_next() => Err(failure(ended)),
            ended = claims.run(&shutdown) => ended,
        };
        // Companions keep running, so leases are renewed during the grace period.
        claims.finish().await;
        tracing::info!(worker = name, ?stage, "worker stopped");
        ended
    }
}

fn failure(ended: Result<Result<Infallible>, JoinError>) -> Error {
    match ended {
        Ok(Ok(never)) => match never {},
        Ok(Err(error)) => error,
        Err(error) => Error::internal("keep the worker running", error),
    }
}
