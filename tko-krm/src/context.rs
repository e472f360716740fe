//! The parts that all handlers of requests share.

use crate::failure::{KrmAnswer, KrmFailure};
use crate::feed::WatchFeed;
use crate::request::ApiRequest;
use crate::settings::KrmSettings;
use std::sync::Arc;
use tko_core::{Clock, Ids};
use tko_serve::{HeavyWork, package_weight};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The parts that all handlers of requests share.
pub(crate) struct KrmContext {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) feed: Arc<WatchFeed>,
    pub(crate) settings: KrmSettings,
    /// Permits for answers that take as long as their clients read them: watches, and lists without
    /// a limit.
    pub(crate) streams: Arc<Semaphore>,
    /// Permits for decoding large bodies, and for computing new objects of them.
    pub(crate) heavy_work: HeavyWork,
    /// Cancelled when the server shuts down.
    pub(crate) shutdown: CancellationToken,
}

impl KrmContext {
    /// Computes for a request, which is [`HeavyWork`] if its body is large. The work must not
    /// include calls of the data service: they may wait, and would keep others from the permit.
    pub(crate) async fn compute<T>(&self, request: &ApiRequest, work: impl FnOnce() -> T) -> T {
        let weight = package_weight(&request.body);
        self.heavy_work.run(weight, work).await
    }

    /// A permit for an answer that takes as long as its client reads it. The body of the answer
    /// keeps it.
    pub(crate) fn stream_permit(&self) -> KrmAnswer<OwnedSemaphorePermit> {
        let permit = self.streams.clone().try_acquire_owned();
        permit.map_err(|_| {
            KrmFailure::too_many_requests(
                "the server sends too many watches and lists at once; retry later",
            )
        })
    }
}
