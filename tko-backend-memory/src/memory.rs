//! The backend: one lock around the state, held for short, never over an await.

use crate::count::Tally;
use crate::state::State;
use crate::{claim, commit, feed, walk};
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use std::fmt;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use tko_core::change::FeedPosition;
use tko_core::{
    Ack, Backend, ChangeRecord, ChangeSet, Claim, ClaimRequest, Clock, Committed, Count, Error,
    Key, List, MAX_CHANGES, Modification, Outcome, Page, Record, Result, Revision, Select, Stage,
    Token, Want,
};
use tokio::sync::{Notify, watch};

/// How much to remember.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many of the last changes are kept for watching and history. Default: 100,000.
    ///
    /// Each keeps the states before and after it, with their bodies. With fewer than a change set
    /// has ([`MAX_CHANGES`]) a watcher may miss the beginning of one, and is told `Expired`.
    pub history: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { history: 100_000 }
    }
}

/// Keeps everything in memory, for as long as the process lives.
pub struct Memory(Arc<Shared>);

/// What the feeds that were given out need too.
pub(crate) struct Shared {
    state: RwLock<State>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The last revision, for whoever waits for the next.
    pub(crate) head: watch::Sender<Revision>,
    /// By stage: something may be due, or due earlier than thought.
    due: [Notify; Stage::ALL.len()],
}

impl Memory {
    /// An empty store. `clock` says when leases and edits lapse and work is due.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "settings may come to hold what is not copied"
    )]
    pub fn new(clock: Arc<dyn Clock>, settings: Settings) -> Self {
        Self(Arc::new(Shared {
            state: RwLock::new(State::new(settings.history)),
            clock,
            head: watch::Sender::new(Revision(0)),
            due: Stage::ALL.map(|_| Notify::new()),
        }))
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

impl Shared {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect("no code panics while it writes")
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().expect("no code panics while it writes")
    }

    /// Where to hear of work of this stage.
    pub(crate) fn due(&self, stage: Stage) -> &Notify {
        &self.due[stage as usize]
    }

    /// In these stages something may be due now, or earlier than was thought.
    fn wake(&self, stages: impl IntoIterator<Item = Stage>) {
        let mut woken = [false; Stage::ALL.len()];
        for stage in stages {
            if !std::mem::replace(&mut woken[stage as usize], true) {
                self.due(stage).notify_one();
            }
        }
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
        Ok(walk::page(&self.0.read(), list).0)
    }

    async fn count(&self, select: &Select, bound: u64, _: Want) -> Result<Count> {
        let mut tally = Tally::new(select, bound);
        loop {
            if let Some(count) = tally.step(&self.0.read()) {
                return Ok(count);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn commit(&self, changes: ChangeSet, _: Ack) -> Result<Committed> {
        commit::check(&changes)?;
        let stages: Vec<Stage> = match changes.settle {
            Some(_) => Stage::ALL.into(),
            None => changes.enqueue.iter().map(|mark| mark.stage).collect(),
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
        match state.modifications.open(key, until, now) {
            Some(token) => Ok(Modification {
                token,
                until,
                record,
            }),
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
        Ok(FeedPosition {
            revision: state.log.last(),
            oldest: state.log.oldest(),
            now: self.0.clock.now(),
        })
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
}
