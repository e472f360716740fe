//! A backend that now and then fails to commit, or commits and fails to say so, and takes its time.

use crate::world::random::Random;
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tko_backend_memory::Memory;
use tko_core::change::Head;
use tko_core::{
    Ack, Backend, ChangeRecord, ChangeSet, Claim, ClaimRequest, Committed, Count, Edit, Error, Key,
    List, Outcome, Page, Record, Result, Revision, Select, Token, Want,
};
use tokio::sync::watch;

pub(crate) struct Faulty {
    inner: Memory,
    pub(crate) random: Random,
    /// One commit in so many fails; 0: none.
    one_in: AtomicU64,
    /// Every call lets others go first.
    yields: AtomicBool,
    /// Commits that happened.
    pub(crate) commits: watch::Sender<u64>,
    /// Claims that were given out.
    pub(crate) claimed: AtomicU64,
    /// Reads of lists, for what must not be done in vain.
    pub(crate) lists: AtomicU64,
}

impl Faulty {
    pub(crate) fn new(inner: Memory) -> Self {
        Self {
            inner,
            random: Random::new(7),
            one_in: AtomicU64::new(0),
            yields: AtomicBool::new(false),
            commits: watch::Sender::new(0),
            claimed: AtomicU64::new(0),
            lists: AtomicU64::new(0),
        }
    }

    pub(crate) fn fail_one_in(&self, commits: u64) {
        self.one_in.store(commits, Ordering::Relaxed);
    }

    pub(crate) fn let_others_go_first(&self) {
        self.yields.store(true, Ordering::Relaxed);
    }

    /// Lets others go first, now and then, and time pass, if it fails at all.
    async fn step(&self) {
        if self.yields.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        if self.one_in.load(Ordering::Relaxed) == 0 {
            return;
        }
        match self.random.below(64) {
            0..16 => tokio::task::yield_now().await,
            16..20 => {
                tokio::time::sleep(Duration::from_millis(self.random.below(50))).await;
            }
            _ => {}
        }
    }
}

fn lost() -> Error {
    Error::unavailable("commit", "connection lost")
}

#[async_trait]
impl Backend for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    async fn get(&self, keys: &[Key], want: Want) -> Result<Vec<Option<Record>>> {
        self.step().await;
        self.inner.get(keys, want).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        self.step().await;
        self.inner.list(list).await
    }

    async fn count(&self, select: &Select, bound: u64) -> Result<Count> {
        self.inner.count(select, bound).await
    }

    async fn commit(&self, changes: ChangeSet, ack: Ack) -> Result<Committed> {
        self.step().await;
        let one_in = self.one_in.load(Ordering::Relaxed);
        let roll = match one_in {
            0 => 2,
            one_in => self.random.below(2 * one_in),
        };
        if roll == 0 {
            return Err(lost());
        }
        let done = self.inner.commit(changes, ack).await?;
        self.commits.send_modify(|commits| *commits += 1);
        if roll == 1 { Err(lost()) } else { Ok(done) }
    }

    async fn edit(&self, key: &Key, ttl: Duration, want: Want) -> Result<Edit> {
        self.inner.edit(key, ttl, want).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        let claims = self.inner.claim(request).await?;
        self.claimed
            .fetch_add(claims.len() as u64, Ordering::Relaxed);
        Ok(claims)
    }

    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        self.inner.renew(tokens, ttl).await
    }

    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        self.inner.settle(outcomes).await
    }

    async fn head(&self) -> Result<Head> {
        self.inner.head().await
    }

    fn tail(&self, after: Revision, want: Want) -> BoxStream<'static, Result<ChangeRecord>> {
        self.inner.tail(after, want)
    }

    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        self.inner.history(key, before, limit).await
    }
}
