//! Following the feed.

use super::recent::RecentChanges;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tko_core::{ChangeRecord, Result, Revision};
use tokio::sync::watch;

/// The time after which a reader looks by itself, in case polling and notifications failed.
const POLL: Duration = Duration::from_secs(30);

/// One reader of the feed.
struct TailReader {
    recent: Arc<RecentChanges>,
    head: watch::Receiver<u64>,
    after: Revision,
    /// Whether to read although no later revision is known: at first, and after a long wait.
    is_due: bool,
    /// Whether it returned an error.
    has_ended: bool,
}

impl TailReader {
    /// Waits for the next changes. `None` after an error.
    async fn next(&mut self) -> Option<Result<Vec<ChangeRecord>>> {
        while !self.has_ended {
            let head = *self.head.borrow_and_update();
            // At the head, another read would find nothing.
            if !self.is_due && self.after.0 >= head {
                let waited = tokio::time::timeout(POLL, self.head.changed()).await;
                self.is_due = waited.is_err();
                continue;
            }
            self.is_due = false;
            match self.recent.after(self.after).await {
                Ok(changes) => {
                    if let Some(last) = changes.last() {
                        self.after = last.revision;
                        return Some(Ok(changes));
                    }
                }
                Err(error) => {
                    self.has_ended = true;
                    return Some(Err(error));
                }
            }
            // The known head may be later than the head of a restored database.
            let _ = tokio::time::timeout(POLL, self.head.changed()).await;
            self.is_due = true;
        }
        None
    }
}

/// Returns every change after this revision, without end.
pub(super) fn tail(
    recent: Arc<RecentChanges>,
    head: watch::Receiver<u64>,
    after: Revision,
) -> BoxStream<'static, Result<ChangeRecord>> {
    let reader = TailReader {
        recent,
        head,
        after,
        is_due: true,
        has_ended: false,
    };
    let batches = stream::unfold(reader, async |mut reader| {
        let batch = reader.next().await?;
        Some((batch, reader))
    });
    let changes = batches.flat_map(|batch| {
        let items: Vec<Result<ChangeRecord>> = match batch {
            Ok(changes) => changes.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(items)
    });
    Box::pin(changes)
}
