//! What became of one site or template, as far as selections are concerned.

use futures_util::stream::{self, StreamExt};
use std::collections::BTreeMap;
use tko_core::{DataApi, Event, Key, Metadata, Record, Result, Revision};

/// Several changes of one entity taken together.
#[derive(Debug)]
pub(super) struct Change {
    first: Revision,
    before: Before,
    /// None: it is gone.
    after: Option<Metadata>,
}

#[derive(Debug)]
enum Before {
    Nothing,
    Was(Metadata),
    Unknown,
}

impl Change {
    /// Adds what a watcher was told.
    pub(super) fn collect(changes: &mut BTreeMap<Key, Self>, event: Event) {
        let (key, first, before, after) = match event {
            Event::Put {
                revision,
                record,
                entered,
            } => {
                let before = if entered {
                    Before::Nothing
                } else {
                    Before::Unknown
                };
                let after = Some(record.entity.metadata.clone());
                (record.entity.key.clone(), revision, before, after)
            }
            Event::Gone { revision, before } => {
                let was = Before::Was(before.entity.metadata.clone());
                (before.entity.key.clone(), revision, was, None)
            }
            Event::Bookmark { .. } => return,
        };
        changes
            .entry(key)
            .and_modify(|change| change.after.clone_from(&after))
            .or_insert(Self {
                first,
                before,
                after,
            });
    }

    /// Whether a selection matches it now.
    pub(super) fn now(&self, matches: impl Fn(&Metadata) -> bool) -> bool {
        self.after.as_ref().is_some_and(matches)
    }

    /// Whether it began or ceased to match a selection. Of what it was before nothing may be
    /// known: then it may have.
    pub(super) fn moves(&self, matches: impl Fn(&Metadata) -> bool) -> bool {
        let was = match &self.before {
            Before::Nothing => false,
            Before::Was(before) if Some(before) == self.after.as_ref() => return false,
            Before::Was(before) => matches(before),
            Before::Unknown => return true,
        };
        was != self.after.as_ref().is_some_and(&matches)
    }
}

/// Finds out what these were before. A watcher is told only what is, and a site that changes in
/// other ways, as with each of its conditions, is no news for who follows a selection.
pub(super) async fn look_back(
    data: &dyn DataApi,
    changes: &mut BTreeMap<Key, Change>,
    at_once: usize,
) -> Result<()> {
    let unknown: Vec<(Key, Revision)> = changes
        .iter()
        .filter(|(_, change)| matches!(change.before, Before::Unknown))
        .map(|(key, change)| (key.clone(), change.first))
        .collect();
    let mut looked = stream::iter(unknown)
        .map(|(key, first)| async move {
            let last = data.history(&key, Some(first), 1).await?;
            Ok((key, last.into_iter().next().and_then(|last| last.after)))
        })
        .buffer_unordered(at_once);
    while let Some(found) = looked.next().await {
        let found: Result<(Key, Option<Record>)> = found;
        // History that does not reach back so far leaves it open.
        if let (key, Some(record)) = found?
            && let Some(change) = changes.get_mut(&key)
        {
            change.before = Before::Was(record.entity.metadata.clone());
        }
    }
    Ok(())
}
