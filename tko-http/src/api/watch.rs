//! Watches as server-sent events.
//!
//! The `id` of each event is its revision, so a browser that reconnects resumes there by
//! `Last-Event-ID`. Events come from the ring that all watches of a kind share. A watch that starts
//! further back reads the feed itself until it has caught up with the ring.

use crate::context::{ApiCaller, SharedContext};
use crate::feed::{FeedItem, Ring, RingRead, RingReader};
use crate::problem::{HttpResult, ProblemResponse};
use crate::query::ApiQuery;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{BoxStream, DataApi, Error, Event, Kind, List, Result, Revision, Select, Watch};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Number of events that do not concern a watch after which it gets a bookmark.
const QUIET: u32 = 256;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Streams the changes of the selected entities after a revision.
pub(super) async fn watch(
    State(context): State<SharedContext>,
    caller: ApiCaller,
    headers: HeaderMap,
    mut query: ApiQuery,
) -> HttpResult {
    let api = &caller.api;
    let kind: Kind = query.word("kind")?.ok_or_else(|| {
        Error::bad(
            "kind",
            "is missing; give template, site, deployment or plugin",
        )
    })?;
    let select = query.select(kind)?;
    let after = query.number::<u64>("after")?.map(Revision);
    query.end()?;
    if !select.is_watchable() {
        let detail = "a watch cannot select by the metadata of a template or site, because their \
                      changes are not changes of their deployments; watch templates or sites as well";
        return Err(ProblemResponse::bad(detail));
    }
    let resumed = match headers.get(LAST_EVENT_ID) {
        None => None,
        Some(id) => {
            let id = id.to_str().ok().and_then(|id| id.parse().ok());
            Some(id.ok_or_else(|| ProblemResponse::bad("Last-Event-ID: expected a revision"))?)
        }
    };
    let permit = watch_permit(&context)?;
    // A caller who may list the selection may watch it.
    let position = api
        .list(&List::new(select.clone()).limit(1))
        .await?
        .revision;
    let ring = context.feeds.ring(kind).clone();
    let wanted = resumed.map(Revision).or(after).unwrap_or(position);
    let (expired, after) = match expired(&**api, wanted).await? {
        None => (None, wanted),
        Some((event, current)) => (Some(event), current),
    };
    // A restricted caller gets events from the API, which leaves out what the caller may not see.
    let ring = caller.reads_all().then_some(ring);
    let source = match ring.as_ref().and_then(|ring| ring.read_after(after)) {
        Some(reader) => EventSource::Ring(reader),
        None => EventSource::Own(api.watch(Watch::new(select.clone(), after)), ring),
    };
    let state = WatchState {
        source,
        select,
        after,
        quiet: 0,
        heartbeat: context.settings.heartbeat,
        ending: context.ending.clone(),
        _permit: permit,
    };
    let events = stream::unfold(state, |mut state| async move {
        let text = state.next().await?;
        Some((text, state))
    });
    Ok(event_stream(stream::iter(expired).chain(events)))
}

/// The event that tells a client to list again, and the revision from which the watch continues.
/// `None` if the feed has every change after `after`.
async fn expired(api: &dyn DataApi, after: Revision) -> Result<Option<(String, Revision)>> {
    let position = api.feed_position().await?;
    if (position.oldest..=position.revision).contains(&after) {
        return Ok(None);
    }
    let data = json!({
        "detail": "the feed does not continue from that revision; list again",
        "oldest": position.oldest.0,
        "revision": position.revision.0,
    });
    let event = event("expired", Some(position.revision), &data);
    Ok(Some((event, position.revision)))
}

/// A permit for one more watch.
pub(crate) fn watch_permit(
    context: &SharedContext,
) -> std::result::Result<OwnedSemaphorePermit, ProblemResponse> {
    context.watches.clone().try_acquire_owned().map_err(|_| {
        let detail = "the server has too many watches; retry later";
        ProblemResponse::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    })
}

