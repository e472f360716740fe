//! The events for an open page: counts, at most once a second, and the entities of its scope that
//! changed.
//!
//! A page's scope is `all`, a collection such as `sites`, or an entity such as `sites/lab%2F1`. The
//! page reads what it needs again, so events contain only the names of entities.

use crate::api::collection;
use crate::api::watch::{event, event_stream, watch_permit};
use crate::context::{ApiCaller, SharedContext};
use crate::feed::{FeedItem, RingRead, RingReader};
use crate::problem::HttpResult;
use crate::query::ApiQuery;
use axum::extract::State;
use futures_util::stream;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use tko_core::{Caller, Entity, Error, Key, Kind, List, Select, SiteId, TemplateId};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

/// Changes within this time are combined into one event.
const TOGETHER: Duration = Duration::from_millis(200);

/// Shortest time between two events with counts.
const BETWEEN_COUNTS: Duration = Duration::from_secs(1);

/// Maximum number of ids of one event. If there are more, the event has only their number.
const MAX_IDS: usize = 200;

/// The entities whose changes a page follows.
enum PageScope {
    All,
    Kind(Kind),
    /// The entity, and those that refer to it.
    One(Key),
    Nothing,
}

impl PageScope {
    fn parse(text: &str) -> Result<Self, Error> {
        match text.split_once('/') {
            _ if text == "all" => Ok(Self::All),
            _ if text == "none" => Ok(Self::Nothing),
            Some((name, id)) => {
                let kind = Self::kind(name)?;
                Key::new(kind, id).map(Self::One)
            }
            None => Self::kind(text).map(Self::Kind),
        }
    }

    fn kind(name: &str) -> Result<Kind, Error> {
        collection(name).map_err(|_| Error::bad("scope", format!("unknown scope {name:?}")))
    }

    fn kinds(&self) -> Vec<Kind> {
        match self {
            Self::All => vec![Kind::Template, Kind::Site, Kind::Deployment, Kind::Plugin],
            // Their rows count their deployments.
            Self::Kind(kind @ (Kind::Site | Kind::Template)) => vec![*kind, Kind::Deployment],
            Self::Kind(kind) => vec![*kind],
            Self::One(key) if key.kind() == Kind::Plugin => vec![Kind::Plugin],
            Self::One(key) if key.kind() == Kind::Deployment => vec![Kind::Deployment],
            Self::One(key) => vec![key.kind(), Kind::Deployment],
            Self::Nothing => Vec::new(),
        }
    }

    fn concerns(&self, entity: &Entity) -> bool {
        match self {
            Self::All | Self::Kind(_) => true,
            Self::One(key) => entity.key == *key || entity.refers_to(key),
            Self::Nothing => false,
        }
    }
}

impl PageScope {
    /// The id of the row that shows a changed entity.
    fn shown<'a>(&self, entity: &'a Entity) -> Option<&'a str> {
        match (self, &entity.key) {
            (Self::Kind(Kind::Site), Key::Deployment(_)) => {
                entity.deployment()?.site.as_ref().map(SiteId::as_str)
            }
            (Self::Kind(Kind::Template), Key::Deployment(_)) => {
                entity.template().map(TemplateId::as_str)
            }
            (_, key) => Some(key.id()),
        }
    }
}

pub(super) async fn events(
    State(context): State<SharedContext>,
    caller: ApiCaller,
    mut query: ApiQuery,
) -> HttpResult {
    let scope = query
        .text("scope")?
        .ok_or_else(|| Error::bad("scope", "is missing"))?;
    let scope = PageScope::parse(&scope)?;
    query.end()?;
    let permit = watch_permit(&context)?;
    // A caller who may list deployments may know that one changed.
    caller
        .api
        .list(&List::new(Select::all(Kind::Deployment)).limit(1))
        .await?;
    let readers = scope
        .kinds()
        .iter()
        .map(|kind| context.feeds.ring(*kind).read_new())
        .collect();
    let state = PageEvents {
        tally: context.feeds.changes(),
        next_counts: Instant::now(),
        counts_due: true,
        changed: BTreeSet::new(),
        flush: None,
        more: 0,
        caller: caller.caller,
        context,
        scope,
        readers,
        _permit: permit,
    };
    Ok(event_stream(stream::unfold(
        state,
        |mut state| async move {
            let text = state.next().await?;
            Some((text, state))
        },
    )))
}

