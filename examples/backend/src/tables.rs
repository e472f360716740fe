//! The stored bytes, by table; and what needs no bytes because it is gone with the process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use tko_core::codec::{Stored, decode, encode, key_of, sort_key};
use tko_core::commit::{Right, Snapshot, Staged, TokenState, WorkItem, judge};
use tko_core::select::metadata_match;
use tko_core::{
    Change, ChangeRecord, ChangeSet, Claim, ClaimRequest, Committed, Cursor, DeploymentId, Entity,
    Error, Key, Lane, Limits, List, Outcome, Package, Page, Record, Require, Result, Revision,
    Select, Stage, Timestamp, Token, Version, Want,
};
use uuid::Uuid;

const LEASE: &str = "lease-";

type Table = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Default)]
pub(crate) struct Tables {
    /// By key: a `Record`.
    rows: Table,
    /// By content hash: a `Package`.
    bodies: Table,
    /// By revision: a `ChangeRecord`.
    changes: Table,
    /// By stage and key: a `WorkItem`.
    work: Table,
    holders: BTreeMap<Arc<str>, DeploymentId>,
    /// The end of each modification that was neither used nor given up.
    modifications: BTreeMap<Token, Timestamp>,
    turns: [Lane; Stage::ALL.len()],
    history: u64,
    pub(crate) last: u64,
    pub(crate) oldest: u64,
    version: u64,
    fence: u64,
}

fn get<T: Stored>(table: &Table, at: &[u8]) -> Result<Option<T>> {
    table.get(at).map(|bytes| read(bytes)).transpose()
}

fn read<T: Stored>(bytes: &[u8]) -> Result<T> {
    Ok(decode(bytes, &Limits::default())?)
}

fn work_key(stage: Stage, key: &Key) -> Vec<u8> {
    [&[stage as u8], &*sort_key(key)].concat()
}

impl Tables {
    pub(crate) fn new(history: u64) -> Self {
        Self {
            turns: [Lane::FAILING; Stage::ALL.len()],
            history,
            ..Self::default()
        }
    }

    pub(crate) fn row(&self, key: &Key) -> Result<Option<Record>> {
        get(&self.rows, &sort_key(key))
    }

    /// A row as it is read.
    pub(crate) fn record(&self, mut row: Record, want: Want) -> Result<Record> {
        for stage in Stage::ALL.into_iter().filter(|_| want.work) {
            let item: Option<WorkItem> = get(&self.work, &work_key(stage, &row.entity.key))?;
            row.work
                .extend(item.map(|item| item.work(stage, &row.entity.key)));
        }
        row.package = self.body(&row, want.package)?;
        Ok(row.clone().revision(row.revision.filter(|_| want.revision)))
    }

    fn body(&self, row: &Record, wanted: bool) -> Result<Option<Package>> {
        let body = |_| get(&self.bodies, &row.entity.body.0).transpose();
        wanted.then_some(()).and_then(body).transpose()
    }

    fn selects(&self, select: &Select, entity: &Entity) -> Result<bool> {
        for (patterns, key) in select.joins(entity) {
            let row = key.map_or(Ok(None), |key| self.row(&key))?;
            if !row.is_some_and(|row| metadata_match(patterns, &row.entity.metadata)) {
                return Ok(false);
            }
        }
        Ok(select.matches(entity))
    }

    pub(crate) fn page(&self, list: &List) -> Result<Page> {
        let mut page = Page::new(Revision(self.last), Vec::new());
        let after = list.after.as_ref().map(|Cursor(key)| sort_key(key));
        let after = after.unwrap_or_else(|| vec![list.select.kind as u8]);
        for (at, bytes) in self.rows.range((Bound::Excluded(after), Bound::Unbounded)) {
            if page.items.len() == list.most() {
                let last = page
                    .items
                    .last()
                    .map(|last| Cursor(last.entity.key.clone()));
                return Ok(page.next(last));
            }
            let row: Record = read(bytes)?;
            if at[0] == list.select.kind as u8 && self.selects(&list.select, &row.entity)? {
                page.items.push(self.record(row, list.want)?);
            }
        }
        Ok(page)
    }

    pub(crate) fn count(&self, select: &Select) -> Result<u64> {
        let mut found = 0;
        for bytes in self.rows.values() {
            found += u64::from(self.selects(select, &read::<Record>(bytes)?.entity)?);
        }
        Ok(found)
    }