/// Server-sent events as a response.
pub(crate) fn event_stream(events: impl Stream<Item = String> + Send + 'static) -> Response {
    // The first line shows clients at once that the watch is open.
    let opened = stream::iter([": open\n\n".to_owned()]);
    let events = opened
        .chain(events)
        .map(|text| Ok::<_, Infallible>(Bytes::from(text)));
    let mut response = Body::from_stream(events).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Buffering proxies would delay events.
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

/// One server-sent event.
pub(crate) fn event(name: &str, id: Option<Revision>, data: &Value) -> String {
    let mut text = format!("event: {name}\n");
    if let Some(id) = id {
        // Writing to a string does not fail.
        let _ = writeln!(text, "id: {id}");
    }
    // JSON has no line breaks.
    let _ = write!(text, "data: {data}\n\n");
    text
}

/// The source of the events of a watch.
enum EventSource {
    Ring(RingReader),
    /// The feed itself, until the ring has every event that follows. A restricted caller always
    /// reads it.
    Own(BoxStream<'static, Result<Event>>, Option<Arc<Ring>>),
}

/// An open watch.
struct WatchState {
    source: EventSource,
    select: Select,
    /// The revision up to which the client has every event.
    after: Revision,
    quiet: u32,
    heartbeat: Duration,
    ending: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl WatchState {
    /// The text of the next events; `None` ends the watch.
    async fn next(&mut self) -> Option<String> {
        // One deadline: changes that the watch leaves out must not postpone the heartbeat.
        let heartbeat = Instant::now() + self.heartbeat;
        loop {
            let ending = self.ending.clone();
            let text = tokio::select! {
                text = self.read() => text?,
                () = tokio::time::sleep_until(heartbeat) => {
                    return Some(": heartbeat\n\n".to_owned());
                }
                () = ending.cancelled() => return None,
            };
            if !text.is_empty() {
                return Some(text);
            }
        }
    }

    /// Reads the entities that exist. Cancel safe.
    async fn read(&mut self) -> Option<String> {
        match &mut self.source {
            EventSource::Ring(reader) => match reader.next().await {
                RingRead::Items(items) => {
                    let mut text = String::new();
                    for item in &items {
                        if item.revision() > self.after {
                            self.after = item.revision();
                            self.write(&mut text, item);
                        }
                    }
                    Some(text)
                }
                // A client that is too slow is disconnected; it resumes from its last event.
                RingRead::Lost => None,
            },
            EventSource::Own(events, ring) => {
                let ring = ring.clone();
                let event = match events.next().await? {
                    Ok(event) => FeedItem::from(event),
                    Err(error) => {
                        tracing::debug!(error = error.chain(), "a watch failed");
                        return None;
                    }
                };
                self.after = event.revision();
                let mut text = String::new();
                self.write(&mut text, &event);
                if let Some(reader) = ring.and_then(|ring| ring.read_after(self.after)) {
                    self.source = EventSource::Ring(reader);
                }
                Some(text)
            }
        }
    }

    fn write(&mut self, text: &mut String, item: &FeedItem) {
        let (name, data) = match item {
            FeedItem::Put {
                record, created, ..
            } if self.select.matches(&record.entity) => {
                let name = if *created { "added" } else { "changed" };
                (name, super::entity::shown(record))
            }
            // It ceased to match, or is being deleted: clients remove it if they had it.
            FeedItem::Put { record, .. } => {
                let key = &record.entity.key;
                if !may_have_matched(&self.select, key.id()) {
                    return self.skip(text, item.revision());
                }
                ("removed", json!({"id": key.id()}))
            }
            FeedItem::Gone { before, .. } => ("removed", json!({"id": before.entity.key.id()})),
            FeedItem::Bookmark { revision } => {
                text.push_str(&event("bookmark", Some(*revision), &json!({})));
                self.quiet = 0;
                return;
            }
        };
        self.quiet = 0;
        text.push_str(&event(name, Some(item.revision()), &data));
    }

    fn skip(&mut self, text: &mut String, revision: Revision) {
        self.quiet += 1;
        if self.quiet >= QUIET {
            self.quiet = 0;
            text.push_str(&event("bookmark", Some(revision), &json!({})));
        }
    }
}

/// Whether an entity with this id can ever match: ids do not change, everything else can.
fn may_have_matched(select: &Select, id: &str) -> bool {
    let name = id.split_once('|').map_or(id, |(_, name)| name);
    select.ids.iter().all(|pattern| pattern.matches(name))
}

#[cfg(test)]
mod tests {
    use super::{EventSource, WatchState};
    use crate::feed::{FeedItem, Ring};
    use std::sync::Arc;
    use std::time::Duration;
    use tko_core::{Entity, Facts, Kind, Pattern, Record, Revision, Select, SiteId};
    use tokio::sync::Semaphore;
    use tokio_util::sync::CancellationToken;

    #[tokio::test(start_paused = true)]
    async fn changes_of_other_entities_do_not_postpone_the_heartbeat() {
        let ring = Arc::new(Ring::new(100));
        ring.restart(Revision(0));
        let permits = Arc::new(Semaphore::new(1));
        let mut watch = WatchState {
            source: EventSource::Ring(ring.read_new()),
            select: Select::all(Kind::Site).id(Pattern::literal("watched")),
            after: Revision(0),
            quiet: 0,
            heartbeat: Duration::from_secs(15),
            ending: CancellationToken::new(),
            _permit: permits.try_acquire_owned().expect("a permit"),
        };
        let id = SiteId::new("other").expect("an id");
        let other = Record::new(Entity::new(id, Facts::site(None, None)));
        let changing = async {
            for revision in 1.. {
                tokio::time::sleep(Duration::from_secs(10)).await;
                ring.push(FeedItem::Put {
                    revision: Revision(revision),
                    record: other.clone(),
                    created: false,
                });
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(16), watch.next());
        tokio::select! {
            text = in_time => {
                let text = text.expect("a heartbeat in time");
                assert_eq!(text.as_deref(), Some(": heartbeat\n\n"));
            }
            () = changing => unreachable!("other entities change all the time"),
        }
    }
}
