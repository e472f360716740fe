//! Faults of watches.

use crate::broken::Broken;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use std::sync::Arc;
use tko_core::{Error, Event, Result, Watch, WorkerApi};

impl Broken {
    pub(crate) fn broken_watch(&self, mut watch: Watch) -> BoxStream<'static, Result<Event>> {
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
        let stale = self.is("an entity that starts to match has not entered");
        if self.is("expired changes are skipped") {
            return resumed(self.inner.clone(), watch);
        }
        let events = self.inner.watch(watch).map(move |event| match event? {
            Event::Put {
                revision, record, ..
            } if stale => Ok(Event::Put {
                revision,
                record,
                entered: false,
            }),
            event => Ok(event),
        });
        events.boxed()
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