/// The events of one open page.
struct PageEvents {
    context: SharedContext,
    scope: PageScope,
    readers: Vec<RingReader>,
    tally: watch::Receiver<u64>,
    next_counts: Instant,
    counts_due: bool,
    changed: BTreeSet<String>,
    /// When the event with the changes is sent.
    flush: Option<Instant>,
    more: u64,
    caller: Caller,
    _permit: OwnedSemaphorePermit,
}

impl PageEvents {
    /// The text of the next event; `None` ends the stream, and the browser reconnects.
    async fn next(&mut self) -> Option<String> {
        let heartbeat = Instant::now() + self.context.settings.heartbeat;
        loop {
            if self.counts_due && Instant::now() >= self.next_counts {
                return Some(self.counts());
            }
            let wake = [
                self.flush,
                self.counts_due.then_some(self.next_counts),
                Some(heartbeat),
            ];
            let wake = wake.into_iter().flatten().min().unwrap_or(heartbeat);
            let ending = self.context.ending.clone();
            tokio::select! {
                read = first(&mut self.readers) => match read {
                    RingRead::Lost => return None,
                    RingRead::Items(items) => {
                        for item in &items {
                            self.note(item);
                        }
                        if !self.changed.is_empty() || self.more > 0 {
                            self.flush.get_or_insert(Instant::now() + TOGETHER);
                        }
                    }
                },
                changed = self.tally.changed(), if !self.counts_due => {
                    changed.ok()?;
                    self.counts_due = true;
                }
                () = tokio::time::sleep_until(wake) => {
                    if self.flush.is_some_and(|at| Instant::now() >= at) {
                        return Some(self.changes());
                    }
                    if Instant::now() >= heartbeat {
                        return Some(": heartbeat\n\n".to_owned());
                    }
                }
                () = ending.cancelled() => return None,
            }
        }
    }

    fn note(&mut self, item: &FeedItem) {
        let entity = match item {
            FeedItem::Put { record, .. } => &record.entity,
            FeedItem::Gone { before, .. } => &before.entity,
            FeedItem::Bookmark { .. } => return,
        };
        if !self.scope.concerns(entity) || !self.caller.reads(entity) {
            return;
        }
        let Some(id) = self.scope.shown(entity) else {
            return;
        };
        if self.changed.len() < MAX_IDS || self.changed.contains(id) {
            self.changed.insert(id.to_owned());
        } else {
            self.more += 1;
        }
    }

    fn changes(&mut self) -> String {
        self.flush = None;
        let (ids, more) = (
            std::mem::take(&mut self.changed),
            std::mem::take(&mut self.more),
        );
        event("changed", None, &json!({"ids": ids, "more": more}))
    }

    fn counts(&mut self) -> String {
        self.counts_due = false;
        self.next_counts = Instant::now() + BETWEEN_COUNTS;
        self.tally.borrow_and_update();
        let counts = super::shell::counts(&self.context, !self.caller.reads_all());
        let [deployments, sites, templates, plugins] = counts;
        let revision = self.context.feeds.tally().revision().unwrap_or_default();
        let data = json!({
            "revision": revision.0,
            "counts": {
                "deployments": deployments,
                "sites": sites,
                "templates": templates,
                "plugins": plugins,
            },
        });
        event("counts", None, &data)
    }
}

/// The result of the first reader that has one. Cancel safe, because each read is.
async fn first(readers: &mut [RingReader]) -> RingRead {
    if readers.is_empty() {
        return std::future::pending().await;
    }
    let reads = readers.iter_mut().map(|reader| Box::pin(reader.next()));
    let (read, _, _) = futures_util::future::select_all(reads).await;
    read
}
