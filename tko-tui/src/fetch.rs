//! Requests to the API, each a separate task: drawing never waits for one.

use crate::window::{Growth, PAGE};
use std::collections::HashMap;
use std::sync::Arc;
use tko_core::api::approve_one;
use tko_core::change::{ChangeRecord, FeedPosition};
use tko_core::select::MAX_PAGE;
use tko_core::view::{DeploymentState, FilterLine, obstacle};
use tko_core::{
    Count, Cursor, DataApi, Entity, Error, Event, Key, Kind, List, Page, Record, Result, Select,
    Want,
};
use tokio::sync::mpsc;

/// Maximum number of pages that one request searches for rows of a state.
const MAX_SEARCH: usize = 10;

/// The bound up to which counts of the overview are exact.
pub(crate) const COUNT_BOUND: u64 = 100_000;

/// Maximum number of changes of one entity that are shown.
const HISTORY: usize = 100;

/// Maximum number of reasons of the overview.
const MAX_REASONS: usize = 10;

/// Maximum number of pages of unprepared deployments that the overview reads for reasons.
const MAX_UNPREPARED_PAGES: usize = 1;

/// As [`MAX_UNPREPARED_PAGES`], of prepared deployments, most of which usually have no reason.
const MAX_PREPARED_PAGES: usize = 4;

/// A change that a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeVerb {
    Approve,
    Delete,
    /// Makes waiting work due, without confirmation, because it changes no entity.
    Retry,
}

impl ChangeVerb {
    /// The verb for questions.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Delete => "delete",
            Self::Retry => "retry",
        }
    }

    /// The participle for results.
    pub(crate) fn done(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Delete => "deleted",
            Self::Retry => "due now:",
        }
    }
}

/// A request. The ticket comes back with the reply.
#[derive(Clone, Debug)]
pub(crate) enum FetchRequest {
    /// A page of a list; without growth, the first page of the window again.
    Page {
        ticket: u64,
        growth: Option<Growth>,
        filter: Box<FilterLine>,
        after: Option<Cursor>,
    },
    Detail {
        ticket: u64,
        key: Key,
    },
    History {
        ticket: u64,
        key: Key,
    },
    Overview {
        ticket: u64,
    },
    About {
        ticket: u64,
    },
    /// The first of these keys that exists.
    Find {
        ticket: u64,
        keys: Vec<Key>,
    },
    Change {
        verb: ChangeVerb,
        keys: Vec<Key>,
    },
}

/// The content of the overview.
#[derive(Clone, Debug)]
pub(crate) struct OverviewFacts {
    pub(crate) counts: [Count; 7],
    /// The reasons why deployments do not get on, the most frequent first: number, whether a person
    /// has to act, message.
    pub(crate) reasons: Vec<(u64, bool, String)>,
    /// The number of failing deployments among those that were read.
    pub(crate) failing: u64,
    /// The deployments whose reasons were read, and whether there are more.
    pub(crate) read: (usize, bool),
}

/// The selections that the overview counts, in the order of [`OverviewFacts::counts`].
pub(crate) fn counted() -> [Select; 7] {
    let deployments = Select::all(Kind::Deployment);
    [
        deployments.clone(),
        deployments.clone().approved(true),
        deployments.clone().prepared(true).approved(false),
        deployments.prepared(false),
        Select::all(Kind::Site),
        Select::all(Kind::Template),
        Select::all(Kind::Plugin),
    ]
}

/// A reply, or news of the feed.
#[derive(Debug)]
pub(crate) enum FetchReply {
    Page {
        ticket: u64,
        growth: Option<Growth>,
        page: Result<Page>,
    },
    Detail {
        ticket: u64,
        record: Box<Result<Record>>,
    },
    History {
        ticket: u64,
        changes: Result<Vec<ChangeRecord>>,
    },
    Overview {
        ticket: u64,
        facts: Result<OverviewFacts>,
    },
    About {
        ticket: u64,
        about: Result<(String, FeedPosition)>,
    },
    Found {
        ticket: u64,
        key: Result<Option<Key>>,
    },
    Changed {
        verb: ChangeVerb,
        done: u64,
        problems: Vec<String>,
    },
    /// The watches run; `anew` if changes may have been missed.
    Connected {
        anew: bool,
    },
    Events(Vec<Event>),
    /// The watches ended; they are started again.
    Lost(String),
}

