//! [`MetadataWatch`]: one watch, which is opened again where it ended.

use super::limits::WatchPermit;
use crate::client::ClusterClient;
use crate::failure::RequestFailure;
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Time after which the server ends a watch, so that a dead connection is noticed.
const SERVER_TIMEOUT: Duration = Duration::from_mins(5);

/// Time after that in which the end must have arrived.
const PATIENCE: Duration = Duration::from_secs(30);

/// Maximum size of an event, in bytes. It has metadata only; etcd keeps objects below 2 MiB.
const MAX_EVENT: usize = 4 << 20;

/// The pauses between two attempts.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_mins(1),
];

/// What a stream says.
#[derive(Debug)]
pub(crate) enum WatchEvent {
    /// An object has another version; `None`: it is gone, or left the set.
    Changed {
        uid: String,
        version: Option<String>,
    },
    /// The history does not reach back so far, or the kind is gone. The stream has ended.
    Expired { path: String },
    /// The credentials do not allow to watch. The stream has ended.
    Refused { path: String },
}

/// One watch.
pub(crate) struct MetadataWatch {
    pub(crate) client: Arc<ClusterClient>,
    pub(crate) path: String,
    pub(crate) selector: String,
    /// Where it starts; empty: with the objects that are there.
    pub(crate) version: String,
    pub(crate) events: Sender<WatchEvent>,
    pub(crate) _permit: WatchPermit,
}

/// Why one connection of a watch ended.
enum StreamEnd {
    /// As the server was asked to, or the connection broke: it is resumed.
    Resume,
    /// The start is too old.
    Expired,
    /// Nobody listens any more.
    Closed,
}

impl MetadataWatch {
    pub(crate) async fn run(mut self) {
        let mut failed = 0;
        loop {
            let started = Instant::now();
            let opened = self
                .client
                .open_watch(&self.path, &self.selector, &self.version, SERVER_TIMEOUT)
                .await;
            let end = match opened {
                Ok(body) => self.read(body).await,
                Err(failure) => match failure.code() {
                    401 | 403 | 405 => return self.end(true).await,
                    404 | 410 => StreamEnd::Expired,
                    _ => {
                        self.log(&failure);
                        StreamEnd::Resume
                    }
                },
            };
            match end {
                StreamEnd::Closed => return,
                StreamEnd::Expired => return self.end(false).await,
                StreamEnd::Resume => {}
            }
            // A stream that held for a while was in order.
            failed = if started.elapsed() > PATIENCE {
                0
            } else {
                failed + 1
            };
            if failed > 0 {
                sleep(PAUSES[(failed - 1).min(PAUSES.len() - 1)]).await;
            }
        }
    }

    fn log(&self, failure: &RequestFailure) {
        tracing::debug!(path = self.path, error = %failure, "a watch could not be opened");
    }

    async fn end(self, refused: bool) {
        let Self { path, events, .. } = self;
        let event = if refused {
            WatchEvent::Refused { path }
        } else {
            WatchEvent::Expired { path }
        };
        // The task of the site may have ended.
        let _ = events.send(event).await;
    }

    async fn read(&mut self, mut body: Body) -> StreamEnd {
        let until = Instant::now() + SERVER_TIMEOUT + PATIENCE;
        let mut buffer: Vec<u8> = Vec::new();
        loop {
            let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await else {
                return StreamEnd::Resume;
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            // Only what is new can have an end of a line.
            let mut searched = buffer.len();
            buffer.extend_from_slice(&data);
            let mut start = 0;
            while let Some(at) = buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let end = searched + at;
                if let Some(ended) = self.event(&buffer[start..end]).await {
                    return ended;
                }
                (start, searched) = (end + 1, end + 1);
            }
            buffer.drain(..start);
            if buffer.len() > MAX_EVENT {
                return StreamEnd::Expired;
            }
        }
    }

    /// Handles the line of one event. Returns why the stream ends, if it does.
    async fn event(&mut self, line: &[u8]) -> Option<StreamEnd> {
        if line.is_empty() {
            return None;
        }
        // What cannot be read may be a change.
        let Ok(event) = serde_json::from_slice::<Value>(line) else {
            return Some(StreamEnd::Expired);
        };
        let object = &event["object"];
        let text = |name: &str| object["metadata"][name].as_str().map(str::to_owned);
        if event["type"] == "ERROR" {
            let expired = object["code"] == 410;
            return Some(if expired {
                StreamEnd::Expired
            } else {
                StreamEnd::Resume
            });
        }
        if let Some(version) = text("resourceVersion") {
            self.version = version;
        }
        let is_gone = event["type"] == "DELETED";
        if event["type"] == "BOOKMARK" || (is_parent(object) && !is_gone) {
            return None;
        }
        let version = (!is_gone).then(|| self.version.clone());
        let changed = WatchEvent::Changed {
            uid: text("uid").unwrap_or_default(),
            version,
        };
        // The task of the site takes events at once, unless it waits for the database.
        match timeout(SERVER_TIMEOUT, self.events.send(changed)).await {
            Ok(Ok(())) => None,
            _ => Some(StreamEnd::Closed),
        }
    }
}

/// Whether an object is the inventory, which TKO itself rewrites.
fn is_parent(object: &Value) -> bool {
    object["metadata"]["labels"]
        .get(crate::applyset::ID)
        .is_some()
}
