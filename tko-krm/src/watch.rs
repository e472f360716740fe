//! Watching a collection or an object.

mod events;

use crate::accept::Serves;
use crate::context::KrmContext;
use crate::failure::{KrmAnswer, KrmFailure};
use crate::feed::{Batch, DenseChanges, FeedChange, WatchFeed};
use crate::object;
use crate::page::PageBound;
use crate::query::Query;
use crate::read::{WHOLE, include};
use crate::reply::{self, NeverCompressed, Reply};
use crate::request::ApiRequest;
use crate::resource::ResourceType;
use crate::selector::ObjectSelector;
use crate::snapshot::StateReader;
use axum::body::Body;
use bytes::Bytes;
use events::EventWriter;
use futures_util::{FutureExt, StreamExt, stream};
use http::{HeaderValue, StatusCode};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Caller, Cursor, Error, Record, Revision, Select};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// How long a watch waits for a resource version that the server has not reached. Then the client
/// gets `Expired`: its version comes from an earlier state of the store, such as before a restore.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long before its end a watch sends the last bookmark.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// With the current objects.
    Objects {
        /// Whether a bookmark marks their end.
        marks_end: bool,
        /// The version that the state must have reached.
        at_least: u64,
    },
    /// After this resource version.
    After(u64),
}

/// The options of a watch.
struct WatchOptions {
    selector: ObjectSelector,
    start: Start,
    bookmarks: bool,
    timeout: Option<Duration>,
}

impl WatchOptions {
    fn of(resource: &'static ResourceType, query: &Query) -> KrmAnswer<Self> {
        let selector = ObjectSelector::of(resource.entity, query)?;
        let version = query.resource_version()?;
        let bookmarks = query.is_true("allowWatchBookmarks");
        let matching = query.get("resourceVersionMatch");
        let initial = query.get("sendInitialEvents");
        let start = match (initial, matching) {
            (None, None) => match version {
                None | Some(0) => Start::Objects {
                    marks_end: false,
                    at_least: 0,
                },
                Some(version) => Start::After(version),
            },
            (None, Some(_)) => {
                return Err(KrmFailure::invalid_options(
                    "resourceVersionMatch",
                    "is forbidden for a watch unless sendInitialEvents is provided",
                ));
            }
            (Some(_), Some("NotOlderThan")) => match version {
                _ if query.is_true("sendInitialEvents") => Start::Objects {
                    marks_end: bookmarks,
                    at_least: version.unwrap_or_default(),
                },
                None | Some(0) => Start::Objects {
                    marks_end: false,
                    at_least: 0,
                },
                Some(version) => Start::After(version),
            },
            (Some(_), _) => {
                return Err(KrmFailure::invalid_options(
                    "resourceVersionMatch",
                    "sendInitialEvents requires resourceVersionMatch=NotOlderThan",
                ));
            }
        };
        Ok(Self {
            selector,
            start,
            bookmarks,
            timeout: query.timeout()?.filter(|timeout| !timeout.is_zero()),
        })
    }
}

/// Answers a watch.
pub(crate) async fn watch(
    context: Arc<KrmContext>,
    resource: &'static ResourceType,
    name: Option<&str>,
    request: ApiRequest,
) -> KrmAnswer<Reply> {
    let representation = request.representation(Serves::Single)?;
    let mut options = WatchOptions::of(resource, &request.query)?;
    if let Some(name) = name {
        options.selector = options.selector.with_name(name);
    }
    let include = include(&request.query)?;
    let permit = context.stream_permit()?;
    check_permission(&request, resource).await?;
    let length = options.timeout.unwrap_or_else(|| {
        // Randomized, so that not all watches end at the same time.
        let span = context.settings.watch.as_millis().max(1);
        let spread = u128::from(context.clock.now().0.unsigned_abs()) % span;
        context.settings.watch + Duration::from_millis(u64::try_from(spread).unwrap_or_default())
    });
    let writer = EventWriter {
        resource,
        representation,
        include,
        clock: context.clock.clone(),
        has_definitions: false,
    };
    let watching = Watching {
        feed: context.feed.clone(),
        caller: request.caller.clone(),
        data: request.data.clone(),
        interval: context.settings.bookmark,
        deadline: Instant::now() + length,
        shutdown: context.shutdown.clone(),
        at: Revision(0),
        stage: WatchStage::Begin,
        pending: VecDeque::new(),
        bound: PageBound::default(),
        next_bookmark: Instant::now() + context.settings.bookmark,
        last_bookmark: (length > LAST_BOOKMARK).then(|| Instant::now() + length - LAST_BOOKMARK),
        options,
        writer,
        _permit: permit,
    };
    let frames = stream::unfold(watching, |mut watching| async move {
        let frame = watching.next().await?;
        Some((Ok::<_, Infallible>(frame), watching))
    });
    let content = HeaderValue::from_static("application/json");
    let mut reply = reply::bytes(StatusCode::OK, content, Body::from_stream(frames));
    reply.extensions_mut().insert(NeverCompressed);
    Ok(reply)
}

