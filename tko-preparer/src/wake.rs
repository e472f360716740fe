//! Wakes deployments when what they wait for, or follow, changes.
//!
//! Watches sites and templates, and is told of plugins. Whatever changed is looked up among the
//! interests that deployments have written down (see [`interest`]), through the metadata index, a
//! page at a time; whoever cares is made due. Changes that come while others are worked on are
//! taken together, so a burst costs little more than one change.
//!
//! Several processes may wake the same deployment, which does no harm. What nobody hears of (no
//! process was running, the feed did not reach back so far) heals: selections are looked at at the
//! start, after a gap and at every [`interval`](crate::Settings::interval), whoever waits for one
//! entity is looked at again after a backoff of at most 5 minutes.

mod change;

use crate::controller::{Shared, passes};
use change::Change;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt, select};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use tko_core::pattern::Pattern;
use tko_core::subscription::{
    cares, is_persistent, selection_keys, waits_for_entity, waits_for_preparer,
};
use tko_core::work::backoff;
use tko_core::{
    Enqueue, Entity, Error, Event, Gvk, Key, Kind, List, MAX_CHANGES, Metadata, Result, Revision,
    Select, Stage, Want, Watch, triggers,
};
use tokio::sync::{mpsc, oneshot};

/// Most changes that are taken together.
const BATCH: usize = 1_000;
/// Most look-ups at the same time.
const LOOK_UPS: usize = 16;
/// What is waited for and noticed.
const KINDS: [Kind; 2] = [Kind::Site, Kind::Template];

pub(crate) struct Waker {
    shared: Arc<Shared>,
    /// Where each kind's feed is.
    at: BTreeMap<Kind, Revision>,
}

