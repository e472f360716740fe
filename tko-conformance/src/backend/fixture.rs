//! A fresh backend, and shorthands for the calls that checks make.

use super::sample::set;
use crate::harness::BackendHarness;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tko_core::change::FeedPosition;
use tko_core::{
    Ack, Backend, ChangeRecord, ChangeSet, Claim, ClaimRequest, Committed, Enqueue, Entity, Key,
    Lane, List, Put, Record, Result, Revision, Select, Stage, Timestamp, Version, Want, Work,
};

/// Requests every part of an entity.
pub(crate) const ALL: Want = Want::ROW
    .with_package()
    .with_revision()
    .with_work()
    .with_deleting();

/// The length of leases and modifications where it does not matter.
pub(crate) const TTL: Duration = Duration::from_mins(1);

/// Five seconds less than [`TTL`], as a margin for calls that take real time.
pub(crate) const NEARLY: Duration = Duration::from_secs(55);

/// The resolution of the store's time.
pub(crate) const TICK: Duration = Duration::from_micros(1);

/// A wait that is longer than any check.
pub(crate) const LONG: Duration = Duration::from_hours(1);

/// A fresh backend with the harness that made it: the argument of every check of suite 1.
pub struct BackendFixture {
    harness: Arc<dyn BackendHarness>,
    pub(crate) backend: Arc<dyn Backend>,
}

impl BackendFixture {
    /// Makes a backend that keeps its last `history` changes.
    pub async fn new(harness: Arc<dyn BackendHarness>, history: usize) -> Self {
        let backend = harness.fresh(history).await;
        Self { harness, backend }
    }

    /// Returns the backend under test.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Makes another fresh backend.
    pub(crate) async fn fresh(&self, history: usize) -> Self {
        Self::new(self.harness.clone(), history).await
    }

    /// Opens the same store as another process would.
    pub(crate) async fn beside(&self) -> Self {
        Self {
            harness: self.harness.clone(),
            backend: self.harness.beside(&self.backend).await,
        }
    }

    pub(crate) async fn advance(&self, by: Duration) {
        self.harness.advance(by).await;
    }

    /// Advances time to `margin` before `deadline`, or not at all if that has passed.
    ///
    /// A clock that also runs by itself is then somewhat later: compare with [`now`](Self::now).
    pub(crate) async fn advance_until(&self, deadline: Timestamp, margin: Duration) {
        let left = deadline.since(self.now().await);
        self.advance(left.saturating_sub(margin)).await;
    }

    /// Returns the store's time.
    pub(crate) async fn now(&self) -> Timestamp {
        self.feed_position().await.now
    }

    pub(crate) async fn trim(&self) {
        self.harness.trim(&self.backend).await;
    }

    /// Commits a set and waits for its revisions.
    pub(crate) async fn try_commit(&self, set: ChangeSet) -> Result<Committed> {
        self.backend.commit(set, Ack::Numbered).await
    }

    /// Commits a set that must be accepted.
    pub(crate) async fn commit(&self, set: ChangeSet) -> Committed {
        self.try_commit(set).await.expect("the set is valid")
    }

    /// Commits puts that must be accepted, as one set.
    pub(crate) async fn put(&self, puts: impl IntoIterator<Item = Put>) -> Committed {
        self.commit(set(puts)).await
    }

    /// Enqueues work that is due at once, in lane 0.
    pub(crate) async fn enqueue(&self, stage: Stage, keys: impl IntoIterator<Item = Key>) {
        let due = keys
            .into_iter()
            .map(|k| Enqueue::now(stage, k, Lane::new(0)));
        self.commit(ChangeSet::new().enqueued(due)).await;
    }

    /// Reads every part of an entity, if it exists.
    pub(crate) async fn find(&self, key: impl Into<Key>) -> Option<Record> {
        let keys = [key.into()];
        let mut found = self.backend.get(&keys, ALL).await.expect("the key is read");
        assert_eq!(found.len(), 1, "an answer for each key");
        found.pop().flatten()
    }

    /// Reads every part of an entity that must exist.
    pub(crate) async fn read(&self, key: impl Into<Key>) -> Record {
        let key = key.into();
        let found = self.find(&key).await;
        found.unwrap_or_else(|| panic!("{key} is there"))
    }

    pub(crate) async fn row(&self, key: impl Into<Key>) -> Arc<Entity> {
        self.read(key).await.entity
    }

    pub(crate) async fn version(&self, key: impl Into<Key>) -> Version {
        self.row(key).await.version
    }

    /// Reads the work of one stage on an entity, if there is any.
    pub(crate) async fn work(&self, stage: Stage, key: impl Into<Key>) -> Option<Work> {
        let record = self.find(key).await?;
        record.work.into_iter().find(|work| work.stage == stage)
    }

    /// Lists a selection page by page, and checks the rules of pages.
    pub(crate) async fn walk(&self, select: &Select, limit: usize) -> Vec<Record> {
        let mut list = List::new(select.clone()).limit(limit).want(ALL);
        let mut all: Vec<Record> = Vec::new();
        for _ in 0..10_000 {
            let page = self.backend.list(&list).await.expect("the page is read");
            assert!(
                limit == 0 || page.items.len() <= limit,
                "a page of {limit} has {} items",
                page.items.len()
            );
            all.extend(page.items);
            match page.next {
                None => return all,
                next => {
                    assert_ne!(
                        next, list.after,
                        "each page continues after the previous one"
                    );
                    list.after = next;
                }
            }
        }
        panic!("the listing does not end");
    }

    /// Lists the ids of a selection.
    pub(crate) async fn ids(&self, select: &Select) -> Vec<String> {
        let all = self.walk(select, 0).await;
        let id = |record: &Record| record.entity.key.id().to_owned();
        all.iter().map(id).collect()
    }

    pub(crate) async fn feed_position(&self) -> FeedPosition {
        self.backend
            .feed_position()
            .await
            .expect("the feed position is read")
    }

    pub(crate) async fn revision(&self) -> u64 {
        self.feed_position().await.revision.0
    }

    /// Reads every change after `after` up to the last, with packages.
    pub(crate) async fn changes(&self, after: u64) -> Vec<ChangeRecord> {
        let head = self.feed_position().await.revision.0;
        let count = usize::try_from(head.saturating_sub(after)).expect("fits");
        self.next_changes(after, count).await
    }

    /// Reads the next `count` changes after `after`, with packages.
    pub(crate) async fn next_changes(&self, after: u64, count: usize) -> Vec<ChangeRecord> {
        let tail = self.backend.tail(Revision(after), Want::PACKAGE);
        let changes: Vec<_> = tail.take(count).collect().await;
        assert_eq!(changes.len(), count, "the feed does not end");
        changes
            .into_iter()
            .map(|change| change.expect("the feed keeps these changes"))
            .collect()
    }

    /// Claims work that is due now.
    pub(crate) async fn claim(&self, stage: Stage, max: usize) -> Vec<Claim> {
        self.backend
            .claim(&request(stage, max))
            .await
            .expect("due work can be claimed")
    }

    /// Claims the only piece of work that is due.
    pub(crate) async fn claim_one(&self, stage: Stage) -> Claim {
        let mut claims = self.claim(stage, 10).await;
        assert_eq!(claims.len(), 1, "one piece of work is due: {claims:?}");
        claims.pop().expect("a claim exists")
    }
}

/// A claim request without waiting, for leases of [`TTL`].
pub(crate) fn request(stage: Stage, max: usize) -> ClaimRequest {
    ClaimRequest::new(stage, "worker").max(max).lease(TTL)
}
