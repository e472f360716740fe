//! A storage backend for TKO over ordered maps of bytes, as SQLite or RocksDB would give them.
//!
//! `tko_core::codec` turns rows into bytes, and `tko_core::commit` decides what a commit does. What
//! is left is storage. Nothing collects bodies and expired modifications here, and a real store
//! would run each call in a transaction of its own.

mod tables;

use async_trait::async_trait;
use futures_util::future::select;
use futures_util::stream::{BoxStream, StreamExt, unfold};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tables::Tables;
use tko_core::change::FeedPosition;
use tko_core::commit::check;
use tko_core::{
    Ack, Backend, ChangeRecord, ChangeSet, Claim, ClaimRequest, Clock, Committed, Count, Error,
    Key, List, MAX_CHANGES, Modification, Outcome, Page, Record, Result, Revision, Select,
    Timestamp, Token, Want,
};
use tokio::sync::watch;

/// Keeps everything as bytes. Clones share the store.
#[derive(Clone)]
pub struct BytesBackend {
    tables: Arc<Mutex<Tables>>,
    /// Counts writes: each may end the wait of a claim or of a feed.
    written: Arc<watch::Sender<u64>>,
    clock: Arc<dyn Clock>,
}

impl BytesBackend {
    /// An empty store that keeps its last `history` changes.
    pub fn new(clock: Arc<dyn Clock>, history: u64) -> Self {
        Self {
            tables: Arc::new(Mutex::new(Tables::new(history))),
            written: Arc::new(watch::Sender::new(0)),
            clock,
        }
    }

    fn read(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes at the store's time, then wakes all who wait.
    fn write<T>(&self, write: impl FnOnce(&mut Tables, Timestamp) -> Result<T>) -> Result<T> {
        let mut tables = self.read();
        let written = write(&mut tables, self.clock.now());
        drop(tables);
        self.written.send_modify(|count| *count += 1);
        written
    }
}

#[async_trait]
impl Backend for BytesBackend {
    fn name(&self) -> &'static str {
        "bytes"
    }

    async fn get(&self, keys: &[Key], want: Want) -> Result<Vec<Option<Record>>> {
        if keys.len() > MAX_CHANGES {
            return Err(Error::bad("keys", format!("more than {MAX_CHANGES}")));
        }
        let tables = self.read();
        let read = |key| {
            tables
                .row(key)?
                .map(|row| tables.record(row, want))
                .transpose()
        };
        keys.iter().map(read).collect()
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.read().page(list)
    }

    async fn count(&self, select: &Select, bound: u64, _: Want) -> Result<Count> {
        let found = self.read().count(select)?;
        Ok(Count::new(found.min(bound), found > bound))
    }

    async fn commit(&self, changes: ChangeSet, _: Ack) -> Result<Committed> {
        check(&changes)?;
        self.write(|tables, now| tables.commit(changes, now))
    }

    async fn start_modification(
        &self,
        key: &Key,
        ttl: Duration,
        want: Want,
    ) -> Result<Modification> {
        self.write(|tables, now| {
            let row = tables.row(key)?.filter(|row| !row.entity.deleting);
            let row = row.ok_or_else(|| Error::not_found(key))?;
            let until = now.plus(ttl);
            let token = tables.open_modification(key, until, now);
            let token = token.ok_or_else(|| Error::Busy(key.clone()))?;
            Ok(Modification::new(token, until, tables.record(row, want)?))
        })
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        let deadline = self.clock.now().plus(request.wait);
        let mut written = self.written.subscribe();
        loop {
            written.borrow_and_update();
            let now = self.clock.now();
            let (claims, next) = self.read().claim(request, now)?;
            if !claims.is_empty() || now >= deadline {
                return Ok(claims);
            }
            let until = next.map_or(deadline, |next| next.min(deadline));
            let sleep = self.clock.sleep(until.since(now));
            select(pin!(written.changed()), sleep).await;
        }
    }

    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        let renew = |tables: &mut Tables, now: Timestamp| {
            let renew = |token| tables.renew(token, now.plus(ttl), now);
            tokens.iter().map(renew).collect()
        };
        self.write(renew)
    }

    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        self.write(|tables, now| {
            let settle = |(token, outcome): &(_, _)| tables.settle(token, outcome, now);
            outcomes.iter().map(settle).collect()
        })
    }

    async fn feed_position(&self) -> Result<FeedPosition> {
        let tables = self.read();
        let (last, oldest) = (Revision(tables.last), Revision(tables.oldest));
        Ok(FeedPosition::new(last, oldest, self.clock.now()))
    }

    fn tail(&self, after: Revision, want: Want) -> BoxStream<'static, Result<ChangeRecord>> {
        let start = Some((self.clone(), self.written.subscribe(), after));
        unfold(start, move |place| async move {
            let (store, mut written, after) = place?;
            loop {
                written.borrow_and_update();
                let found = store.read().change_after(after, want.package);
                match found {
                    Ok(Some(change)) => {
                        let after = change.revision;
                        return Some((Ok(change), Some((store, written, after))));
                    }
                    Ok(None) => written.changed().await.ok()?,
                    Err(error) => return Some((Err(error), None)),
                }
            }
        })
        .boxed()
    }

    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        self.read().history(key, before, limit)
    }
}
