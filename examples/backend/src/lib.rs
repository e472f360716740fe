//! A storage backend for TKO over ordered maps of bytes, as `SQLite` or `RocksDB` would give them.
//!
//! `tko_core::codec` turns rows into bytes, and `tko_core::commit` decides what a commit does. What
//! is left is storage. Two things are left out: nothing collects bodies that are no longer named,
//! and a call is no transaction. A map that cannot fail needs none.

use async_trait::async_trait;
use futures_util::future::select;
use futures_util::stream::{BoxStream, StreamExt, unfold};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tko_core::change::FeedPosition;
use tko_core::codec::{Stored, decode, encode, key_of, sort_key};
use tko_core::commit::{Modifications, ReadSet, Right, Staged, TokenState, WorkItem, check, judge};
use tko_core::select::metadata_match;
use tko_core::{
    Ack, Backend, Cause, Change, ChangeRecord, ChangeSet, Claim, ClaimRequest, Clock, Committed,
    Count, Cursor, DeploymentId, Error, Key, Lane, Limits, List, MAX_CHANGES, Modification,
    Outcome, Package, Page, Record, Require, Result, Revision, Select, Stage, Timestamp, Token,
    Version, Want,
};
use tokio::sync::watch;
use uuid::Uuid;

const LEASE: &str = "lease-";

