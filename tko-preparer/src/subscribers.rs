//! Follows the feed, and enqueues the deployments that subscribed to changed entities.
//!
//! Watches sites and templates, and receives changes of plugins. Deployments keep their
//! [subscriptions](tko_core::subscription) in metadata, so the subscribers of a change are found
//! through the metadata index, a page at a time. Changes that arrive while others are processed
//! form one batch, so a burst costs little more than one change.
//!
//! Several processes may enqueue the same deployment; that is harmless. Missed events are repaired:
//! all deployments with selections are enqueued at the start, after a gap in the feed, and at every
//! [`resync`](crate::PrepareSettings::resync). A deployment that waits for one entity is retried
//! after at most 5 minutes.

mod decisions;
mod entity_change;
#[cfg(test)]
mod tests;

use crate::context::PrepareContext;
use decisions::SelectionDecisions;
use entity_change::{EntityChange, load_prior_states};
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt, select};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use tko_core::metadata::INVENTORY_GONE;
use tko_core::pattern::Pattern;
use tko_core::subscription::{
    cares, is_persistent, selection_keys, waits_for_entity, waits_for_preparer,
};
use tko_core::{
    Enqueue, Entity, Error, Event, Gvk, Key, Kind, List, MAX_CHANGES, Metadata, Page, Result,
    Revision, Select, Stage, Watch, triggers,
};
use tko_worker::{Ready, Retry};
use tokio::sync::mpsc::UnboundedReceiver;

/// Maximum number of events in one batch.
const BATCH: usize = 1_000;
/// Maximum number of lookups in one call.
const LOOKUPS: usize = 200;
/// Maximum number of histories that are read at the same time.
const HISTORIES: usize = 16;
/// The kinds whose changes are followed.
const KINDS: [Kind; 2] = [Kind::Site, Kind::Template];

/// Follows the feed for all deployments that have subscriptions.
pub(crate) struct SubscriberFeed {
    context: Arc<PrepareContext>,
    /// The position in the feed of each kind; empty before the first event and after a gap.
    positions: BTreeMap<Kind, Revision>,
    /// Whether all deployments with selections are yet to be enqueued.
    selections_due: bool,
    /// Triggers of changed plugins whose deployments are yet to be enqueued.
    triggers_due: BTreeSet<Gvk>,
}

impl SubscriberFeed {
    pub(crate) fn new(context: Arc<PrepareContext>) -> Self {
        Self {
            context,
            positions: BTreeMap::new(),
            selections_due: false,
            triggers_due: BTreeSet::new(),
        }
    }

    /// Runs until it is dropped. It is ready once no later change can be missed. `triggers`
    /// delivers the triggers of changed plugins.
    ///
    /// # Errors
    ///
    /// A [permanent](tko_worker::is_permanent) error.
    pub(crate) async fn run(
        mut self,
        ready: Ready,
        mut triggers: UnboundedReceiver<Vec<Gvk>>,
    ) -> Result<Infallible> {
        let mut retry = Retry::new(self.context.clock.clone());
        let mut ready = Some(ready);
        loop {
            let followed = async {
                if self.positions.is_empty() {
                    let now = self.context.data.feed_position().await?.revision;
                    self.positions = KINDS.into_iter().map(|kind| (kind, now)).collect();
                    self.selections_due = true;
                    if let Some(ready) = ready.take() {
                        ready.set();
                    }
                }
                self.follow(&mut triggers, &mut retry).await
            };
            match followed.await {
                Ok(()) => retry.pause_before_reopening().await,
                // A gap: start over at the current position.
                Err(Error::Expired { .. }) => self.positions.clear(),
                Err(error) => retry.pause("follow subscriptions", error).await?,
            }
        }
    }

    /// Follows the feed until it ends.
    async fn follow(
        &mut self,
        triggers: &mut UnboundedReceiver<Vec<Gvk>>,
        retry: &mut Retry,
    ) -> Result<()> {
        let context = self.context.clone();
        let mut events = self.watch(Kind::Site);
        events = Box::pin(select(events, self.watch(Kind::Template)));
        let mut events = events.ready_chunks(BATCH);
        let mut resync = context.clock.sleep(context.settings.resync);
        let mut plugins = Vec::new();
        loop {
            self.enqueue_due().await?;
            tokio::select! {
                events = events.next() => {
                    let Some(events) = events else { return Ok(()) };
                    self.process(events).await?;
                    retry.reset();
                }
                _ = triggers.recv_many(&mut plugins, BATCH), if !triggers.is_closed() => {
                    self.triggers_due.extend(plugins.drain(..).flatten());
                }
                () = &mut resync => {
                    self.selections_due = true;
                    resync = context.clock.sleep(context.settings.resync);
                }
            }
        }
    }

