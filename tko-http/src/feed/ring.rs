//! [`Ring`]: the latest events of one kind, for any number of readers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tko_core::{Event, Key, Record, Revision};
use tokio::sync::watch;

/// One event of the feed, which the readers of a ring share.
#[derive(Clone, Debug)]
pub(crate) enum FeedItem {
    /// An entity was created or changed.
    Put {
        revision: Revision,
        record: Record,
        created: bool,
    },
    /// An entity was removed.
    Gone { revision: Revision, before: Record },
    /// Nothing changed up to this revision.
    Bookmark { revision: Revision },
}

impl FeedItem {
    pub(crate) fn revision(&self) -> Revision {
        match self {
            Self::Put { revision, .. }
            | Self::Gone { revision, .. }
            | Self::Bookmark { revision } => *revision,
        }
    }

    /// The key of the entity that changed.
    pub(crate) fn key(&self) -> Option<&Key> {
        match self {
            Self::Put { record, .. } => Some(&record.entity.key),
            Self::Gone { before, .. } => Some(&before.entity.key),
            Self::Bookmark { .. } => None,
        }
    }
}

impl From<Event> for FeedItem {
    fn from(event: Event) -> Self {
        match event {
            Event::Put {
                revision,
                record,
                entered,
            } => Self::Put {
                revision,
                record,
                created: entered,
            },
            Event::Gone { revision, before } => Self::Gone { revision, before },
            event => Self::Bookmark {
                revision: event.revision(),
            },
        }
    }
}

/// The latest events of one kind. Old ones are dropped when it is full.
pub(crate) struct Ring {
    state: Mutex<RingState>,
    most: usize,
    pushed: watch::Sender<u64>,
}

struct RingState {
    items: VecDeque<Arc<FeedItem>>,
    /// The number of items that were dropped from the front.
    dropped: u64,
    /// Every event after this revision is in `items`. `None`: the feed was not reached yet.
    since: Option<Revision>,
}

impl Ring {
    /// A ring of at most this many events.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            state: Mutex::new(RingState {
                items: VecDeque::new(),
                dropped: 0,
                since: None,
            }),
            most: most.max(1),
            pushed: watch::Sender::new(0),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, RingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops all events; the next event is later than this revision.
    pub(crate) fn restart(&self, since: Revision) {
        let mut state = self.state();
        // One more than there were, so that every reader notices.
        state.dropped += u64::try_from(state.items.len()).unwrap_or(u64::MAX) + 1;
        state.items.clear();
        state.since = Some(since);
        drop(state);
        self.pushed.send_modify(|count| *count += 1);
    }

    /// Adds an event.
    pub(crate) fn push(&self, item: FeedItem) {
        let mut state = self.state();
        if state.items.len() == self.most
            && let Some(first) = state.items.pop_front()
        {
            state.dropped += 1;
            state.since = Some(first.revision());
        }
        state.items.push_back(Arc::new(item));
        drop(state);
        self.pushed.send_modify(|count| *count += 1);
    }

    /// A reader of the events after this revision; `None` if the ring does not have all of them.
    pub(crate) fn read_after(self: &Arc<Self>, after: Revision) -> Option<RingReader> {
        let state = self.state();
        if state.since.is_none_or(|since| after < since) {
            return None;
        }
        let skipped = state.items.partition_point(|item| item.revision() <= after);
        let next = state.dropped + u64::try_from(skipped).unwrap_or(u64::MAX);
        drop(state);
        Some(RingReader {
            pushed: self.pushed.subscribe(),
            ring: self.clone(),
            next,
        })
    }

    /// A reader of the events from now on.
    pub(crate) fn read_new(self: &Arc<Self>) -> RingReader {
        let state = self.state();
        let next = state.dropped + u64::try_from(state.items.len()).unwrap_or(u64::MAX);
        drop(state);
        RingReader {
            pushed: self.pushed.subscribe(),
            ring: self.clone(),
            next,
        }
    }
}

/// A position in a ring. It costs the ring nothing, no matter how slow the reader is.
pub(crate) struct RingReader {
    ring: Arc<Ring>,
    pushed: watch::Receiver<u64>,
    /// The number of the next item, counted from the first that the ring ever had.
    next: u64,
}

/// The result of one read.
pub(crate) enum RingRead {
    /// The next events, at least one.
    Items(Vec<Arc<FeedItem>>),
    /// Events were dropped before they were read, or the feed started over.
    Lost,
}

/// Maximum number of events of one read.
const CHUNK: usize = 256;

impl RingReader {
    /// Waits for the next events. Cancel safe.
    pub(crate) async fn next(&mut self) -> RingRead {
        loop {
            self.pushed.borrow_and_update();
            {
                let state = self.ring.state();
                let Some(at) = self.next.checked_sub(state.dropped) else {
                    return RingRead::Lost;
                };
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                let items: Vec<_> = state.items.iter().skip(at).take(CHUNK).cloned().collect();
                if !items.is_empty() {
                    self.next += u64::try_from(items.len()).unwrap_or(u64::MAX);
                    return RingRead::Items(items);
                }
            }
            if self.pushed.changed().await.is_err() {
                // The ring lives as long as its readers; this does not happen.
                return RingRead::Lost;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FeedItem, Ring, RingRead};
    use std::sync::Arc;
    use tko_core::Revision;

    fn filled(revisions: impl IntoIterator<Item = u64>) -> Arc<Ring> {
        let ring = Arc::new(Ring::new(3));
        ring.restart(Revision(10));
        for revision in revisions {
            let revision = Revision(revision);
            ring.push(FeedItem::Bookmark { revision });
        }
        ring
    }

    fn revisions(read: RingRead) -> Option<Vec<u64>> {
        match read {
            RingRead::Items(items) => Some(items.iter().map(|item| item.revision().0).collect()),
            RingRead::Lost => None,
        }
    }

    #[tokio::test]
    async fn a_reader_gets_what_comes_after_a_revision() {
        let ring = filled([11, 14, 15]);
        for (after, expected) in [
            (10, vec![11, 14, 15]),
            (11, vec![14, 15]),
            (13, vec![14, 15]),
        ] {
            let mut reader = ring.read_after(Revision(after)).expect("it is here");
            assert_eq!(revisions(reader.next().await), Some(expected));
        }
        assert!(ring.read_after(Revision(9)).is_none());
    }

    #[tokio::test]
    async fn a_slow_reader_learns_that_it_lost_events() {
        let ring = filled([11]);
        let mut reader = ring.read_after(Revision(10)).expect("it is here");
        for revision in [12, 13, 14] {
            let revision = Revision(revision);
            ring.push(FeedItem::Bookmark { revision });
        }
        assert_eq!(revisions(reader.next().await), None);
        assert!(ring.read_after(Revision(10)).is_none());
        assert!(ring.read_after(Revision(11)).is_some());
    }

    #[tokio::test]
    async fn a_restart_is_noticed() {
        let ring = filled([]);
        let mut reader = ring.read_new();
        ring.restart(Revision(20));
        assert_eq!(revisions(reader.next().await), None);
    }
}