/// Runs requests as tasks.
pub(crate) struct Fetcher {
    api: Arc<dyn DataApi>,
    replies: mpsc::Sender<FetchReply>,
}

impl Fetcher {
    /// A fetcher that sends its replies to this channel.
    pub(crate) fn new(api: Arc<dyn DataApi>, replies: mpsc::Sender<FetchReply>) -> Self {
        Self { api, replies }
    }

    /// Starts a request. Call it within a runtime.
    pub(crate) fn start(&self, request: FetchRequest) {
        let (api, replies) = (self.api.clone(), self.replies.clone());
        tokio::spawn(async move {
            let reply = answer(&*api, request).await;
            // There is no receiver if the dashboard has ended.
            let _ = replies.send(reply).await;
        });
    }
}

async fn answer(api: &dyn DataApi, request: FetchRequest) -> FetchReply {
    match request {
        FetchRequest::Page {
            ticket,
            growth,
            filter,
            after,
        } => {
            // The page before the window is read together with entities created within it since.
            let limit = if growth == Some(Growth::Before) {
                2 * PAGE
            } else {
                PAGE
            };
            let page = page(api, &filter, after, limit).await;
            FetchReply::Page {
                ticket,
                growth,
                page,
            }
        }
        FetchRequest::Detail { ticket, key } => {
            let want = Want::PACKAGE.with_work().with_revision().with_deleting();
            let record = Box::new(api.get(&key, want).await);
            FetchReply::Detail { ticket, record }
        }
        FetchRequest::History { ticket, key } => {
            let changes = api.history(&key, None, HISTORY).await;
            FetchReply::History { ticket, changes }
        }
        FetchRequest::Overview { ticket } => {
            let facts = overview(api).await;
            FetchReply::Overview { ticket, facts }
        }
        FetchRequest::About { ticket } => {
            let about = about(api).await;
            FetchReply::About { ticket, about }
        }
        FetchRequest::Find { ticket, keys } => {
            let key = find(api, keys).await;
            FetchReply::Found { ticket, key }
        }
        FetchRequest::Change { verb, keys } => change(api, verb, keys).await,
    }
}

