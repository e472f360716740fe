//! The change feed of one selection.
//!
//! The feed of the backend has the changes of all entities. This module filters them for one
//! watcher, by comparing the states before and after each change with the selection.
//!
//! A watcher of a quiet selection gets a [`Bookmark`](Event::Bookmark) from time to time, which
//! says how far the feed was read. Resuming from the last bookmark skips the changes before it,
//! which may no longer be kept.

use super::Store;
use crate::api::{Event, Watch};
use crate::backend::Backend;
use crate::change::ChangeRecord;
use crate::entity::Want;
use crate::error::{Error, Result};
use crate::feed::{is_unedited, view};
use crate::revision::Revision;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

/// The number of skipped changes after which a watcher gets the current revision.
const QUIET: u32 = 256;

impl<B: Backend + ?Sized> Store<B> {
    /// Streams the events of a selection after a revision, in order of revision, without end.
    ///
    /// Each change yields at most one event. A change that concerns no matching entity yields no
    /// event. In a watch of edits, neither does a change that is not an edit. After every [`QUIET`]
    /// such changes in a row, a bookmark is sent. An event of a matching entity restarts the count.
    ///
    /// # Errors
    /// - `BadArgument`: the selection cannot be watched; the only item of the stream.
    /// - As [`Backend::tail`]; the stream ends after an error.
    pub(super) fn events(&self, watch: Watch) -> BoxStream<'static, Result<Event>> {
        let Watch {
            select,
            after,
            package,
            edits,
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
                let unedited = edits && is_unedited(&change);
                let event = view(&select, change).filter(|event| {
                    !unedited || !matches!(event, Event::Put { entered: false, .. })
                });
                if let Some(event) = event {
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
    /// Streams the changes of all entities after a revision, up to the last revision at the time of
    /// the call.
    ///
    /// # Errors
    /// As [`Backend::tail`]; the stream ends after an error.
    pub(super) fn all_changes(
        &self,
        after: Option<Revision>,
    ) -> BoxStream<'static, Result<ChangeRecord>> {
        let backend = self.backend.clone();
        let changes = stream::once(async move {
            let position = backend.feed_position().await?;
            let after = after.unwrap_or(position.oldest);
            let want = Want {
                revision: true,
                ..Want::ROW
            };
            let ended = after >= position.revision;
            let state = (!ended).then(|| backend.tail(after, want));
            Ok::<_, Error>(stream::try_unfold(state, move |state| async move {
                let Some(mut tail) = state else {
                    return Ok(None);
                };
                let Some(change) = tail.try_next().await? else {
                    return Ok(None);
                };
                if change.revision > position.revision {
                    return Ok(None);
                }
                let more = change.revision < position.revision;
                Ok(Some((change, more.then_some(tail))))
            }))
        });
        changes.try_flatten().boxed()
    }
}
