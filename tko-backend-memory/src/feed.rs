//! Feeds: streams that follow the log.

use crate::shared::SharedState;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use std::collections::VecDeque;
use std::sync::Arc;
use tko_core::{ChangeRecord, Result, Revision, Want};
use tokio::sync::watch;

/// One feed.
struct FeedReader {
    shared: Arc<SharedState>,
    head: watch::Receiver<Revision>,
    after: Revision,
    package: bool,
    /// Whether it ended with an error.
    ended: bool,
}

impl FeedReader {
    /// The next changes; waits until there are any.
    async fn next(&mut self) -> Option<Result<VecDeque<ChangeRecord>>> {
        while !self.ended {
            self.head.mark_unchanged();
            let found = self.shared.read().log.after(self.after, self.package);
            match found {
                Ok(changes) => {
                    if let Some(last) = changes.back() {
                        self.after = last.revision;
                        return Some(Ok(changes));
                    }
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
            self.head.changed().await.ok()?;
        }
        None
    }
}

/// Streams every change after this one, without end.
pub(crate) fn tail(
    shared: Arc<SharedState>,
    after: Revision,
    want: Want,
) -> BoxStream<'static, Result<ChangeRecord>> {
    let reader = FeedReader {
        head: shared.head.subscribe(),
        shared,
        after,
        package: want.package,
        ended: false,
    };
    let batches = stream::unfold(reader, async |mut reader| {
        let batch = reader.next().await?;
        Some((batch, reader))
    });
    let changes = batches.flat_map(|batch| {
        let items: VecDeque<Result<ChangeRecord>> = match batch {
            Ok(changes) => changes.into_iter().map(Ok).collect(),
            Err(error) => VecDeque::from([Err(error)]),
        };
        stream::iter(items)
    });
    Box::pin(changes)
}

#[cfg(test)]
mod tests;
