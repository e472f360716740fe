//! The change feed of one selection.
//!
//! The feed of the backend has the changes of all entities. This module filters them for one
//! watcher, by comparing the states before and after each change with the selection.
//!
//! A watcher of a quiet selection gets a [`Bookmark`](Event::Bookmark) now and then, which says how
//! far the feed was read. Resuming from the last bookmark skips the changes before it, which may no
//! longer be kept.

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
    /// Streams the events of a selection after a revision, in order of revision, without end.
    ///
    /// Each change yields at most one event. A change that concerns no matching entity yields none.
    /// After every [`QUIET`] such changes in a row, a bookmark is sent. An event of a matching
    /// entity starts the count anew.
    ///
    /// # Errors
    /// - `BadArgument`: the selection cannot be watched; the only item of the stream.
    /// - As [`Backend::tail`]; the stream ends after an error.
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