/// Asks the data service whether the caller may watch, so that a refusal comes at once.
async fn check_permission(request: &ApiRequest, resource: &ResourceType) -> KrmAnswer<()> {
    let failed = |error: Error| KrmFailure::from_other(&error);
    let position = request.data.feed_position().await.map_err(failed)?;
    let select = Select::all(resource.entity);
    let mut probe = request
        .data
        .watch(tko_core::Watch::new(select, position.revision));
    match probe.next().now_or_never() {
        Some(Some(Err(error @ (Error::Forbidden(_) | Error::Unauthenticated(_))))) => {
            Err(failed(error))
        }
        _ => Ok(()),
    }
}

/// The progress of a watch.
enum WatchStage {
    Begin,
    /// Sends the current objects, of this revision, after this key.
    Objects(Revision, Option<Cursor>),
    /// Sends changes.
    Changes,
    /// Has not caught up yet: reads changes from the data service itself.
    Behind(DenseChanges),
    Ended,
}

/// A running watch.
struct Watching {
    feed: Arc<WatchFeed>,
    caller: Caller,
    data: Arc<dyn tko_core::DataApi>,
    options: WatchOptions,
    writer: EventWriter,
    interval: Duration,
    deadline: Instant,
    next_bookmark: Instant,
    last_bookmark: Option<Instant>,
    shutdown: tokio_util::sync::CancellationToken,
    /// Every change up to this revision was sent.
    at: Revision,
    stage: WatchStage,
    /// Events that the client has not taken yet.
    pending: VecDeque<Bytes>,
    /// The bound of the pages of current objects.
    bound: PageBound,
    /// Counts the watch until it ends.
    _permit: OwnedSemaphorePermit,
}

