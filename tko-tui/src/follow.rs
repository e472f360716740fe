//! Follows the change feed: one watch for each kind of entity, started again after a failure.

use crate::fetch::FetchReply;
use futures_util::StreamExt;
use futures_util::stream::select_all;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{DataApi, Error, Kind, Result, Revision, Select, Watch};
use tokio::sync::mpsc;

/// First and longest pause after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Maximum number of events that are handed over at once.
const BATCH: usize = 256;

/// Follows the feed until the receiver of its events is gone.
pub(crate) async fn follow(api: Arc<dyn DataApi>, news: mpsc::Sender<FetchReply>) {
    let mut after = None;
    let mut backoff = BACKOFF.0;
    loop {
        let reason = match watch(&api, &mut after, &mut backoff, &news).await {
            Ok(()) => "the server ended the watch".to_owned(),
            Err(error) => {
                if matches!(error, Error::Expired { .. }) {
                    after = None;
                }
                error.chain()
            }
        };
        if news.send(FetchReply::Lost(reason)).await.is_err() {
            return;
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

/// Follows the feed until it fails. `after` has the revision of each kind up to which it was read.
async fn watch(
    api: &Arc<dyn DataApi>,
    after: &mut Option<[Revision; 4]>,
    backoff: &mut Duration,
    news: &mpsc::Sender<FetchReply>,
) -> Result<()> {
    // This also shows whether the server can be reached: a watch alone may stay silent.
    let position = api.feed_position().await?;
    let anew = after.is_none();
    let after = after.get_or_insert([position.revision; 4]);
    let watches = Kind::ALL.into_iter().zip(*after).enumerate();
    let watches = watches.map(|(at, (kind, revision))| {
        let select = Select::all(kind).deleting(true);
        let events = api.watch(Watch::new(select, revision));
        // The end of one watch must end all of them: `select_all` would continue without it.
        let end = futures_util::stream::once(async { None });
        events
            .map(Some)
            .chain(end)
            .map(move |event| (at, event))
            .boxed()
    });
    let mut batches = select_all(watches).ready_chunks(BATCH);
    if news.send(FetchReply::Connected { anew }).await.is_err() {
        return Ok(());
    }
    while let Some(batch) = batches.next().await {
        let mut events = Vec::with_capacity(batch.len());
        let mut end = None;
        for (at, event) in batch {
            match event {
                Some(Ok(event)) => {
                    after[at] = event.revision();
                    *backoff = BACKOFF.0;
                    events.push(event);
                }
                Some(Err(error)) => end = Some(Err(error)),
                None => end = end.or(Some(Ok(()))),
            }
        }
        let is_closed = news.send(FetchReply::Events(events)).await.is_err();
        if let Some(end) = end {
            return end;
        }
        if is_closed {
            return Ok(());
        }
    }
    Ok(())
}
