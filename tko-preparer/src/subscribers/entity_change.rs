//! Changes of one site or template, as far as selections are concerned.

use futures_util::stream::{self, StreamExt};
use std::collections::BTreeMap;
use tko_core::{DataApi, Event, Key, Metadata, Record, Result, Revision};

/// Consecutive changes of one entity, combined.
#[derive(Debug)]
pub(super) struct EntityChange {
    /// The revision of the first change.
    first: Revision,
    before: PriorState,
    /// The metadata after the last change; `None` if the entity was deleted.
    after: Option<Metadata>,
}

/// The metadata before the first change.
#[derive(Debug)]
enum PriorState {
    Absent,
    Known(Metadata),
    Unknown,
}

impl EntityChange {
    /// Adds an event to the changes of its entity.
    pub(super) fn collect(changes: &mut BTreeMap<Key, Self>, event: Event) {
        let (key, first, before, after) = match event {
            Event::Put {
                revision,
                record,
                entered,
            } => {
                let before = if entered {
                    PriorState::Absent
                } else {
                    PriorState::Unknown
                };
                let after = Some(record.entity.metadata.clone());
                (record.entity.key.clone(), revision, before, after)
            }
            Event::Gone { revision, before } => {
                let prior = PriorState::Known(before.entity.metadata.clone());
                (before.entity.key.clone(), revision, prior, None)
            }
            _ => return,
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

    /// Whether a selection matches the entity after the changes.
    pub(super) fn matches_now(&self, matches: impl Fn(&Metadata) -> bool) -> bool {
        self.after.as_ref().is_some_and(matches)
    }

    /// Whether the entity entered or left a selection. True as well if its prior state is unknown.
    pub(super) fn enters_or_leaves(&self, matches: impl Fn(&Metadata) -> bool) -> bool {
        let matched = match &self.before {
            PriorState::Absent => false,
            PriorState::Known(before) if Some(before) == self.after.as_ref() => return false,
            PriorState::Known(before) => matches(before),
            PriorState::Unknown => return true,
        };
        matched != self.after.as_ref().is_some_and(&matches)
    }
}

/// Reads unknown prior states from history.
///
/// A watch delivers only the new state. Followers of a selection skip the changes of entities that
/// neither enter nor leave it.
pub(super) async fn load_prior_states(
    data: &dyn DataApi,
    changes: &mut BTreeMap<Key, EntityChange>,
    concurrency: usize,
) -> Result<()> {
    let unknown: Vec<(Key, Revision)> = changes
        .iter()
        .filter(|(_, change)| matches!(change.before, PriorState::Unknown))
        .map(|(key, change)| (key.clone(), change.first))
        .collect();
    let mut loaded = stream::iter(unknown)
        .map(|(key, first)| async move {
            let last = data.history(&key, Some(first), 1).await?;
            Ok((key, last.into_iter().next().and_then(|last| last.after)))
        })
        .buffer_unordered(concurrency);
    while let Some(found) = loaded.next().await {
        let found: Result<(Key, Option<Record>)> = found;
        // A history that does not reach back so far leaves the state unknown.
        if let (key, Some(record)) = found?
            && let Some(change) = changes.get_mut(&key)
        {
            change.before = PriorState::Known(record.entity.metadata.clone());
        }
    }
    Ok(())
}
