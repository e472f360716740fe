//! The parts that all handlers of requests share.

use crate::failure::{KrmAnswer, KrmFailure};
use crate::feed::WatchFeed;
use crate::settings::KrmSettings;
use std::sync::Arc;
use tko_core::{Clock, Ids};
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
    /// Cancelled when the server shuts down.
    pub(crate) shutdown: CancellationToken,
}

impl KrmContext {
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
