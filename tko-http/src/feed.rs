//! [`Feeds`]: the change feed, read once for each kind of entity, no matter how many watches there
//! are.
//!
//! One task for each kind follows the feed and puts every event into a [`Ring`], from which watches
//! read at their own pace. The same task keeps the [`Tally`], from which the summary is made.
//!
//! After a failure the task continues from the last revision, with a backoff. If the feed no longer
//! continues from there, ring and tally start over, and watches end with the error that makes
//! clients list again. If only the first count failed, the tally alone starts over.

mod ring;

pub(crate) use ring::{FeedItem, Ring, RingRead, RingReader};

use crate::summary::Tally;
use futures_util::StreamExt;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tko_core::select::MAX_PAGE;
use tko_core::{DataApi, Error, Key, Kind, List, Result, Revision, Select, Watch};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// First and longest pause after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

const KINDS: [Kind; 4] = [Kind::Template, Kind::Site, Kind::Deployment, Kind::Plugin];

/// The feeds of all kinds, and the tally that is kept by following them.
pub(crate) struct Feeds {
    rings: [Arc<Ring>; 4],
    tally: Arc<Mutex<Tally>>,
    changed: watch::Sender<u64>,
}

impl Feeds {
    /// Starts to follow the feeds, until `ending`. Call it within a runtime.
    pub(crate) fn follow(
        api: &Arc<dyn DataApi>,
        backlog: usize,
        ending: &CancellationToken,
    ) -> Arc<Self> {
        let feeds = Arc::new(Self {
            rings: KINDS.map(|_| Arc::new(Ring::new(backlog))),
            tally: Arc::new(Mutex::new(Tally::default())),
            changed: watch::Sender::new(0),
        });
        for kind in KINDS {
            let follower = Follower {
                api: api.clone(),
                kind,
                feeds: feeds.clone(),
            };
            let ending = ending.clone();
            tokio::spawn(async move {
                ending.run_until_cancelled(follower.run()).await;
            });
        }
        feeds
    }

    /// The ring of a kind.
    pub(crate) fn ring(&self, kind: Kind) -> &Arc<Ring> {
        &self.rings[index(kind)]
    }

