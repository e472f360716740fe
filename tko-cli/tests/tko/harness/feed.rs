//! The progress of a server, read from its change feed.

use super::process::TIME;
use futures_util::StreamExt;
use std::collections::HashMap;
use tko_core::{DataApi, Entity, Event, Key, Kind, Revision, Select, Watch};
use tko_grpc::client::Client;
use tokio::sync::watch;

/// The counts so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FeedCounts {
    /// Changes of deployments.
    pub(crate) changes: u64,
    /// Deployments.
    pub(crate) deployments: usize,
    /// Prepared deployments.
    pub(crate) prepared: usize,
    /// Deployments that should run on a site.
    pub(crate) wanted: usize,
    /// Deployments that a scheduler has placed and reported as placed.
    pub(crate) placed: usize,
}

/// The state of one deployment.
#[derive(Clone, Copy)]
struct State {
    prepared: bool,
    wanted: bool,
    placed: bool,
}

impl State {
    fn of(entity: &Entity) -> Self {
        Self {
            prepared: entity.deployment().is_some_and(|d| d.prepared),
            wanted: entity.wanted_on().is_some(),
            placed: entity.is_scheduled(),
        }
    }
}

/// What is counted, and the count.
type Counted<'a> = (fn(State) -> bool, &'a mut usize);

impl FeedCounts {
    fn counts(&mut self) -> [Counted<'_>; 3] {
        [
            (|state| state.prepared, &mut self.prepared),
            (|state| state.wanted, &mut self.wanted),
            (|state| state.placed, &mut self.placed),
        ]
    }
}

/// Follows the deployments of a server.
pub(crate) struct Feed(watch::Receiver<FeedCounts>);

impl Feed {
    pub(crate) fn of(client: &Client) -> Self {
        let mut events = client.watch(Watch::new(
            Select::all(Kind::Deployment),
            Revision::default(),
        ));
        let (tell, counts) = watch::channel(FeedCounts::default());
        tokio::spawn(async move {
            let mut there: HashMap<Key, State> = HashMap::new();
            while let Some(event) = events.next().await {
                let (was, is) = match event {
                    Ok(Event::Put { record, .. }) => {
                        let state = State::of(&record.entity);
                        let was = there.insert(record.entity.key.clone(), state);
                        (was, Some(state))
                    }
                    Ok(Event::Gone { before, .. }) => (there.remove(&before.entity.key), None),
                    Ok(_) => continue,
                    // Receivers notice the closed channel.
                    Err(_) => return,
                };
                tell.send_modify(|counts| {
                    counts.changes += 1;
                    counts.deployments = there.len();
                    for (state, count) in counts.counts() {
                        *count -= usize::from(was.is_some_and(state));
                        *count += usize::from(is.is_some_and(state));
                    }
                });
            }
        });
        Self(counts)
    }

    pub(crate) fn now(&self) -> FeedCounts {
        *self.0.borrow()
    }

    /// Waits for a condition. Fails if there is no progress for too long. Work that is tried again
    /// waits longer each time, so that is twice the time that others get.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&FeedCounts) -> bool) -> FeedCounts {
        let mut counts = self.0.clone();
        loop {
            let now = *counts.borrow_and_update();
            if is(&now) {
                return now;
            }
            let changed = tokio::time::timeout(2 * TIME, counts.changed()).await;
            changed
                .unwrap_or_else(|_| {
                    panic!(
                        "not {what}, and nothing happened for {:?}: {now:?}",
                        2 * TIME
                    )
                })
                .unwrap_or_else(|_| panic!("the feed ended before {what}: {now:?}"));
        }
    }
}
