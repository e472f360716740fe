//! Following the log.

use crate::memory::Shared;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use std::collections::VecDeque;
use std::sync::Arc;
use tko_core::{ChangeRecord, Result, Revision, Want};
use tokio::sync::watch;

/// One reader.
struct Reader {
    shared: Arc<Shared>,
    head: watch::Receiver<Revision>,
    after: Revision,
    package: bool,
    /// It was told that it is too late.
    ended: bool,
}

impl Reader {
    /// The next changes, as soon as there are any.
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

/// Every change after this one, without end.
pub(crate) fn tail(
    shared: Arc<Shared>,
    after: Revision,
    want: Want,
) -> BoxStream<'static, Result<ChangeRecord>> {
    let reader = Reader {
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
