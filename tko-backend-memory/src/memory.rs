//! The backend: every call takes one lock, holds it briefly, and never across an await.

use crate::count::RunningCount;
use crate::shared::SharedState;
use crate::work::claim;
use crate::{commit, feed, list};
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tko_core::change::FeedPosition;
use tko_core::{
    Ack, Backend, ChangeRecord, ChangeSet, Claim, ClaimRequest, Clock, Committed, ContentHash,
    Count, Error, Key, List, MAX_CHANGES, Modification, Outcome, Page, Record, Result, Revision,
    Select, SharedLimits, Stage, Token, Want,
};
use uuid::Uuid;

/// The limits of the memory backend.
#[derive(Clone, Debug)]
pub struct MemorySettings {
    /// The number of changes that are kept for watches and history. Default: 100,000.
    ///
    /// Each change keeps the states before and after it, with their bodies. With fewer than
    /// [`MAX_CHANGES`], a watch may miss the beginning of a large change set and end with
    /// `Expired`.
    pub history: usize,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self { history: 100_000 }
    }
}

/// A backend that keeps everything in memory, until the process ends.
pub struct Memory(Arc<SharedState>);

impl Memory {
    /// An empty store. `clock` decides when leases and modifications expire and when work is due.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "settings may get fields that are not copied"
    )]
    pub fn new(clock: Arc<dyn Clock>, settings: MemorySettings) -> Self {
        Self(Arc::new(SharedState::new(clock, settings.history)))
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = self.0.read().revision();
        f.debug_struct("Memory")
            .field("revision", &revision)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn get(&self, keys: &[Key], want: Want) -> Result<Vec<Option<Record>>> {
        if keys.len() > MAX_CHANGES {
            return Err(Error::bad(
                "keys",
                format!(
                    "there are {}; at most {MAX_CHANGES} are read at once: read them in parts",
                    keys.len()
                ),
            ));
        }
        let state = self.0.read();
        Ok(keys
            .iter()
            .map(|key| state.row(key).map(|row| state.record(row, want)))
            .collect())
    }

    async fn list(&self, list: &List) -> Result<Page> {
        Ok(list::page(&self.0.read(), list).0)
    }

    async fn count(&self, select: &Select, bound: u64, _: Want) -> Result<Count> {
        let mut count = RunningCount::new(select, bound);
        loop {
            if let Some(count) = count.step(&self.0.read()) {
                return Ok(count);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn commit(&self, changes: ChangeSet, _: Ack) -> Result<Committed> {
        commit::check(&changes)?;
        let stages: Vec<Stage> = match changes.settle {
            Some(_) => Stage::ALL.into(),
            None => changes
                .enqueue
                .iter()
                .map(|enqueue| enqueue.stage)
                .collect(),
        };
        let (committed, gone) = {
            let mut state = self.0.write();
            let now = self.0.clock.now();
            commit::commit(&mut state, changes, now)?
        };
        drop(gone);
        if let Some(revision) = committed.revision {
            self.0.head.send_if_modified(|head| {
                let newer = *head < revision;
                *head = revision.max(*head);
                newer
            });
        }
        self.0.wake(stages);
        Ok(committed)
    }

    async fn start_modification(
        &self,
        key: &Key,
        ttl: Duration,
        want: Want,
    ) -> Result<Modification> {
        let mut state = self.0.write();
        let now = self.0.clock.now();
        let record = match state.row(key) {
            Some(row) if !row.entity.deleting => state.record(row, want),
            _ => return Err(Error::not_found(key)),
        };
        let until = now.plus(ttl);
        let secret = format!("edit.{}", Uuid::new_v4().simple());
        match state.modifications.open(key, secret, until, now) {
            Some(token) => Ok(Modification::new(token, until, record)),
            None => Err(Error::Busy(key.clone())),
        }
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        Ok(claim::claim(&self.0, request).await)
    }

    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        let renewed = {
            let mut state = self.0.write();
            let now = self.0.clock.now();
            let renew = |token| state.renew(token, now.plus(ttl), now);
            tokens.iter().map(renew).collect()
        };
        self.0.wake(Stage::ALL);
        Ok(renewed)
    }

    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        let settled = {
            let mut state = self.0.write();
            let now = self.0.clock.now();
            let settle = |(token, outcome): &(_, _)| state.settle(token, outcome, now);
            outcomes.iter().map(settle).collect()
        };
        self.0.wake(Stage::ALL);
        Ok(settled)
    }

    async fn feed_position(&self) -> Result<FeedPosition> {
        let state = self.0.read();
        Ok(FeedPosition::new(
            state.log.last(),
            state.log.oldest(),
            self.0.clock.now(),
        ))
    }

    fn tail(&self, after: Revision, want: Want) -> BoxStream<'static, Result<ChangeRecord>> {
        feed::tail(self.0.clone(), after, want)
    }

    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        Ok(self.0.read().log.history(key, before, limit))
    }

    async fn put_shared(&self, key: ContentHash, value: &[u8], limits: SharedLimits) -> Result<()> {
        let now = self.0.clock.now();
        self.0.values().put(key, value, limits, now);
        Ok(())
    }

    async fn get_shared(&self, key: ContentHash, age: Duration) -> Result<Option<Vec<u8>>> {
        let now = self.0.clock.now();
        Ok(self.0.values().find(key, age, now))
    }
}
