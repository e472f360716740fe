//! Watches the demo's fleet as anyone may watch any store: two watches, and a tally.
//!
//! It remembers every entity's key, which is fine for a demo's own fleet and would not be
//! for a million strangers'.

use futures_util::StreamExt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tko_core::entity::{PREPARED, SCHEDULED};
use tko_core::{DataApi, Entity, Event, Key, Kind, Revision, Select, Watch};
use tokio::sync::watch;

/// How many are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) sites: usize,
    pub(super) provisioned: usize,
    pub(super) scheduled_sites: usize,
    pub(super) deployments: usize,
    pub(super) prepared: usize,
    pub(super) approved: usize,
    pub(super) placed: usize,
    pub(super) refused: usize,
}

#[derive(Default)]
struct Seen {
    counted: HashMap<Key, Tally>,
    tally: Tally,
}

/// Follows a store from its beginning.
pub(super) struct Observer {
    tally: watch::Receiver<Tally>,
    tasks: tokio::task::JoinSet<tko_core::Result<()>>,
}

impl Observer {
    pub(super) fn start(data: &Arc<dyn DataApi>) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (told, tally) = watch::channel(Tally::default());
        let told = Arc::new(told);
        let mut tasks = tokio::task::JoinSet::new();
        for kind in [Kind::Site, Kind::Deployment] {
            let (data, seen, told) = (data.clone(), seen.clone(), told.clone());
            tasks.spawn(async move {
                let mut events = data.watch(Watch {
                    select: Select::all(kind),
                    after: Revision::default(),
                    package: false,
                });
                while let Some(event) = events.next().await {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.take(event?);
                    told.send_replace(seen.tally);
                }
                Ok(())
            });
        }
        Self { tally, tasks }
    }

    /// As far as it was seen.
    pub(super) fn now(&self) -> Tally {
        *self.tally.borrow()
    }

    /// Waits for a change, and answers with what there is then.
    pub(super) async fn changed(&mut self) -> tko_core::Result<Tally> {
        tokio::select! {
            changed = self.tally.changed() => match changed {
                Ok(()) => Ok(*self.tally.borrow_and_update()),
                Err(_) => Err(tko_core::Error::unavailable("watch the fleet", "the watch ended")),
            },
            Some(ended) = self.tasks.join_next() => match ended {
                Ok(Err(error)) => Err(error),
                Ok(Ok(())) => Err(tko_core::Error::unavailable("watch the fleet", "the watch ended")),
                Err(error) => Err(tko_core::Error::internal("watch the fleet", error)),
            },
        }
    }
}

impl Seen {
    fn take(&mut self, event: Event) {
        let (key, after) = match event {
            Event::Put { record, .. } => {
                (record.entity.key.clone(), Some(Tally::of(&record.entity)))
            }
            Event::Gone { before, .. } => (before.entity.key.clone(), None),
            Event::Bookmark { .. } => return,
        };
        let before = match after {
            Some(tally) => self.counted.insert(key, tally),
            None => self.counted.remove(&key),
        };
        for (number, was) in self
            .tally
            .numbers()
            .zip(before.unwrap_or_default().numbers())
        {
            *number -= *was;
        }
        for (number, is) in self
            .tally
            .numbers()
            .zip(after.unwrap_or_default().numbers())
        {
            *number += *is;
        }
    }
}

impl Tally {
    /// What one entity counts for.
    fn of(entity: &Entity) -> Self {
        let scheduled = entity
            .condition(SCHEDULED)
            .is_some_and(|condition| condition.status == Some(true));
        let Some(deployment) = entity.deployment() else {
            let made = entity.metadata.get("type");
            return Self {
                sites: 1,
                provisioned: made.is_some_and(|made| made == "provisioned").into(),
                scheduled_sites: scheduled.into(),
                ..Self::default()
            };
        };
        // What was placed earlier and has changed since is not there yet.
        let placed = deployment.placed.as_ref();
        let placed = placed.is_some_and(|(_, as_of)| *as_of == entity.generation);
        let refused = entity.condition(PREPARED).is_some_and(|condition| {
            condition.status == Some(false) && condition.reason == "Invalid"
        });
        Self {
            deployments: 1,
            prepared: deployment.prepared.into(),
            approved: deployment.approved.into(),
            placed: (scheduled && placed).into(),
            refused: refused.into(),
            ..Self::default()
        }
    }

    fn numbers(&mut self) -> impl Iterator<Item = &mut usize> {
        [
            &mut self.sites,
            &mut self.provisioned,
            &mut self.scheduled_sites,
            &mut self.deployments,
            &mut self.prepared,
            &mut self.approved,
            &mut self.placed,
            &mut self.refused,
        ]
        .into_iter()
    }
}