    fn watch(&self, kind: Kind) -> BoxStream<'static, (Kind, Result<Event>)> {
        let watch = Watch::new(
            Select::all(kind),
            self.positions.get(&kind).copied().unwrap_or_default(),
        )
        // No deployment subscribes to conditions, which change with every pass over a site.
        .edits(true);
        let events = self.context.data.watch(watch);
        Box::pin(events.map(move |event| (kind, event)))
    }

    async fn process(&mut self, events: Vec<(Kind, Result<Event>)>) -> Result<()> {
        let mut positions = self.positions.clone();
        let mut changes: BTreeMap<Kind, BTreeMap<Key, EntityChange>> = BTreeMap::new();
        let mut broken = None;
        for (kind, event) in events {
            match event {
                Ok(event) => {
                    positions.insert(kind, event.revision());
                    EntityChange::collect(changes.entry(kind).or_default(), event);
                }
                Err(error) => broken = broken.or(Some(error)),
            }
        }
        for (kind, mut changes) in changes {
            let keys = changes.keys().map(waits_for_entity).collect();
            self.enqueue_all_with(keys).await?;
            if !changes.is_empty() {
                self.enqueue_matching(kind, &mut changes).await?;
            }
        }
        // Only after all are enqueued: events whose processing failed are read again.
        self.positions = positions;
        broken.map_or(Ok(()), Err)
    }

    /// Enqueues what a resync, a gap in the feed or a change of plugins made due. After an error it
    /// is still due.
    async fn enqueue_due(&mut self) -> Result<()> {
        if self.selections_due {
            self.enqueue_selections().await?;
            self.selections_due = false;
        }
        if !self.triggers_due.is_empty() {
            let keys = self.triggers_due.iter().map(waits_for_preparer).collect();
            self.enqueue_all_with(keys).await?;
            self.triggers_due.clear();
        }
        Ok(())
    }

    /// Enqueues all deployments that have one of these metadata keys, page by page.
    async fn enqueue_all_with(&self, keys: Vec<String>) -> Result<()> {
        let data = &self.context.data;
        for keys in keys.chunks(LOOKUPS) {
            let lists: Vec<List> = keys.iter().map(|key| with(key)).collect();
            let mut first = Vec::new();
            let mut rest = Vec::new();
            for (page, list) in data.list_all(&lists).await?.into_iter().zip(lists) {
                first.extend(preparations(&page));
                if let Some(after) = page.next {
                    rest.push(list.after(after));
                }
            }
            self.enqueue(first).await?;
            for list in rest {
                let mut pages = data.clone().pages(list);
                while let Some(page) = pages.try_next().await? {
                    self.enqueue(preparations(&page)).await?;
                }
            }
        }
        Ok(())
    }

    /// Enqueues all deployments with a selection that one of these changes concerns, page by page.
    async fn enqueue_matching(
        &self,
        kind: Kind,
        changes: &mut BTreeMap<Key, EntityChange>,
    ) -> Result<()> {
        for key in selection_keys(kind) {
            let persistent = is_persistent(&key);
            let mut knows_prior_states = !persistent;
            let mut decisions = SelectionDecisions::default();
            let mut pages = self.context.data.clone().pages(with(&key));
            while let Some(page) = pages.try_next().await? {
                if !knows_prior_states && !page.items.is_empty() {
                    load_prior_states(&*self.context.data, changes, HISTORIES).await?;
                    knows_prior_states = true;
                }
                let mut work = Vec::new();
                for record in &page.items {
                    let Some(selection) = record.entity.metadata.get(&key) else {
                        continue;
                    };
                    if decisions.of(selection, |text| concerns(changes, text, persistent)) {
                        work.push(preparation(&record.entity));
                    }
                }
                self.enqueue(work).await?;
            }
        }
        Ok(())
    }

    /// Enqueues all deployments with selections, whether or not something changed.
    async fn enqueue_selections(&self) -> Result<()> {
        let keys = KINDS.into_iter().flat_map(selection_keys).collect();
        self.enqueue_all_with(keys).await
    }

    async fn enqueue(&self, mut work: Vec<Enqueue>) -> Result<()> {
        work.sort_by(|one, other| one.key.cmp(&other.key));
        work.dedup_by(|one, other| one.key == other.key);
        for chunk in work.chunks(MAX_CHANGES) {
            tracing::debug!(deployments = chunk.len(), "enqueued subscribers");
            self.context.data.enqueue(chunk.to_vec()).await?;
        }
        Ok(())
    }
}

/// Whether one of the changes concerns a selection, which outlives the preparation or does not.
fn concerns(changes: &BTreeMap<Key, EntityChange>, selection: &str, persistent: bool) -> bool {
    let matches = |metadata: &Metadata| cares(selection, metadata);
    // A site that its inventory has again gets its child.
    let is_usable =
        |metadata: &Metadata| matches(metadata) && !metadata.contains_key(INVENTORY_GONE);
    changes.values().any(|change| {
        if persistent {
            change.enters_or_leaves(matches) || change.enters_or_leaves(is_usable)
        } else {
            change.matches_now(matches)
        }
    })
}

/// The listing of all deployments that have this metadata key.
fn with(key: &str) -> List {
    let anything = Pattern::value("*").expect("a star is a pattern");
    let mut select = Select::all(Kind::Deployment);
    select.metadata.insert(key.to_owned(), anything);
    List::new(select).limit(0)
}

fn preparations(page: &Page) -> Vec<Enqueue> {
    let records = page.items.iter();
    records.map(|record| preparation(&record.entity)).collect()
}

fn preparation(entity: &Entity) -> Enqueue {
    Enqueue::now(Stage::Prepare, entity.key.clone(), triggers::lane(entity))
}
