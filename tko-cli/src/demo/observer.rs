//! Counts the demo's entities by state, using two watches.
//!
//! Keeps every key in memory. That is fine for the demo, but not for a fleet of unknown size.

use futures_util::StreamExt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tko_core::entity::{PREPARED, SCHEDULED};
use tko_core::{DataApi, Entity, Event, Key, Kind, Revision, Select, Watch};
use tokio::sync::watch;

/// The number of entities in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FleetTally {
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
struct FleetCounter {
    counted: HashMap<Key, FleetTally>,
    tally: FleetTally,
}

/// Follows a store from its first change.
pub(super) struct FleetObserver {
    tally: watch::Receiver<FleetTally>,
    tasks: tokio::task::JoinSet<tko_core::Result<()>>,
}

impl FleetObserver {
    pub(super) fn start(data: &Arc<dyn DataApi>) -> Self {
        let seen = Arc::new(Mutex::new(FleetCounter::default()));
        let (sender, tally) = watch::channel(FleetTally::default());
        let sender = Arc::new(sender);
        let mut tasks = tokio::task::JoinSet::new();
        for kind in [Kind::Site, Kind::Deployment] {
            let (data, seen, sender) = (data.clone(), seen.clone(), sender.clone());
            tasks.spawn(async move {
                let mut events = data.watch(Watch::new(Select::all(kind), Revision::default()));
                while let Some(event) = events.next().await {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.take(event?);
                    sender.send_replace(seen.tally);
                }
                Ok(())
            });
        }
        Self { tally, tasks }
    }

    /// The latest counts.
    pub(super) fn now(&self) -> FleetTally {
        *self.tally.borrow()
    }

    /// Waits for a change and returns the new counts.
    pub(super) async fn changed(&mut self) -> tko_core::Result<FleetTally> {
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

impl FleetCounter {
    fn take(&mut self, event: Event) {
        let (key, after) = match event {
            Event::Put { record, .. } => (
                record.entity.key.clone(),
                Some(FleetTally::of(&record.entity)),
            ),
            Event::Gone { before, .. } => (before.entity.key.clone(), None),
            _ => return,
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

impl FleetTally {
    /// The contribution of one entity.
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
        let refused = entity.condition(PREPARED).is_some_and(|condition| {
            condition.status == Some(false) && condition.reason == "Invalid"
        });
        Self {
            deployments: 1,
            prepared: deployment.prepared.into(),
            approved: deployment.approved.into(),
            placed: entity.is_scheduled().into(),
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