impl Waker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            at: BTreeMap::new(),
        }
    }

    /// Goes on for ever. `heard`: from now on no change is missed. `triggers`: of plugins that
    /// changed.
    pub(crate) async fn run(
        mut self,
        heard: oneshot::Sender<()>,
        mut triggers: mpsc::UnboundedReceiver<Vec<Gvk>>,
    ) -> Result<Infallible> {
        let mut failures = 0;
        let mut heard = Some(heard);
        loop {
            let followed = async {
                if self.at.is_empty() {
                    let now = self.shared.data.feed_position().await?.revision;
                    self.at = KINDS.into_iter().map(|kind| (kind, now)).collect();
                    if let Some(heard) = heard.take() {
                        // Nobody waits any more: it is shutting down.
                        let _ = heard.send(());
                    }
                    self.heal().await?;
                }
                self.follow(&mut triggers, &mut failures).await
            };
            match followed.await {
                // The feed ended, which it should not.
                Ok(()) => {
                    failures += 1;
                    self.shared.clock.sleep(backoff(failures, 0.0)).await;
                }
                // A gap: begin anew.
                Err(Error::Expired { .. }) => self.at.clear(),
                Err(error) => {
                    let clock = self.shared.clock.clone();
                    passes(error, &mut failures, &*clock, "follow what is waited for").await?;
                }
            }
        }
    }

    /// Until the feed ends.
    async fn follow(
        &mut self,
        triggers: &mut mpsc::UnboundedReceiver<Vec<Gvk>>,
        failures: &mut u32,
    ) -> Result<()> {
        let shared = self.shared.clone();
        let mut events = self.watch(Kind::Site);
        events = Box::pin(select(events, self.watch(Kind::Template)));
        let mut events = events.ready_chunks(BATCH);
        let mut heal = shared.clock.sleep(shared.settings.interval);
        let mut plugins = Vec::new();
        loop {
            tokio::select! {
                events = events.next() => {
                    let Some(events) = events else { return Ok(()) };
                    self.take(events).await?;
                    *failures = 0;
                }
                _ = triggers.recv_many(&mut plugins, BATCH), if !triggers.is_closed() => {
                    let gvks: BTreeSet<Gvk> = plugins.drain(..).flatten().collect();
                    let keys = gvks.iter().map(waits_for_preparer).collect();
                    self.wake_waiting(keys).await?;
                }
                () = &mut heal => {
                    self.heal().await?;
                    heal = shared.clock.sleep(shared.settings.interval);
                }
            }
        }
    }

    fn watch(&self, kind: Kind) -> BoxStream<'static, (Kind, Result<Event>)> {
        let watch = Watch {
            select: Select::all(kind),
            after: self.at.get(&kind).copied().unwrap_or_default(),
            package: false,
        };
        let events = self.shared.data.watch(watch);
        Box::pin(events.map(move |event| (kind, event)))
    }

    async fn take(&mut self, events: Vec<(Kind, Result<Event>)>) -> Result<()> {
        let mut at = self.at.clone();
        let mut changes: BTreeMap<Kind, BTreeMap<Key, Change>> = BTreeMap::new();
        let mut broken = None;
        for (kind, event) in events {
            match event {
                Ok(event) => {
                    at.insert(kind, event.revision());
                    Change::collect(changes.entry(kind).or_default(), event);
                }
                Err(error) => broken = broken.or(Some(error)),
            }
        }
        for (kind, mut changes) in changes {
            let keys = changes.keys().map(waits_for_entity).collect();
            self.wake_waiting(keys).await?;
            if !changes.is_empty() {
                self.wake_caring(kind, &mut changes).await?;
            }
        }
        // Only now: what was not followed up is heard again.
        self.at = at;
        broken.map_or(Ok(()), Err)
    }

    /// Wakes all that have one of these metadata keys.
    async fn wake_waiting(&self, keys: Vec<String>) -> Result<()> {
        let mut found = stream::iter(keys)
            .map(|key| async move {
                let mut marks = Vec::new();
                self.each(&key, |entity, _| marks.push(mark(entity)))
                    .await?;
                Ok(marks)
            })
            .buffer_unordered(LOOK_UPS);
        let mut all = Vec::new();
        while let Some(marks) = found.next().await {
            let marks: Result<Vec<Enqueue>> = marks;
            all.extend(marks?);
        }
        self.wake(all).await
    }

    /// Wakes all that have a selection which one of these changes concerns.
    async fn wake_caring(&self, kind: Kind, changes: &mut BTreeMap<Key, Change>) -> Result<()> {
        for key in selection_keys(kind) {
            // Deployments of one template mostly have the same selection: each is judged once.
            let mut selections: BTreeMap<String, Vec<Enqueue>> = BTreeMap::new();
            self.each(&key, |entity, selection| {
                let marks = selections.entry(selection.to_owned()).or_default();
                marks.push(mark(entity));
            })
            .await?;
            let lasting = is_persistent(&key);
            if lasting && !selections.is_empty() {
                change::look_back(&*self.shared.data, changes, LOOK_UPS).await?;
            }
            selections.retain(|selection, _| {
                let matches = |metadata: &Metadata| cares(selection, metadata);
                changes.values().any(|change| {
                    if lasting {
                        change.moves(matches)
                    } else {
                        change.now(matches)
                    }
                })
            });
            self.wake(selections.into_values().flatten().collect())
                .await?;
        }
        Ok(())
    }

    /// Wakes all that have a selection, whatever changed.
    async fn heal(&self) -> Result<()> {
        let keys = KINDS.into_iter().flat_map(selection_keys).collect();
        self.wake_waiting(keys).await
    }

    /// Every deployment with this metadata key, and its value.
    async fn each(&self, key: &str, mut found: impl FnMut(&Entity, &str)) -> Result<()> {
        let anything = Pattern::value("*").expect("a star is a pattern");
        let mut select = Select::all(Kind::Deployment);
        select.metadata.insert(key.to_owned(), anything);
        let list = List {
            select,
            after: None,
            limit: 0,
            want: Want::ROW,
        };
        let mut pages = self.shared.data.clone().pages(list);
        while let Some(page) = pages.try_next().await? {
            for record in &page.items {
                if let Some(value) = record.entity.metadata.get(key) {
                    found(&record.entity, value);
                }
            }
        }
        Ok(())
    }

    async fn wake(&self, mut marks: Vec<Enqueue>) -> Result<()> {
        marks.sort_by(|one, other| one.key.cmp(&other.key));
        marks.dedup_by(|one, other| one.key == other.key);
        for chunk in marks.chunks(MAX_CHANGES) {
            tracing::debug!(deployments = chunk.len(), "waking");
            self.shared.data.enqueue(chunk.to_vec()).await?;
        }
        Ok(())
    }
}

fn mark(entity: &Entity) -> Enqueue {
    Enqueue::now(Stage::Prepare, entity.key.clone(), triggers::lane(entity))
}
