//! The parts that all handlers of requests share.

use crate::feed::WatchFeed;
use crate::settings::KrmSettings;
use std::sync::Arc;
use tko_core::{Clock, Ids};
use tokio_util::sync::CancellationToken;

/// The parts that all handlers of requests share.
pub(crate) struct KrmContext {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) feed: Arc<WatchFeed>,
    pub(crate) settings: KrmSettings,
    /// Cancelled when the server shuts down.
    pub(crate) shutdown: CancellationToken,
}
