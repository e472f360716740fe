//! The reference behind a wrapper with one fault, which changes arguments or answers.

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tko_conformance::Reference;
use tko_core::change::FeedPosition;
use tko_core::{
    Ack, Backend, ChangeRecord, ChangeSet, Claim, ClaimRequest, Committed, Condition, ContentHash,
    Count, DeploymentId, Enqueue, Generation, Key, List, Modification, Outcome, Page, Record,
    Result, Revision, Select, SharedLimits, Stage, Timestamp, Token, Want,
};
use tokio::sync::Notify;

/// The memory of a fault.
#[derive(Default)]
pub(crate) struct Memo {
    pub(crate) pages: HashMap<String, Page>,
    pub(crate) counts: HashMap<String, Count>,
    pub(crate) created: HashMap<Key, Timestamp>,
    pub(crate) once: HashMap<String, DeploymentId>,
    /// Work of deleted entities.
    pub(crate) orphaned: Vec<Enqueue>,
    /// The last modification of each key.
    pub(crate) edits: HashMap<Key, Token>,
    /// Keys under a lease, and keys whose work was retried.
    pub(crate) leased: Vec<Key>,
    pub(crate) retried: Vec<Key>,
    pub(crate) readers: usize,
    /// Each issued token, and its deadline.
    pub(crate) deadlines: HashMap<Token, Timestamp>,
    /// Keys once claimed from the failing lane.
    pub(crate) failing: Vec<Key>,
    /// Shared values.
    pub(crate) shared: HashMap<ContentHash, Vec<u8>>,
    /// The lane from which any stage was last served.
    pub(crate) turn: u8,
}

pub(crate) struct Broken {
    pub(crate) inner: Reference,
    fault: &'static str,
    memo: Mutex<Memo>,
    noise: AtomicU64,
    /// Notified by commits only.
    pub(crate) committed: Arc<Notify>,
}

impl Broken {
    pub(crate) fn new(inner: Reference, fault: &'static str) -> Self {
        Self {
            inner,
            fault,
            memo: Mutex::default(),
            noise: AtomicU64::new(0),
            committed: Arc::default(),
        }
    }

    /// Whether the backend has this fault.
    pub(crate) fn is(&self, fault: &str) -> bool {
        self.fault == fault
    }

    pub(crate) fn is_any(&self, faults: &[&str]) -> bool {
        faults.contains(&self.fault)
    }

    pub(crate) fn memo(&self) -> MutexGuard<'_, Memo> {
        self.memo.lock().expect("no fault panics here")
    }

    pub(crate) async fn find(&self, key: &Key, want: Want) -> Option<Record> {
        let keys = std::slice::from_ref(key);
        let found = self.inner.get(keys, want).await;
        found.expect("one key").pop().flatten()
    }

    /// Changes an entity without a reason.
    pub(crate) async fn make_noise(&self, key: &Key) -> Option<Revision> {
        let number = self.noise.fetch_add(1, Ordering::Relaxed);
        let said = Condition::new("Noise", true, format!("N{number}"), "", Generation(1));
        let set = ChangeSet::new().conditions(key.clone(), vec![said]);
        let done = self.inner.commit(set, Ack::Numbered).await;
        done.expect("conditions are let through").revision
    }

    pub(crate) async fn mark(&self, stage: Stage, key: &Key) {
        let set = ChangeSet::new().enqueue(Enqueue::now(stage, key, tko_core::Lane::new(0)));
        let done = self.inner.commit(set, Ack::Durable).await;
        done.expect("marks are taken");
    }
}

#[async_trait]
impl Backend for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    async fn get(&self, keys: &[Key], want: Want) -> Result<Vec<Option<Record>>> {
        self.broken_get(keys, want).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.broken_list(list).await
    }

    fn pages(self: Arc<Self>, list: List) -> BoxStream<'static, Result<Page>> {
        let skips = self.is("the page stream skips a page");
        let pages = tko_core::select::pages(list, move |list| {
            let broken = self.clone();
            async move { broken.list(&list).await }
        });
        let kept = pages.enumerate().filter_map(move |(at, page)| {
            let kept = !(skips && at == 2);
            std::future::ready(kept.then_some(page))
        });
        kept.boxed()
    }

    async fn count(&self, select: &Select, bound: u64, want: Want) -> Result<Count> {
        self.broken_count(select, bound, want).await
    }

    async fn commit(&self, changes: ChangeSet, ack: Ack) -> Result<Committed> {
        let done = self.broken_commit(changes, ack).await;
        self.committed.notify_waiters();
        done
    }

    async fn start_modification(
        &self,
        key: &Key,
        ttl: Duration,
        want: Want,
    ) -> Result<Modification> {
        self.broken_edit(key, ttl, want).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        self.broken_claim(request).await
    }

    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        self.broken_renew(tokens, ttl).await
    }

    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        self.broken_settle(outcomes).await
    }

    async fn feed_position(&self) -> Result<FeedPosition> {
        self.broken_head().await
    }

    fn tail(&self, after: Revision, want: Want) -> BoxStream<'static, Result<ChangeRecord>> {
        self.broken_tail(after, want)
    }

    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        self.broken_history(key, before, limit).await
    }

    async fn put_shared(&self, key: ContentHash, value: &[u8], _: SharedLimits) -> Result<()> {
        let mut memo = self.memo();
        if self.is("the first value of a key stays") {
            memo.shared.entry(key).or_insert_with(|| value.to_vec());
        } else if self.is_any(&["shared values are mixed up", "shared values have no bound"]) {
            memo.shared.insert(key, value.to_vec());
        }
        Ok(())
    }

    async fn get_shared(&self, key: ContentHash, _: Duration) -> Result<Option<Vec<u8>>> {
        let memo = self.memo();
        if self.is("shared values are mixed up") {
            return Ok(memo.shared.values().next().cloned());
        }
        Ok(memo.shared.get(&key).cloned())
    }
}
