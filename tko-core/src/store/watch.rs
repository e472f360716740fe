//! The change feed as whoever watches a selection sees it.

use super::Store;
use crate::api::{Event, Watch};
use crate::backend::Backend;
use crate::entity::Want;
use crate::error::{Error, Result};
use crate::feed::view;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

/// After so many changes that are nothing to a watcher it is told how far the feed is.
const QUIET: u32 = 256;

impl<B: Backend + ?Sized> Store<B> {
    pub(super) fn events(&self, watch: Watch) -> BoxStream<'static, Result<Event>> {
        let Watch {
            select,
            after,
            package,
        } = watch;
        if !select.is_watchable() {
            let refusal = Error::bad(
                "select",
                "a watch cannot select by a template's or a site's metadata, for their change is \
                 no change of their deployments; watch templates or sites beside it",
            );
            return Box::pin(stream::iter([Err(refusal)]));
        }
        let want = Want {
            package,
            revision: true,
            ..Want::ROW
        };
        let mut quiet = 0;
        let events = self.backend.tail(after, want).filter_map(move |item| {
            let event = item.map(|change| {
                let revision = change.revision;
                if let Some(event) = view(&select, change) {
                    quiet = 0;
                    return Some(event);
                }
                quiet += 1;
                (quiet % QUIET == 0).then_some(Event::Bookmark { revision })
            });
            async move { event.transpose() }
        });
        Box::pin(events)
    }
}