type Table = BTreeMap<Vec<u8>, Vec<u8>>;

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
            tables: Arc::new(Mutex::new(Tables {
                history,
                ..Tables::default()
            })),
            written: Arc::new(watch::Sender::new(0)),
            clock,
        }
    }

    fn read(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes at the store's time, then wakes all who wait.
    fn write<T>(&self, write: impl FnOnce(&mut Tables, Timestamp) -> Result<T>) -> Result<T> {
        let written = write(&mut self.read(), self.clock.now());
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
        let record = |row| tables.record(row, want);
        let read = |key| tables.row(key)?.map(record).transpose();
        keys.iter().map(read).collect()
    }

    async fn list(&self, list: &List) -> Result<Page> {
        let tables = self.read();
        let after = list.after.as_ref().map(|Cursor(key)| sort_key(key));
        let mut rows = tables.find(&list.select, after).peekable();
        let taken = rows.by_ref().take(list.most());
        let taken = taken.map(|row| tables.record(row?, list.want));
        let items = taken.collect::<Result<Vec<_>>>()?;
        let next = rows.peek().and(items.last());
        let next = next.map(|last| Cursor(last.entity.key.clone()));
        Ok(Page::new(Revision(tables.last), items).next(next))
    }

    async fn count(&self, select: &Select, bound: u64, _: Want) -> Result<Count> {
        let tables = self.read();
        let rows: Vec<Record> = tables.find(select, None).collect::<Result<_>>()?;
        let found = rows.len() as u64;
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
            let (until, secret) = (now.plus(ttl), Uuid::new_v4().to_string());
            let token = tables.modifications.open(key, secret, until, now);
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
        self.write(|tables, now| {
            let renew = |token| tables.renew(token, now.plus(ttl), now);
            tokens.iter().map(renew).collect()
        })
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
        let start = Some((self.clone(), self.written.subscribe(), after.0));
        unfold(start, move |place| async move {
            let (store, mut written, after) = place?;
            loop {
                written.borrow_and_update();
                let next = store.read().change_after(after, want.package);
                match next {
                    Some(change) => {
                        let place = change.is_ok().then(|| (store, written, after + 1));
                        return Some((change, place));
                    }
                    None => written.changed().await.ok()?,
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
        let before = before.map_or(u64::MAX, |before| before.0);
        let tables = self.read();
        let changes = tables.changes(0, before, true).rev();
        let of_key = |change: &Result<ChangeRecord>| !matches!(change, Ok(c) if c.key != *key);
        changes.filter(of_key).take(limit).collect()
    }
}

#[derive(Default)]
struct Tables {
    /// By key: a `Record`.
    rows: Table,
    /// By content hash: a `Package`.
    bodies: Table,
    /// By revision: a `ChangeRecord`.
    changes: Table,
    /// By stage and key: a `WorkItem`.
    work: Table,
    holders: BTreeMap<Arc<str>, DeploymentId>,
    modifications: Modifications,
    turns: [Option<Lane>; Stage::ALL.len()],
    history: u64,
    last: u64,
    oldest: u64,
    /// Numbers that are used once: versions and fences.
    version: u64,
}

fn read<T: Stored>(bytes: &[u8]) -> Result<T> {
    Ok(decode(bytes, &Limits::default())?)
}

fn get<T: Stored>(table: &Table, at: &[u8]) -> Result<Option<T>> {
    table.get(at).map(|bytes| read(bytes)).transpose()
}

fn work_key(stage: Stage, key: &Key) -> Vec<u8> {
    [&[stage as u8], &*sort_key(key)].concat()
}

impl Tables {
    fn row(&self, key: &Key) -> Result<Option<Record>> {
        get(&self.rows, &sort_key(key))
    }

    /// A row as it is read.
    fn record(&self, mut row: Record, want: Want) -> Result<Record> {
        for stage in Stage::ALL.into_iter().filter(|_| want.work) {
            let key = &row.entity.key;
            let item = get::<WorkItem>(&self.work, &work_key(stage, key))?;
            row.work.extend(item.map(|item| item.work(stage, key)));
        }
        row.revision = row.revision.filter(|_| want.revision);
        self.with_body(row, want.package)
    }

    fn with_body(&self, row: Record, wanted: bool) -> Result<Record> {
        let body = wanted.then(|| get::<Package>(&self.bodies, &row.entity.body.0));
        Ok(row.package(body.transpose()?.flatten()))
    }

    /// The selected rows after this key, in key order.
    fn find(
        &self,
        select: &Select,
        after: Option<Vec<u8>>,
    ) -> impl Iterator<Item = Result<Record>> {
        let range = (Bound::Excluded(after.unwrap_or_default()), Bound::Unbounded);
        let rows = self.rows.range(range);
        rows.filter_map(|(_, bytes)| self.selected(select, bytes).transpose())
    }

    fn selected(&self, select: &Select, bytes: &[u8]) -> Result<Option<Record>> {
        let row: Record = read(bytes)?;
        for (patterns, key) in select.joins(&row.entity) {
            let joined = key.map_or(Ok(None), |key| self.row(&key))?;
            if !joined.is_some_and(|row| metadata_match(patterns, &row.entity.metadata)) {
                return Ok(None);
            }
        }
        Ok(select.matches(&row.entity).then_some(row))
    }

    fn commit(&mut self, mut set: ChangeSet, now: Timestamp) -> Result<Committed> {
        let changes = std::mem::take(&mut set.changes);
        let (first, count) = (self.version + 1, changes.len() as u64);
        let snapshot = self.read_set(&changes, &set, now)?;
        let staged = Staged::new(&snapshot, changes, |index| Version(first + index as u64));
        let right = judge(&snapshot, &staged, &set.require, set.under.as_ref())?;
        self.version += count;
        let committed = self.write(staged, now, set.cause.as_ref());
        for enqueue in &set.enqueue {
            if self.rows.contains_key(&sort_key(&enqueue.key)) {
                let at = work_key(enqueue.stage, &enqueue.key);
                let item = WorkItem::enqueued(get(&self.work, &at)?, enqueue, now);
                self.work.insert(at, encode(&item));
            }
        }
        if let (Some(token), Some(right)) = (&set.under, right) {
            let leased = self.leased(token, now)?;
            if let (Some(progress), Some((stage, mut item))) = (set.progress, leased) {
                item.set_progress(progress);
                self.put_work(stage, &token.key, &item);
            }
            if let Some(outcome) = right.outcome(set.settle) {
                self.settle(token, &outcome, now)?;
            }
        }
        Ok(committed)
    }

    /// Reads all that the rules need for a change set.
    fn read_set(
        &self,
        changes: &[Change],
        set: &ChangeSet,
        now: Timestamp,
    ) -> Result<ReadSet<Record>> {
        let mut found = ReadSet::at(now);
        found.holders.clone_from(&self.holders);
        let required = set.require.iter().map(Require::key);
        for key in changes.iter().map(Change::key).chain(required) {
            let row = self.row(key)?;
            found.rows.extend(row.map(|row| (key.clone(), row)));
            if self.modifications.excludes(key, set.under.as_ref(), now) {
                found.modified.insert(key.clone());
            }
        }
        let is_last = |require: &Require| matches!(require, Require::Unreferenced(_));
        if set.require.iter().any(is_last) {
            for bytes in self.rows.values() {
                let row: Record = read(bytes)?;
                found.rows.insert(row.entity.key.clone(), row);
            }
        }
        if let Some(token) = &set.under {
            found.token = match self.leased(token, now)? {
                Some((stage, _)) => TokenState::Live(Right::Lease(stage)),
                None if token.secret.starts_with(LEASE) => TokenState::Expired,
                None => self.modifications.state(token, now).into(),
            };
        }
        Ok(found)
    }

    fn write(
        &mut self,
        staged: Staged<Record>,
        now: Timestamp,
        cause: Option<&Cause>,
    ) -> Committed {
        let mut committed = staged.committed();
        let set = Revision(self.last + staged.steps.len() as u64);
        for step in staged.steps {
            self.last += 1;
            let (revision, key) = (Revision(self.last), step.key().clone());
            if let Some(body) = step.body {
                self.bodies.insert(body.hash().0.to_vec(), encode(&body));
            }
            let after = step.after.map(Record::new);
            let after = after.map(|row| row.revision(revision));
            if let Some(row) = &after {
                self.rows.insert(sort_key(&key), encode(row));
            } else {
                self.rows.remove(&sort_key(&key));
                self.work.retain(|at, _| at[1..] != sort_key(&key));
                self.modifications.forget(&key, now);
            }
            let change = ChangeRecord::new(revision, set, now, key).before(step.before);
            let change = change.after(after).cause(cause.cloned());
            let at = self.last.to_be_bytes().to_vec();
            self.changes.insert(at, encode(&change));
            committed.revision = Some(revision);
        }
        for (idempotency_key, holder) in staged.holders {
            self.holders.remove(&idempotency_key);
            self.holders.extend(holder.map(|id| (idempotency_key, id)));
        }
        while self.last - self.oldest > self.history {
            self.oldest += 1;
            self.changes.pop_first();
        }
        committed
    }

    /// The changes between two revisions, the older excluded, with bodies if wanted.
    fn changes(
        &self,
        after: u64,
        before: u64,
        bodies: bool,
    ) -> impl DoubleEndedIterator<Item = Result<ChangeRecord>> {
        let [after, before] = [after, before].map(|revision| revision.to_be_bytes().to_vec());
        let range = (Bound::Excluded(after), Bound::Excluded(before));
        self.changes.range(range).map(move |(_, bytes)| {
            let mut change: ChangeRecord = read(bytes)?;
            let rows = [&mut change.before, &mut change.after];
            for row in rows.into_iter().flatten() {
                *row = self.with_body(row.clone(), bodies)?;
            }
            Ok(change)
        })
    }

    /// The next change, or the error that it is no longer kept or `after` was never reached.
    fn change_after(&self, after: u64, bodies: bool) -> Option<Result<ChangeRecord>> {
        let oldest = Revision(self.oldest);
        let in_feed = (self.oldest..=self.last).contains(&after);
        let expired = (!in_feed).then_some(Err(Error::Expired { oldest }));
        expired.or_else(|| self.changes(after, u64::MAX, bodies).next())
    }

    /// Leases due work. Also gives the time at which more is due.
    fn claim(
        &mut self,
        request: &ClaimRequest,
        now: Timestamp,
    ) -> Result<(Vec<Claim>, Option<Timestamp>)> {
        let stage = request.stage as u8;
        let mut items = Vec::new();
        for (at, bytes) in self.work.range(vec![stage]..vec![stage + 1]) {
            items.push((key_of(&at[1..])?, read::<WorkItem>(bytes)?));
        }
        let times = items.iter().map(|(_, item)| item.ready());
        let next = times.filter(|at| *at > now).min();
        let until = WorkItem::lease_end(now, request.lease);
        let turn = &mut self.turns[usize::from(stage)];
        let mut claims = Vec::new();
        for (key, mut item) in WorkItem::choose(items, turn, request.max, now) {
            let token = Token::new(&key, format!("{LEASE}{}", Uuid::new_v4()));
            item.lease(token.secret.clone(), until);
            self.put_work(request.stage, &key, &item);
            self.version += 1;
            let work = item.work(request.stage, &key);
            claims.push(Claim::new(token, work, self.version, until));
        }
        Ok((claims, next))
    }

    fn put_work(&mut self, stage: Stage, key: &Key, item: &WorkItem) {
        self.work.insert(work_key(stage, key), encode(item));
    }

    fn leased(&self, token: &Token, now: Timestamp) -> Result<Option<(Stage, WorkItem)>> {
        for stage in Stage::ALL {
            let item: Option<WorkItem> = get(&self.work, &work_key(stage, &token.key))?;
            if let Some(item) = item.filter(|item| item.is_leased(token, now)) {
                return Ok(Some((stage, item)));
            }
        }
        Ok(None)
    }

    fn renew(&mut self, token: &Token, until: Timestamp, now: Timestamp) -> Result<bool> {
        let Some((stage, mut item)) = self.leased(token, now)? else {
            return Ok(self.modifications.renew(token, until, now));
        };
        item.renew(until);
        self.put_work(stage, &token.key, &item);
        Ok(true)
    }

    fn settle(&mut self, token: &Token, outcome: &Outcome, now: Timestamp) -> Result<bool> {
        let Some((stage, mut item)) = self.leased(token, now)? else {
            return Ok(self.modifications.close(token, now));
        };
        if item.settle(outcome, now) {
            self.put_work(stage, &token.key, &item);
        } else {
            self.work.remove(&work_key(stage, &token.key));
        }
        Ok(true)
    }
}
