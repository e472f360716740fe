//! Following the feed.

use crate::postgres::Shared;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tko_core::{ChangeRecord, Result, Revision, Want};
use tokio::sync::watch;

/// Whoever hears of nothing looks so often: should listening and looking have ended.
const LOOK: Duration = Duration::from_secs(30);

/// One reader.
struct Reader {
    shared: Arc<Shared>,
    head: watch::Receiver<u64>,
    after: Revision,
    package: bool,
    /// It was told that it is too late.
    ended: bool,
}

impl Reader {
    /// The next changes, as soon as there are any.
    async fn next(&mut self) -> Option<Result<Vec<ChangeRecord>>> {
        while !self.ended {
            self.head.mark_unchanged();
            let recent = &self.shared.feed.recent[usize::from(self.package)];
            match recent.after(&self.shared, self.after).await {
                Ok(changes) => {
                    if let Some(last) = changes.last() {
                        self.after = last.revision;
                        return Some(Ok(changes));
                    }
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
            // Late is as good as told.
            let _ = tokio::time::timeout(LOOK, self.head.changed()).await;
        }
        None
    }
}

/// Every change after this one, without end.
pub(crate) fn tail(
    shared: Arc<Shared>,
    after: Revision,
    want: Want,
) -> BoxStream<'static, Result<ChangeRecord>> {
    let reader = Reader {
        head: shared.feed.head.subscribe(),
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
        let items: Vec<Result<ChangeRecord>> = match batch {
            Ok(changes) => changes.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(items)
    });
    Box::pin(changes)
}
