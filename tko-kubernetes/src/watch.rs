//! Watches of the metadata of objects, with limits of size and time.
//!
//! `kube::runtime::watcher` lists the objects itself, and `kube::Client::request_events` has no limit
//! for the size of an event. Here, the lists are those of the scheduler's calls, and clusters are not
//! trusted.

use crate::client::{ClusterClient, escaped};
use crate::failure::RequestFailure;
use http_body_util::BodyExt;
use kube::client::Body;
use kube::core::Status;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The parts of objects to send. A server that does not support this sends whole objects.
const METADATA: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

/// The longest watch, which the server is asked to end.
const LONGEST: Duration = Duration::from_secs(280);

/// The extra time after which this side ends a watch, if the server has not ended it: the
/// connection may be lost without notice.
const GRACE: Duration = Duration::from_secs(20);

/// Maximum size of one event, in bytes.
const MAX_EVENT: usize = 8 << 20;

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// The object was created or changed, or begins to match.
    Put,
    /// The object is gone, or no longer matches.
    Deleted,
    /// Nothing happened until this version.
    Bookmark,
}

/// A change of an object.
#[derive(Debug)]
pub(crate) struct WatchedEvent {
    pub(crate) kind: Watched,
    /// The metadata of the object.
    pub(crate) object: Value,
}

impl WatchedEvent {
    /// The version of the event.
    pub(crate) fn version(&self) -> &str {
        let version = &self.object["metadata"]["resourceVersion"];
        version.as_str().unwrap_or_default()
    }
}

/// The events of a watch.
pub(crate) struct WatchedEvents {
    body: Body,
    /// Bytes that have arrived and are not read yet.
    buffer: Vec<u8>,
    /// The position at which the search for the end of the line continues.
    searched: usize,
    /// The time at which this side ends the watch.
    until: Instant,
}

impl ClusterClient {
    /// Watches the objects with a label, from a version on.
    pub(crate) async fn watch(
        &self,
        path: &str,
        selector: &str,
        version: &str,
    ) -> Result<WatchedEvents, RequestFailure> {
        let query = format!(
            "{path}?watch=true&allowWatchBookmarks=true&timeoutSeconds={}&labelSelector={}&\
             resourceVersion={}",
            LONGEST.as_secs(),
            escaped(selector),
            escaped(version)
        );
        let body = self.open(&query, METADATA).await?;
        Ok(WatchedEvents::new(body))
    }
}

impl WatchedEvents {
    fn new(body: Body) -> Self {
        Self {
            body,
            buffer: Vec::new(),
            searched: 0,
            until: Instant::now() + LONGEST + GRACE,
        }
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// The connection failed, or the server cannot continue, for example because it no longer keeps
    /// the version.
    pub(crate) async fn next(&mut self) -> Result<Option<WatchedEvent>, RequestFailure> {
        loop {
            let line = self.buffer[self.searched..]
                .iter()
                .position(|b| *b == b'\n');
            if let Some(at) = line {
                let rest = self.buffer.split_off(self.searched + at + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                self.searched = 0;
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return event(&line).map(Some);
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > MAX_EVENT {
                let why = format!("an event has more than {MAX_EVENT} bytes");
                return Err(RequestFailure::Unreadable(why));
            }
            match timeout_at(self.until, self.body.frame()).await {
                Err(_) | Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    return Err(RequestFailure::Unreachable(error.to_string()));
                }
                Ok(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
            }
        }
    }
}

fn event(line: &[u8]) -> Result<WatchedEvent, RequestFailure> {
    let unreadable = RequestFailure::Unreadable;
    let mut event: Value =
        serde_json::from_slice(line).map_err(|error| unreadable(error.to_string()))?;
    let object = event.get_mut("object").map(Value::take);
    let object = object.unwrap_or_default();
    let kind = match event["type"].as_str() {
        Some("ADDED" | "MODIFIED") => Watched::Put,
        Some("DELETED") => Watched::Deleted,
        Some("BOOKMARK") => Watched::Bookmark,
        Some("ERROR") => {
            let status: Status =
                serde_json::from_value(object).map_err(|error| unreadable(error.to_string()))?;
            return Err(RequestFailure::Refused(Box::new(status)));
        }
        _ => return Err(unreadable("an event has no type".to_owned())),
    };
    Ok(WatchedEvent { kind, object })
}

#[cfg(test)]
mod tests {
    use super::{MAX_EVENT, Watched, WatchedEvents};
    use kube::client::Body;

    fn events(text: impl Into<Vec<u8>>) -> WatchedEvents {
        WatchedEvents::new(Body::from(text.into()))
    }

    #[tokio::test]
    async fn events_are_lines() {
        let text = "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":\"7\"}}}\n\n{\"type\":\"BOOKMARK\",\
                    \"object\":{\"metadata\":{\"resourceVersion\":\"9\"}}}\n{\"type\":\"DEL";
        let mut events = events(text);
        let first = events.next().await.expect("an event").expect("an event");
        assert_eq!((first.kind, first.version()), (Watched::Put, "7"));
        let second = events.next().await.expect("an event").expect("an event");
        assert_eq!((second.kind, second.version()), (Watched::Bookmark, "9"));
        // The rest of a line that was cut off is not an event.
        assert!(events.next().await.expect("the end").is_none());
    }

    #[tokio::test]
    async fn what_is_no_event_is_an_error() {
        let expired = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\",\
                       \"message\":\"too old\",\"status\":\"Failure\"}}\n";
        let failure = events(expired).next().await.expect_err("an error");
        assert_eq!(failure.code(), 410);
        for text in [
            "nothing\n",
            "{}\n",
            "[1]\n",
            "{\"type\":\"OTHER\"}\n",
            "\u{0}\n",
        ] {
            assert!(events(text).next().await.is_err(), "{text:?}");
        }
        assert!(events(vec![b'a'; MAX_EVENT + 1]).next().await.is_err());
    }
}
