//! The change feed of one selection.

use super::Store;
use crate::api::{Event, Watch};
use crate::backend::Backend;
use crate::entity::Want;
use crate::error::{Error, Result};
use crate::feed::view;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

/// The number of skipped changes after which a watcher gets the current revision.
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
                "a watch cannot select by the metadata of a template or site, because their changes are \
                 not changes of their deployments; watch templates or sites as well",
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
