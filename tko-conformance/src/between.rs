//! A backend wrapper for tests that count, delay or fail calls.

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;
use tko_core::change::FeedPosition;
use tko_core::{
    Ack, Backend, ChangeRecord, ChangeSet, Claim, ClaimRequest, Committed, ContentHash, Count, Key,
    List, Modification, Outcome, Page, Record, Result, Revision, Select, SharedLimits, Token, Want,
};

/// The method that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackendCall {
    /// [`Backend::get`].
    Get,
    /// [`Backend::list`].
    List,
    /// [`Backend::count`].
    Count,
    /// [`Backend::commit`].
    Commit,
    /// [`Backend::start_modification`].
    Modification,
    /// [`Backend::claim`].
    Claim,
    /// [`Backend::renew`].
    Renew,
    /// [`Backend::settle`].
    Settle,
    /// [`Backend::feed_position`].
    FeedPosition,
    /// [`Backend::history`].
    History,
}

/// Observes calls before and after they reach the backend.
#[async_trait]
pub trait CallObserver: Send + Sync + 'static {
    /// Runs before a call. The default does nothing.
    ///
    /// # Errors
    /// The error that the caller gets; the backend is not called then.
    async fn before(&self, _call: BackendCall) -> Result<()> {
        Ok(())
    }

    /// Runs after a successful call with the number of items in its answer. The default does
    /// nothing.
    ///
    /// # Errors
    /// The error that the caller gets, although the call took effect.
    async fn after(&self, _call: BackendCall, _items: usize) -> Result<()> {
        Ok(())
    }
}

/// A backend behind an observer of its calls. [`tail`](Backend::tail) and shared values are not
/// observed.
pub struct Between<B, O> {
    inner: B,
    /// The observer of the calls.
    pub observer: Arc<O>,
}

impl<B: Backend, O: CallObserver> Between<B, O> {
    /// Puts an observer in front of a backend.
    pub fn new(inner: B, observer: Arc<O>) -> Self {
        Self { inner, observer }
    }

    async fn observed<A>(
        &self,
        call: BackendCall,
        made: impl Future<Output = Result<A>> + Send,
        items: impl FnOnce(&A) -> usize + Send,
    ) -> Result<A>
    where
        A: Send,
    {
        self.observer.before(call).await?;
        let answer = made.await?;
        self.observer.after(call, items(&answer)).await?;
        Ok(answer)
    }
}

#[async_trait]
impl<B: Backend, O: CallObserver> Backend for Between<B, O> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn get(&self, keys: &[Key], want: Want) -> Result<Vec<Option<Record>>> {
        self.observed(BackendCall::Get, self.inner.get(keys, want), Vec::len)
            .await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.observed(BackendCall::List, self.inner.list(list), |page| {
            page.items.len()
        })
        .await
    }

    async fn count(&self, select: &Select, bound: u64, want: Want) -> Result<Count> {
        self.observed(
            BackendCall::Count,
            self.inner.count(select, bound, want),
            |_| 1,
        )
        .await
    }

    async fn commit(&self, changes: ChangeSet, ack: Ack) -> Result<Committed> {
        self.observed(BackendCall::Commit, self.inner.commit(changes, ack), |_| 1)
            .await
    }

    async fn start_modification(
        &self,
        key: &Key,
        ttl: Duration,
        want: Want,
    ) -> Result<Modification> {
        self.observed(
            BackendCall::Modification,
            self.inner.start_modification(key, ttl, want),
            |_| 1,
        )
        .await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        self.observed(BackendCall::Claim, self.inner.claim(request), Vec::len)
            .await
    }

    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        self.observed(BackendCall::Renew, self.inner.renew(tokens, ttl), Vec::len)
            .await
    }

    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        self.observed(BackendCall::Settle, self.inner.settle(outcomes), Vec::len)
            .await
    }

    async fn feed_position(&self) -> Result<FeedPosition> {
        self.observed(BackendCall::FeedPosition, self.inner.feed_position(), |_| 1)
            .await
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
        let history = self.inner.history(key, before, limit);
        self.observed(BackendCall::History, history, Vec::len).await
    }

    async fn put_shared(&self, key: ContentHash, value: &[u8], limits: SharedLimits) -> Result<()> {
        self.inner.put_shared(key, value, limits).await
    }

    async fn get_shared(&self, key: ContentHash, age: Duration) -> Result<Option<Vec<u8>>> {
        self.inner.get_shared(key, age).await
    }
}
