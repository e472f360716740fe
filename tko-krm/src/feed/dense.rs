//! [`DenseChanges`]: the changes of all kinds in the order of their revisions, without gaps.

use super::FeedChange;
use futures_util::StreamExt;
use std::future::poll_fn;
use std::task::{Context, Poll};
use tko_core::{BoxStream, DataApi, Error, Event, Kind, Result, Revision, Select, Watch};

/// The watch of one kind, and its next event.
struct KindChanges {
    events: BoxStream<'static, Result<Event>>,
    next: Option<Event>,
}

/// All changes after a revision.
///
/// Revisions are dense over all kinds, so the next change is recognized when it arrives.
pub(crate) struct DenseChanges {
    kinds: Vec<KindChanges>,
    last: Revision,
}

impl DenseChanges {
    pub(crate) fn after(data: &dyn DataApi, after: Revision) -> Self {
        let kinds = Kind::ALL.map(|kind| {
            let select = Select::all(kind).deleting(true);
            KindChanges {
                events: data.watch(Watch::new(select, after).package(true)),
                next: None,
            }
        });
        Self {
            kinds: kinds.into(),
            last: after,
        }
    }

    /// Waits for the next change.
    pub(crate) async fn next(&mut self) -> Result<FeedChange> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<FeedChange>> {
        for kind in &mut self.kinds {
            while kind.next.is_none() {
                match kind.events.poll_next_unpin(context) {
                    Poll::Ready(Some(Ok(Event::Bookmark { .. }))) => {}
                    Poll::Ready(Some(Ok(event))) => kind.next = Some(event),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                    Poll::Ready(None) => {
                        let ended = "the stream of changes ended";
                        let error = Error::unavailable("follow the changes", ended);
                        return Poll::Ready(Err(error));
                    }
                    Poll::Pending => break,
                }
            }
        }
        let expected = Revision(self.last.0.saturating_add(1));
        let all_known = self.kinds.iter().all(|kind| kind.next.is_some());
        let revision = |kind: &KindChanges| kind.next.as_ref().map(Event::revision);
        let first = self
            .kinds
            .iter_mut()
            .filter(|kind| kind.next.is_some())
            .min_by_key(|kind| revision(kind));
        let next = first
            .filter(|kind| all_known || revision(kind) == Some(expected))
            .and_then(|kind| kind.next.take());
        match next {
            None => Poll::Pending,
            Some(event) => {
                let change = change(event);
                self.last = change.revision;
                Poll::Ready(Ok(change))
            }
        }
    }
}

fn change(event: Event) -> FeedChange {
    match event {
        Event::Put {
            revision,
            record,
            entered,
        } => FeedChange::new(revision, record, false, entered),
        Event::Gone { revision, before } => FeedChange::new(revision, before, true, false),
        _ => unreachable!("bookmarks are not kept"),
    }
}