    pub(crate) fn commit(&mut self, mut set: ChangeSet, now: Timestamp) -> Result<Committed> {
        let changes = std::mem::take(&mut set.changes);
        let (first, count) = (self.version + 1, changes.len() as u64);
        let snapshot = self.snapshot(&changes, &set, now)?;
        let staged = Staged::new(&snapshot, changes, |index| Version(first + index as u64));
        let right = judge(&snapshot, &staged, &set.require, set.under.as_ref())?;
        self.version += count;
        let committed = self.write(staged, now, set.cause.as_ref());
        for enqueue in set
            .enqueue
            .iter()
            .filter(|e| self.rows.contains_key(&sort_key(&e.key)))
        {
            let at = work_key(enqueue.stage, &enqueue.key);
            let item = match get::<WorkItem>(&self.work, &at)? {
                Some(mut item) => {
                    item.enqueue(enqueue, now);
                    item
                }
                None => WorkItem::new(enqueue, now),
            };
            self.work.insert(at, encode(&item));
        }
        if let (Some(token), Some(right)) = (&set.under, right) {
            if let (Some(progress), Some((at, mut item))) = (set.progress, self.leased(token, now)?)
            {
                item.set_progress(progress);
                self.work.insert(at, encode(&item));
            }
            if let Some(outcome) = right.outcome(set.settle) {
                self.settle(token, &outcome, now)?;
            }
        }
        Ok(committed)
    }

