//! A simple backend: one mutex, full scans, no index. It defines the meaning of the contract, and
//! the random checks compare other backends with it. It is for tests only.
//!
//! | file | part of the contract |
//! |---|---|
//! | `state` | the data: rows, feed, work, modifications |
//! | `rows` | records, pages, counts |
//! | `commit` | preconditions, changes, idempotency keys |
//! | `work` | modifications, enqueues, claims, leases and their ends |
//! | `feed` | revisions, feed, history |
//!
//! It shares with every other backend the rules that `tko-core` provides for all of them
//! ([`Put::apply`](tko_core::Put::apply), [`Select::matches`](tko_core::Select::matches)); the
//! directed checks spell out their results.

mod commit;
mod feed;
mod harness;
mod rows;
mod state;
mod work;

pub use harness::ReferenceHarness;
pub(crate) use state::ReferenceState;
pub(crate) use work::DueWork;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::future::select;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tko_core::change::FeedPosition;
use tko_core::{
    Ack, Backend, ChangeRecord, ChangeSet, Claim, ClaimRequest, Clock, Committed, Count, Error,
    Key, List, MAX_CHANGES, Modification, Outcome, Page, Record, Result, Revision, Select,
    Timestamp, Token, Want,
};
use tokio::sync::watch;

/// The reference backend. Clones share the store.
#[derive(Clone)]
pub struct Reference {
    state: Arc<Mutex<ReferenceState>>,
    /// Counts the events that may end a wait: commits and settled claims.
    stirred: Arc<watch::Sender<u64>>,
    clock: Arc<dyn Clock>,
}

impl Reference {
    /// Makes an empty store that keeps its last `history` changes.
    pub fn new(clock: Arc<dyn Clock>, history: usize) -> Self {
        Self {
            state: Arc::new(Mutex::new(ReferenceState::starting_after(
                Revision(0),
                history,
            ))),
            stirred: Arc::new(watch::Sender::new(0)),
            clock,
        }
    }

    fn lock(&self) -> MutexGuard<'_, ReferenceState> {
        // A poisoned lock comes from a panic that the test already reports.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the state and reads the clock.
    fn now(&self) -> (MutexGuard<'_, ReferenceState>, Timestamp) {
        let state = self.lock();
        let now = self.clock.now();
        (state, now)
    }

    fn stir(&self) {
        self.stirred.send_modify(|count| *count += 1);
    }
}

#[async_trait]
impl Backend for Reference {
    fn name(&self) -> &'static str {
        "reference"
    }

    async fn get(&self, keys: &[Key], want: Want) -> Result<Vec<Option<Record>>> {
        if keys.len() > MAX_CHANGES {
            return Err(Error::bad("keys", format!("more than {MAX_CHANGES}")));
        }
        let state = self.lock();
        Ok(keys.iter().map(|key| state.record(key, want)).collect())
    }

    async fn list(&self, list: &List) -> Result<Page> {
        Ok(self.lock().page(list))
    }

    async fn count(&self, select: &Select, bound: u64, _: Want) -> Result<Count> {
        Ok(self.lock().count(select, bound))
    }

    async fn commit(&self, changes: ChangeSet, _: Ack) -> Result<Committed> {
        let (mut state, now) = self.now();
        if let Some(refusal) = state.refusals(&changes, now).into_iter().next() {
            return Err(refusal);
        }
        let committed = state.apply(changes, now);
        drop(state);
        self.stir();
        Ok(committed)
    }

    async fn start_modification(
        &self,
        key: &Key,
        ttl: Duration,
        want: Want,
    ) -> Result<Modification> {
        let (mut state, now) = self.now();
        state.edit(key, ttl, want, now)
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        let deadline = self.clock.now().plus(request.wait);
        let mut stirred = self.stirred.subscribe();
        loop {
            stirred.borrow_and_update();
            let (now, next) = {
                let (mut state, now) = self.now();
                let keys = state.next_keys(request.stage, request.max, now);
                if !keys.is_empty() || now >= deadline {
                    let lease = |key| state.lease(request.stage, &key, request.lease, now);
                    return Ok(keys.into_iter().map(lease).collect());
                }
                (now, state.next_time(request.stage, now))
            };
            let until = next.map_or(deadline, |next| next.min(deadline));
            let sleep = self.clock.sleep(until.since(now));
            select(Box::pin(stirred.changed()), sleep).await;
        }
    }

    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        let (mut state, now) = self.now();
        Ok(tokens.iter().map(|t| state.renew(t, ttl, now)).collect())
    }

    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        let (mut state, now) = self.now();
        let end = |(token, outcome): &(Token, Outcome)| state.end(token, outcome, now);
        let ended = outcomes.iter().map(end).collect();
        drop(state);
        self.stir();
        Ok(ended)
    }

    async fn feed_position(&self) -> Result<FeedPosition> {
        let (state, now) = self.now();
        Ok(FeedPosition::new(state.revision(), state.oldest(), now))
    }

    fn tail(&self, after: Revision, want: Want) -> BoxStream<'static, Result<ChangeRecord>> {
        feed::tail(self.clone(), after, want)
    }

    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        Ok(self.lock().history(key, before, limit))
    }
}
