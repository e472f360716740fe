//! Faults of watches.

use crate::broken::Broken;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use std::future::ready;
use std::sync::Arc;
use tko_core::{Error, Event, Result, Watch, WorkerApi, deployment_resource};

impl Broken {
    pub(crate) fn broken_watch(&self, mut watch: Watch) -> BoxStream<'static, Result<Event>> {
        watch.select = self.selected(&watch.select);
        if self.is("a watch ignores metadata filters") {
            watch.select.metadata.clear();
        }
        if self.is("joins are watched") {
            watch.select.template_metadata.clear();
            watch.select.site_metadata.clear();
        }
        if self.is("a watch begins one late") {
            watch.after.0 += 1;
        }
        if self.is("a watch begins ten late") {
            watch.after.0 += 10;
        }
        if self.is("a watch of edits shows all changes") {
            watch.edits = false;
        }
        if self.is("expired changes are skipped") {
            return resumed(self.inner.clone(), watch);
        }
        let stale = self.is("an entity that starts to match has not entered");
        let bare = self.is("events have no Deployment resource");
        let lossy = self.is("a watch loses events of a burst");
        let events = self.inner.watch(watch).enumerate();
        let events = events.filter_map(move |(at, event)| {
            let event = event.map(|event| spoilt(event, stale, bare));
            let is_change = matches!(&event, Ok(Event::Put { entered: false, .. }));
            let is_lost = lossy && at >= BURST && is_change;
            ready((!is_lost).then_some(event))
        });
        events.boxed()
    }
}

/// The number of events after which a lossy watch loses changes.
const BURST: usize = 1_000;

/// The event as a fault shows it.
fn spoilt(event: Event, stale: bool, bare: bool) -> Event {
    match event {
        Event::Put {
            revision,
            mut record,
            entered,
        } => {
            if bare && let Some(package) = &record.package {
                record.package = Some(package.without(&deployment_resource::identifier()));
            }
            Event::Put {
                revision,
                record,
                entered: entered && !stale,
            }
        }
        event => event,
    }
}

/// Continues from the oldest position wherever the feed has expired.
fn resumed(inner: Arc<dyn WorkerApi>, watch: Watch) -> BoxStream<'static, Result<Event>> {
    let events = inner.watch(watch.clone());
    events
        .flat_map(move |item| match item {
            Err(Error::Expired { oldest }) => {
                let after = oldest;
                resumed(inner.clone(), watch.clone().after(after))
            }
            item => stream::once(async { item }).boxed(),
        })
        .boxed()
}
