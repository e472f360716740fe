//! How far a server is, heard from its change feed.

use super::process::TIME;
use futures_util::StreamExt;
use std::collections::HashMap;
use tko_core::{Data, Event, Kind, Revision, Select, Watch};
use tko_grpc::client::Client;
use tokio::sync::watch;

/// What a feed has told so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// Changes of deployments.
    pub(crate) changes: u64,
    /// Deployments.
    pub(crate) deployments: usize,
    /// Of them, prepared.
    pub(crate) prepared: usize,
    /// Of them, to run on a site.
    pub(crate) wanted: usize,
    /// Of these, put there by a scheduler.
    pub(crate) placed: usize,
}

/// Follows the deployments of a server.
pub(crate) struct Feed(watch::Receiver<Told>);

impl Feed {
    pub(crate) fn of(client: &Client) -> Self {
        let mut events = client.watch(Watch {
            select: Select::all(Kind::Deployment),
            after: Revision::default(),
            package: false,
        });
        let (tell, told) = watch::channel(Told::default());
        tokio::spawn(async move {
            let mut there = HashMap::new();
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Put { record, .. }) => {
                        let row = record.entity.deployment();
                        let prepared = row.is_some_and(|d| d.prepared);
                        let site = record.entity.wanted_on();
                        let place = row.and_then(|d| d.placed.as_ref()).map(|(at, _)| at);
                        let placed = site.is_some() && place == site;
                        there.insert(
                            record.entity.key.clone(),
                            (prepared, site.is_some(), placed),
                        );
                    }
                    Ok(Event::Gone { before, .. }) => {
                        there.remove(&before.entity.key);
                    }
                    Ok(Event::Bookmark { .. }) => continue,
                    // Whoever waits is told by the end of the channel.
                    Err(_) => return,
                }
                tell.send_modify(|told| {
                    told.changes += 1;
                    told.deployments = there.len();
                    told.prepared = there.values().filter(|(prepared, ..)| *prepared).count();
                    told.wanted = there.values().filter(|(_, wanted, _)| *wanted).count();
                    told.placed = there.values().filter(|(.., placed)| *placed).count();
                });
            }
        });
        Self(told)
    }

    pub(crate) fn now(&self) -> Told {
        *self.0.borrow()
    }

    /// Waits until it is so, as long as there is progress.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&Told) -> bool) -> Told {
        let mut told = self.0.clone();
        loop {
            let now = *told.borrow_and_update();
            if is(&now) {
                return now;
            }
            let changed = tokio::time::timeout(TIME, told.changed()).await;
            changed
                .unwrap_or_else(|_| {
                    panic!("not {what}, and nothing happened for {TIME:?}: {now:?}")
                })
                .unwrap_or_else(|_| panic!("the feed ended before {what}: {now:?}"));
        }
    }
}