async fn page(
    api: &dyn DataApi,
    filter: &FilterLine,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Page> {
    let mut list = List::new(filter.narrowed()).after(after).limit(limit);
    if filter.state.is_none() {
        return api.list(&list).await;
    }
    // States are not indexed: a bounded number of pages is searched.
    list.limit = MAX_PAGE;
    let mut found = None::<Page>;
    for _ in 0..MAX_SEARCH {
        let page = api.list(&list).await?;
        list.after.clone_from(&page.next);
        let found = found.get_or_insert_with(|| Page::new(page.revision, Vec::new()));
        found.next = page.next;
        for record in page.items {
            if !filter.fits(&record.entity) {
                continue;
            }
            if found.items.len() == limit {
                let last = found.items.last();
                found.next = last.map(|last| Cursor(last.entity.key.clone()));
                break;
            }
            found.items.push(record);
        }
        if found.items.len() == limit || list.after.is_none() {
            break;
        }
    }
    found.ok_or_else(|| Error::bad("filter", "found no page"))
}

async fn overview(api: &dyn DataApi) -> Result<OverviewFacts> {
    let mut counts = [Count::new(0, false); 7];
    for (count, select) in counts.iter_mut().zip(counted()) {
        *count = api
            .count(&select, COUNT_BOUND, Want::ROW.with_stale())
            .await?;
    }
    let mut obstacles = Obstacles::default();
    obstacles.read(api, false, MAX_UNPREPARED_PAGES).await?;
    obstacles.read(api, true, MAX_PREPARED_PAGES).await?;
    Ok(OverviewFacts {
        counts,
        failing: obstacles.failing,
        read: (obstacles.read, obstacles.has_more),
        reasons: obstacles.into_reasons(),
    })
}

/// Why deployments do not get on, of those that were read.
#[derive(Default)]
struct Obstacles {
    /// For each message: how many deployments have it, and whether a person has to act.
    reasons: HashMap<String, (u64, bool)>,
    failing: u64,
    read: usize,
    has_more: bool,
}

impl Obstacles {
    /// Reads at most so many pages of the deployments that are prepared, or of those that are not.
    async fn read(&mut self, api: &dyn DataApi, prepared: bool, pages: usize) -> Result<()> {
        let select = Select::all(Kind::Deployment).prepared(prepared);
        let mut list = List::new(select).want(Want::ROW.with_stale());
        for _ in 0..pages {
            let page = api.list(&list).await?;
            self.read += page.items.len();
            for record in &page.items {
                self.add(&record.entity);
            }
            list.after = page.next;
            if list.after.is_none() {
                return Ok(());
            }
        }
        self.has_more = true;
        Ok(())
    }

    fn add(&mut self, entity: &Entity) {
        let Some(state) = DeploymentState::of(entity) else {
            return;
        };
        let is_failing = state == DeploymentState::Failing;
        self.failing += u64::from(is_failing);
        if let Some(condition) = obstacle(entity).filter(|_| state.is_stuck()) {
            let counted = self.reasons.entry(condition.message.clone()).or_default();
            counted.0 += 1;
            counted.1 |= is_failing;
        }
    }

    /// The most frequent reasons; first those for which a person has to act.
    fn into_reasons(self) -> Vec<(u64, bool, String)> {
        let reasons = self.reasons.into_iter();
        let mut reasons: Vec<_> = reasons
            .map(|(message, (count, is_fault))| (count, is_fault, message))
            .collect();
        reasons.sort_by(|one, other| {
            (other.1, other.0)
                .cmp(&(one.1, one.0))
                .then_with(|| one.2.cmp(&other.2))
        });
        reasons.truncate(MAX_REASONS);
        reasons
    }
}

async fn about(api: &dyn DataApi) -> Result<(String, FeedPosition)> {
    Ok((api.about().await?.backend, api.feed_position().await?))
}

async fn find(api: &dyn DataApi, keys: Vec<Key>) -> Result<Option<Key>> {
    for key in keys {
        match api.get(&key, Want::ROW.with_deleting()).await {
            Ok(_) => return Ok(Some(key)),
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Approves a deployment. Returns 0 if it is not waiting for approval.
async fn approve(api: &dyn DataApi, key: &Key) -> Result<u64> {
    let read = api.get(key, Want::ROW).await?.entity;
    let is_waiting = read
        .deployment()
        .is_some_and(|deployment| deployment.prepared && !deployment.approved);
    if is_waiting {
        approve_one(api, &read).await?;
    }
    Ok(u64::from(is_waiting))
}

async fn change(api: &dyn DataApi, verb: ChangeVerb, keys: Vec<Key>) -> FetchReply {
    let (mut done, mut problems) = (0, Vec::new());
    for key in keys {
        let result = match verb {
            ChangeVerb::Delete => api.delete(&key).await.map(|()| 1),
            ChangeVerb::Retry => {
                let retried = api.retry(&key).await;
                retried.map(|count| u64::try_from(count).unwrap_or(u64::MAX))
            }
            ChangeVerb::Approve => approve(api, &key).await,
        };
        match result {
            Ok(0) if verb == ChangeVerb::Retry => {
                problems.push(format!("{key} does not wait for its next attempt"));
            }
            Ok(0) => problems.push(format!("{key} is not waiting for approval")),
            Ok(count) => done += count,
            Err(error) => problems.push(error.chain()),
        }
    }
    FetchReply::Changed {
        verb,
        done,
        problems,
    }
}