    /// Reads all that the commit rules may ask for.
    fn snapshot(&self, changes: &[Change], set: &ChangeSet, now: Timestamp) -> Result<View<'_>> {
        let mut rows = BTreeMap::new();
        let required = set.require.iter().map(Require::key);
        for key in changes.iter().map(Change::key).chain(required) {
            rows.extend(self.row(key)?.map(|row| (key.clone(), row)));
        }
        if set
            .require
            .iter()
            .any(|require| matches!(require, Require::Unreferenced(_)))
        {
            for bytes in self.rows.values() {
                let row: Record = read(bytes)?;
                rows.insert(row.entity.key.clone(), row);
            }
        }
        let token = set
            .under
            .as_ref()
            .map(|token| self.token(token, now))
            .transpose()?;
        Ok(View {
            tables: self,
            rows,
            token,
            now,
        })
    }

    fn write(
        &mut self,
        staged: Staged<Record>,
        now: Timestamp,
        cause: Option<&Arc<str>>,
    ) -> Committed {
        let mut committed = staged.committed();
        let set = Revision(self.last + staged.steps.len() as u64);
        for step in staged.steps {
            self.last += 1;
            let (revision, key) = (Revision(self.last), step.key().clone());
            if let Some(body) = step.body {
                self.bodies.insert(body.hash().0.to_vec(), encode(&body));
            }
            let after = step
                .after
                .map(|entity| Record::new(entity).revision(revision));
            if let Some(row) = &after {
                self.rows.insert(sort_key(&key), encode(row));
            } else {
                self.rows.remove(&sort_key(&key));
                self.work.retain(|at, _| at[1..] != sort_key(&key));
            }
            let change = ChangeRecord::new(revision, set, now, key).before(step.before);
            let change = change.after(after).cause(cause.cloned());
            self.changes
                .insert(self.last.to_be_bytes().to_vec(), encode(&change));
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

    fn change(&self, bytes: &[u8], packages: bool) -> Result<ChangeRecord> {
        let mut change: ChangeRecord = read(bytes)?;
        for row in [&mut change.before, &mut change.after]
            .into_iter()
            .flatten()
        {
            row.package = self.body(row, packages)?;
        }
        Ok(change)
    }

    /// The next change, if there is one yet.
    pub(crate) fn change_after(
        &self,
        after: Revision,
        packages: bool,
    ) -> Result<Option<ChangeRecord>> {
        let oldest = Revision(self.oldest);
        if after < oldest {
            return Err(Error::Expired { oldest });
        }
        let bytes = self
            .changes
            .get(&after.0.saturating_add(1).to_be_bytes()[..]);
        bytes.map(|bytes| self.change(bytes, packages)).transpose()
    }

    pub(crate) fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        let end = before
            .map_or(u64::MAX, |before| before.0)
            .to_be_bytes()
            .to_vec();
        let changes = self.changes.range(..end).rev();
        let changes = changes.map(|(_, bytes)| self.change(bytes, true));
        let of_key = |change: &Result<ChangeRecord>| !matches!(change, Ok(c) if c.key != *key);
        changes.filter(of_key).take(limit).collect()
    }

    /// Leases due work. Also gives the time at which more is due.
    pub(crate) fn claim(
        &mut self,
        request: &ClaimRequest,
        now: Timestamp,
    ) -> Result<(Vec<Claim>, Option<Timestamp>)> {
        let stage = request.stage;
        let mut items = Vec::new();
        for (at, bytes) in self.work.range(vec![stage as u8]..vec![stage as u8 + 1]) {
            items.push((key_of(&at[1..])?, read::<WorkItem>(bytes)?));
        }
        let times = items.iter().map(|(_, item)| item.ready());
        let next = times.filter(|at| *at > now).min();
        let until = WorkItem::lease_end(now, request.lease);
        let mut claims = Vec::new();
        for (key, mut item) in
            WorkItem::choose(items, &mut self.turns[stage as usize], request.max, now)
        {
            let token = Token::new(&key, format!("{LEASE}{}", Uuid::new_v4().simple()));
            item.lease(token.secret.clone(), until);
            self.work.insert(work_key(stage, &key), encode(&item));
            self.fence += 1;
            claims.push(Claim::new(token, item.work(stage, &key), self.fence, until));
        }
        Ok((claims, next))
    }

    /// The work that is leased by this token, and its place.
    fn leased(&self, token: &Token, now: Timestamp) -> Result<Option<(Vec<u8>, WorkItem)>> {
        for stage in Stage::ALL {
            let at = work_key(stage, &token.key);
            let item: Option<WorkItem> = get(&self.work, &at)?;
            if let Some(item) = item.filter(|item| item.is_leased(token, now)) {
                return Ok(Some((at, item)));
            }
        }
        Ok(None)
    }

    fn token(&self, token: &Token, now: Timestamp) -> Result<TokenState> {
        if let Some((at, _)) = self.leased(token, now)? {
            return Ok(TokenState::Live(Right::Lease(
                Stage::ALL[usize::from(at[0])],
            )));
        }
        Ok(match self.modifications.get(token) {
            Some(until) if *until > now => TokenState::Live(Right::Modification),
            None if !token.secret.starts_with(LEASE) => TokenState::Unknown,
            _ => TokenState::Expired,
        })
    }

    fn is_modified(&self, key: &Key, own: Option<&Token>, now: Timestamp) -> bool {
        let of_key = self.modifications.range(Token::new(key, "")..);
        let mut of_key = of_key.take_while(|(token, _)| token.key == *key);
        of_key.any(|(token, until)| *until > now && Some(token) != own)
    }

    pub(crate) fn open_modification(
        &mut self,
        key: &Key,
        until: Timestamp,
        now: Timestamp,
    ) -> Option<Token> {
        let token = Token::new(key, Uuid::new_v4().simple().to_string());
        let free = !self.is_modified(key, None, now);
        free.then(|| self.modifications.insert(token.clone(), until));
        free.then_some(token)
    }

    pub(crate) fn renew(
        &mut self,
        token: &Token,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<bool> {
        if let Some((at, mut item)) = self.leased(token, now)? {
            item.renew(until);
            self.work.insert(at, encode(&item));
            return Ok(true);
        }
        let open = self
            .modifications
            .get_mut(token)
            .filter(|until| **until > now);
        Ok(open.map(|end| *end = until).is_some())
    }

    pub(crate) fn settle(
        &mut self,
        token: &Token,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<bool> {
        if let Some((at, mut item)) = self.leased(token, now)? {
            self.work.remove(&at);
            let stays = item.settle(outcome, now);
            self.work.extend(stays.then(|| (at, encode(&item))));
            return Ok(true);
        }
        let open = self
            .modifications
            .get(token)
            .is_some_and(|until| *until > now);
        Ok(open && self.modifications.remove(token).is_some())
    }
}

/// What a commit depends on, read beforehand.
struct View<'a> {
    tables: &'a Tables,
    rows: BTreeMap<Key, Record>,
    token: Option<TokenState>,
    now: Timestamp,
}

impl Snapshot for View<'_> {
    type Row = Record;

    fn row(&self, key: &Key) -> Option<Record> {
        self.rows.get(key).cloned()
    }

    fn holder(&self, idempotency_key: &str) -> Option<DeploymentId> {
        self.tables.holders.get(idempotency_key).cloned()
    }

    fn is_referenced(&self, key: &Key, changed: &dyn Fn(&Key) -> bool) -> bool {
        let mut rows = self.rows.values();
        rows.any(|row| row.entity.refers_to(key) && !changed(&row.entity.key))
    }

    fn token(&self, _: &Token) -> TokenState {
        self.token.unwrap_or(TokenState::Unknown)
    }

    fn is_modified(&self, key: &Key, own: Option<&Token>) -> bool {
        self.tables.is_modified(key, own, self.now)
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}
