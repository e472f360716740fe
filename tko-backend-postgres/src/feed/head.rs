//! The head of the feed: the last revision.

use crate::database::Database;
use crate::metrics::{Instrument, Purpose};
use tko_core::change::FeedPosition;
use tko_core::{Result, Revision, Timestamp};
use tokio::sync::watch;

/// The last revision that this process knows of.
#[derive(Debug)]
pub(super) struct FeedHead(watch::Sender<u64>);

impl Default for FeedHead {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl FeedHead {
    /// Advances the head to this revision, unless it is there already.
    pub(super) fn advance(&self, revision: u64) {
        self.0.send_if_modified(|head| {
            let is_newer = *head < revision;
            *head = revision.max(*head);
            is_newer
        });
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// Reads the position of the feed.
pub(super) async fn position(database: &Database) -> Result<FeedPosition> {
    let (revision, oldest, now): (i64, i64, i64) =
        sqlx::query_as("SELECT revision, oldest, now_us() FROM head")
            .fetch_one(&database.pool)
            .sent(&database.metrics, Purpose::Head)
            .await?;
    Ok(FeedPosition::new(
        Revision(revision.unsigned_abs()),
        Revision(oldest.unsigned_abs()),
        Timestamp(now),
    ))
}