    /// The tally, locked. Hold it briefly.
    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever the tally does.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

pub(crate) fn index(kind: Kind) -> usize {
    match kind {
        Kind::Template => 0,
        Kind::Site => 1,
        Kind::Deployment => 2,
        Kind::Plugin => 3,
    }
}

/// How far a follower is. It starts at the end of the feed.
#[derive(Default)]
struct FeedPlace {
    /// The revision up to which the ring has all events; `None` before the start.
    after: Option<Revision>,
    /// Whether all entities that exist were counted; until then a failure starts the tally over.
    is_counted: bool,
}

/// Follows the feed of one kind.
struct Follower {
    api: Arc<dyn DataApi>,
    kind: Kind,
    feeds: Arc<Feeds>,
}

impl Follower {
    async fn run(self) {
        let mut backoff = BACKOFF.0;
        let mut place = FeedPlace::default();
        loop {
            let failed = self.follow(&mut place, &mut backoff).await;
            match failed {
                Err(Error::Expired { .. }) => {
                    tracing::warn!(kind = %self.kind, "the feed does not continue; starting over");
                    place = FeedPlace::default();
                }
                Err(error) => {
                    let error = error.chain();
                    tracing::warn!(kind = %self.kind, error, ?backoff, "cannot follow the feed");
                }
                Ok(()) => {}
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    /// Follows the feed from this place until it fails.
    async fn follow(&self, place: &mut FeedPlace, backoff: &mut Duration) -> Result<()> {
        let ring = self.feeds.ring(self.kind);
        let start = if let Some(revision) = place.after {
            revision
        } else {
            let revision = self.api.feed_position().await?.revision;
            ring.restart(revision);
            place.after = Some(revision);
            revision
        };
        // Entities that are being deleted are counted, too.
        let select = Select::all(self.kind).deleting(true);
        let mut events = self.api.watch(Watch::new(select, start));
        let mut count = None;
        if !place.is_counted {
            self.feeds.tally().restart(self.kind);
            count = Some(Box::pin(self.count()));
        }
        let mut touched = HashSet::new();
        loop {
            // The entities that exist are counted while events come in. An event is newer than the
            // listed state of the same entity, or is followed by one that is.
            tokio::select! {
                counted = async { count.as_mut().expect("checked").next().await },
                    if count.is_some() =>
                {
                    if let Some(page) = counted.transpose()? {
                        let mut tally = self.feeds.tally();
                        for record in page.items {
                            if !touched.contains(&record.entity.key) {
                                tally.put(&record.entity, false);
                            }
                        }
                    } else {
                        count = None;
                        touched = HashSet::new();
                        self.feeds.tally().complete(self.kind, start);
                        place.is_counted = true;
                    }
                    self.feeds.changed.send_modify(|count| *count += 1);
                }
                event = events.next() => {
                    let Some(event) = event.transpose()? else {
                        return Ok(());
                    };
                    *backoff = BACKOFF.0;
                    let item = FeedItem::from(event);
                    place.after = Some(item.revision());
                    if count.is_some()
                        && let Some(key) = item.key()
                    {
                        touched.insert(Key::clone(key));
                    }
                    self.apply(&item);
                    ring.push(item);
                    self.feeds.changed.send_modify(|count| *count += 1);
                }
            }
        }
    }

    /// The pages of all entities that exist.
    fn count(&self) -> tko_core::BoxStream<'static, Result<tko_core::Page>> {
        let select = Select::all(self.kind).deleting(true);
        self.api.clone().pages(List::new(select).limit(MAX_PAGE))
    }

    fn apply(&self, item: &FeedItem) {
        let mut tally = self.feeds.tally();
        match item {
            FeedItem::Put { record, .. } => tally.put(&record.entity, true),
            FeedItem::Gone { before, .. } => tally.remove(&before.entity),
            FeedItem::Bookmark { .. } => {}
        }
        tally.advance(self.kind, item.revision());
    }
}

#[cfg(test)]
mod tests {
    use super::{Feeds, RingRead};
    use std::sync::Arc;
    use tko_backend_memory::{Memory, MemorySettings};
    use tko_core::system::{SystemClock, TimeOrderedIds};
    use tko_core::{
        Admission, ApiCall, Caller, DataApi, Error, Guard, Guarded, Kind, NewSite, Package, Result,
        SiteId, Store, Violation, async_trait,
    };
    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;

    /// The number of lists of sites that fail.
    const FAILURES: usize = 3;

    struct AdmitAll;

    #[async_trait]
    impl Admission for AdmitAll {
        async fn admit(&self, _: &Package, _: bool) -> Result<Vec<Violation>> {
            Ok(Vec::new())
        }
    }

    /// Fails the first lists of sites, and counts them.
    struct FirstCountsGuard(watch::Sender<usize>);

    impl Guard for FirstCountsGuard {
        fn check(&self, _: Option<&Caller>, call: ApiCall<'_>) -> Result<()> {
            let failed = *self.0.borrow();
            if let ApiCall::List(list) = call
                && list.select.kind == Kind::Site
                && failed < FAILURES
            {
                self.0.send_replace(failed + 1);
                return Err(Error::unavailable("list sites", "the database restarts"));
            }
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_that_fails_does_not_end_the_watches() {
        let memory = Memory::new(Arc::new(SystemClock::new()), MemorySettings::default());
        let store = Arc::new(Store::new(
            Arc::new(memory),
            Arc::new(AdmitAll),
            Arc::new(TimeOrderedIds),
        ));
        let (failed, mut failures) = watch::channel(0);
        let guarded = Guarded::new(store.clone(), FirstCountsGuard(failed));
        let api: Arc<dyn DataApi> = Arc::new(guarded);
        let feeds = Feeds::follow(&api, 100, &CancellationToken::new());
        let first = failures.wait_for(|failed| *failed >= 1).await;
        drop(first.expect("the guard is there"));
        let mut reader = feeds.ring(Kind::Site).read_new();
        let last = failures.wait_for(|failed| *failed >= FAILURES).await;
        drop(last.expect("the guard is there"));
        let site = SiteId::new("a").expect("an id");
        let new = NewSite::new(site, Package::default());
        store.register_site(new).await.expect("valid");
        assert!(matches!(reader.next().await, RingRead::Items(_)));
    }
}