impl Watching {
    /// The next piece of the stream; `None` ends it.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.pending.pop_front() {
                return Some(frame);
            }
            if matches!(self.stage, WatchStage::Ended) {
                return None;
            }
            let (deadline, shutdown) = (self.deadline, self.shutdown.clone());
            let advanced = tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                () = tokio::time::sleep_until(deadline) => return None,
                advanced = self.advance() => advanced,
            };
            if let Err(failure) = advanced {
                // The response has begun, so the failure is an event of the stream.
                self.stage = WatchStage::Ended;
                return Some(EventWriter::error(&failure));
            }
        }
    }

    /// Performs the next step.
    async fn advance(&mut self) -> KrmAnswer<()> {
        let failed = |error: Error| KrmFailure::from_other(&error);
        match std::mem::replace(&mut self.stage, WatchStage::Changes) {
            WatchStage::Begin => {
                self.feed.start().await.map_err(failed)?;
                match self.options.start {
                    Start::After(version) => {
                        reach(&self.feed, version).await?;
                        self.at = object::revision(version);
                    }
                    Start::Objects { at_least, .. } => {
                        reach(&self.feed, at_least).await?;
                        let position = self.feed.data().feed_position().await.map_err(failed)?;
                        self.stage = WatchStage::Objects(position.revision, None);
                    }
                }
                Ok(())
            }
            WatchStage::Objects(revision, after) => self.send_objects(revision, after).await,
            WatchStage::Changes => self.send_changes().await,
            WatchStage::Behind(mut changes) => {
                let next = changes.next().await;
                let change =
                    next.map_err(|error| KrmFailure::from_change(&error, too_old(self.at)))?;
                self.at = change.revision;
                self.send(&change).await?;
                if matches!(self.feed.after(self.at), Batch::Behind) {
                    self.stage = WatchStage::Behind(changes);
                }
                Ok(())
            }
            WatchStage::Ended => Ok(()),
        }
    }

    async fn send_objects(&mut self, revision: Revision, after: Option<Cursor>) -> KrmAnswer<()> {
        let reader = StateReader {
            data: &*self.data,
            feed: &self.feed,
            caller: &self.caller,
            selector: &self.options.selector,
            want: WHOLE,
        };
        let page = reader
            .page(Some(revision), after, self.bound.objects())
            .await;
        let page = page.map_err(|failure| match failure.code {
            410 => too_old(revision),
            _ => failure,
        })?;
        let (writer, pending) = (&mut self.writer, &mut self.pending);
        let next = self.bound.write(page, |record| {
            let version = record.revision.unwrap_or_default();
            let event = writer.record("ADDED", record, version);
            let bytes = event.len();
            pending.push_back(event);
            bytes
        });
        if let Some(next) = next {
            self.stage = WatchStage::Objects(revision, Some(next));
            return Ok(());
        }
        self.at = revision;
        if let Start::Objects {
            marks_end: true, ..
        } = self.options.start
        {
            self.pending.push_back(self.writer.bookmark(revision, true));
        }
        Ok(())
    }

    /// Sends the next changes, or waits for some.
    async fn send_changes(&mut self) -> KrmAnswer<()> {
        let mut head = self.feed.head();
        head.mark_unchanged();
        match self.feed.after(self.at) {
            Batch::Behind => {
                let data = self.feed.data();
                self.stage = WatchStage::Behind(DenseChanges::after(&**data, self.at));
                return Ok(());
            }
            Batch::Changes(changes, upto) => {
                let was_current = changes.is_empty();
                for change in changes {
                    self.send(&change).await?;
                }
                self.at = self.at.max(upto);
                if !was_current {
                    return Ok(());
                }
            }
        }
        let last = self.last_bookmark.unwrap_or(self.deadline);
        let bookmark = self.next_bookmark.min(last);
        tokio::select! {
            changed = head.changed() => {
                changed.map_err(|_| KrmFailure::unavailable("the feed of changes ended"))
            }
            () = tokio::time::sleep_until(bookmark), if self.options.bookmarks => {
                if bookmark == last {
                    self.last_bookmark = None;
                }
                self.next_bookmark = Instant::now() + self.interval;
                let bookmark = self.writer.bookmark(self.at, false);
                self.pending.push_back(bookmark);
                Ok(())
            }
        }
    }

    /// Sends one change, if it concerns the watched objects.
    async fn send(&mut self, change: &FeedChange) -> KrmAnswer<()> {
        let selector = &self.options.selector;
        if change.record.entity.key.kind() != selector.kind() {
            return Ok(());
        }
        let shows = |record: &Record| selector.matches(record) && self.caller.reads(&record.entity);
        let is = !change.is_gone && shows(&change.record);
        let depends = selector.can_change() || !self.caller.reads_all();
        let before = if change.is_gone {
            Some(change.record.clone())
        } else if change.is_new {
            None
        } else if depends {
            let read = change.before(&**self.feed.data()).await;
            read.map_err(|error| KrmFailure::from_change(&error, too_old(self.at)))?
        } else {
            Some(change.record.clone())
        };
        let was = before.as_ref().filter(|record| shows(record));
        let frame = match (was, is) {
            (None, false) => return Ok(()),
            (None, true) => self.writer.change("ADDED", change),
            (Some(_), true) => self.writer.change("MODIFIED", change),
            (Some(before), false) => self.writer.record("DELETED", before, change.revision),
        };
        self.pending.push_back(frame);
        Ok(())
    }
}

/// Waits until the server has reached a resource version.
async fn reach(feed: &WatchFeed, version: u64) -> KrmAnswer<()> {
    if feed.reach(object::revision(version), PATIENCE).await {
        return Ok(());
    }
    Err(KrmFailure::expired(format!(
        "the resource version {version} is newer than the state of the server, which may have \
         been restored or restarted; list again"
    )))
}

/// The failure of a watch after a revision whose changes cannot be read.
fn too_old(at: Revision) -> Box<KrmFailure> {
    KrmFailure::expired(format!(
        "too old resource version: {}; list again",
        object::resource_version(at)
    ))
}
