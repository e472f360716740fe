//! The feed: every change with a dense revision.

use super::Reference;
use super::state::ReferenceState;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use tko_core::{ChangeRecord, Error, Key, Result, Revision, Want};

impl ReferenceState {
    /// The revision of the last change.
    pub(crate) fn revision(&self) -> Revision {
        Revision(self.dropped + self.feed.len() as u64)
    }

    /// The revision after which the feed starts.
    pub(crate) fn oldest(&self) -> Revision {
        Revision(self.dropped)
    }

    /// Drops all but the last `history` changes.
    pub(super) fn forget(&mut self) {
        let surplus = self.feed.len().saturating_sub(self.history);
        self.feed.drain(..surplus);
        self.dropped += surplus as u64;
    }

    /// The next change after this revision, if there is one.
    pub(crate) fn change_after(&self, after: Revision) -> Result<Option<&ChangeRecord>> {
        if after < self.oldest() || after > self.revision() {
            return Err(Error::Expired {
                oldest: self.oldest(),
            });
        }
        Ok(self.feed.iter().find(|change| change.revision > after))
    }

    pub(crate) fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Vec<ChangeRecord> {
        self.feed
            .iter()
            .rev()
            .filter(|change| change.key == *key)
            .filter(|change| before.is_none_or(|before| change.revision < before))
            .take(limit)
            .cloned()
            .collect()
    }
}

/// Every change after `after`, as it comes. Ends after an error.
pub(super) fn tail(
    store: Reference,
    after: Revision,
    want: Want,
) -> BoxStream<'static, Result<ChangeRecord>> {
    let stirred = store.stirred.subscribe();
    let start = Some((store, stirred, after));
    unfold(start, move |place| async move {
        let (store, mut stirred, after) = place?;
        loop {
            stirred.borrow_and_update();
            let found = store.lock().change_after(after).map(Option::<&_>::cloned);
            match found {
                Err(error) => return Some((Err(error), None)),
                Ok(Some(change)) => {
                    let after = change.revision;
                    let change = wanted(change, want);
                    return Some((Ok(change), Some((store, stirred, after))));
                }
                // The sender lives in `store`, so the wait cannot fail.
                Ok(None) => stirred.changed().await.ok()?,
            }
        }
    })
    .boxed()
}

fn wanted(mut change: ChangeRecord, want: Want) -> ChangeRecord {
    if !want.package {
        for record in [&mut change.before, &mut change.after]
            .into_iter()
            .flatten()
        {
            record.package = None;
        }
    }
    change
}
