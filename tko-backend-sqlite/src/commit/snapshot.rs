//! Reads everything that the rules need for some change sets, in one round trip.

use super::group::GroupedSet;
use crate::arena::{Arena, RowList, signed, unsigned};
use crate::connect::SqliteParts;
use crate::facet::referrers;
use crate::fault::SqlResult;
use crate::pack::unpack;
use crate::read::stored_key;
use crate::work::modification::LEASE;
use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tko_core::commit::{ReadSet, Right, TokenState, WorkItem};
use tko_core::{
    Change, ContentHash, DeploymentId, Facts, Key, Package, Record, Require, Result, Stage,
    Timestamp, Token,
};

/// Where the next write continues: the last revision of the feed, and the last number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WritePosition {
    pub(super) revision: u64,
    pub(super) number: u64,
    /// The version of the data. It changes when another process writes:
    /// <https://www.sqlite.org/pragma.html#pragma_data_version>. Only a damaged file has none.
    pub(super) version: Option<i64>,
}

/// Everything that some change sets depend on.
#[derive(Default)]
pub(super) struct GroupSnapshot {
    pub(super) rows: BTreeMap<Key, Record>,
    pub(super) work: BTreeMap<(Key, Stage), WorkItem>,
    /// The packages that are stored already.
    pub(super) bodies: HashSet<ContentHash>,
    pub(super) position: WritePosition,
    /// The lowest number of a dictionary.
    pub(super) lowest_dictionary: Option<i64>,
    holders: BTreeMap<Arc<str>, DeploymentId>,
    /// The last modification of each entity: key, end and secret.
    latest: Vec<(Key, Timestamp, Arc<str>)>,
    /// Modifications by secret.
    modifications: HashMap<Arc<str>, (Key, Timestamp)>,
    /// Keys, each with a key that refers to it.
    referrers: Vec<(Key, Key)>,
}

/// Everything that one change set depends on.
pub(super) struct SetSnapshot {
    pub(super) read_set: ReadSet<Record>,
    /// The secret of the modification that permits the set.
    pub(super) modification: Option<Arc<str>>,
}

impl GroupSnapshot {
    /// Returns what one of the sets depends on.
    pub(super) fn of_set(&self, grouped: &GroupedSet, now: Timestamp) -> SetSnapshot {
        let mut read_set = ReadSet::at(now);
        for key in grouped.keys() {
            if let Some(record) = self.rows.get(key) {
                read_set.rows.insert(key.clone(), record.clone());
            }
        }
        read_set.holders.clone_from(&self.holders);
        let under = grouped.set.under.as_ref();
        for (key, until, secret) in &self.latest {
            let is_own = under.is_some_and(|token| token.key == *key && token.secret == *secret);
            if *until > now && !is_own {
                read_set.modified.insert(key.clone());
            }
        }
        for (key, referrer) in &self.referrers {
            if !read_set.rows.contains_key(referrer) {
                read_set.referenced.insert(key.clone());
            }
        }
        let mut modification = None;
        if let Some(token) = under {
            let until = self.modification(token);
            read_set.token = token_state(token, self.leased(token, now), until, now);
            modification = until.map(|_| token.secret.clone());
        }
        SetSnapshot {
            read_set,
            modification,
        }
    }

    fn modification(&self, token: &Token) -> Option<Timestamp> {
        let (key, until) = self.modifications.get(&token.secret)?;
        (*key == token.key).then_some(*until)
    }

    fn leased(&self, token: &Token, now: Timestamp) -> Option<Stage> {
        Stage::ALL.into_iter().find(|stage| {
            let item = self.work.get(&(token.key.clone(), *stage));
            item.is_some_and(|item| item.is_leased(token, now))
        })
    }
}

/// The state of the token that permits a set.
fn token_state(
    token: &Token,
    leased: Option<Stage>,
    modification: Option<Timestamp>,
    now: Timestamp,
) -> TokenState {
    match (leased, modification) {
        (Some(stage), _) => TokenState::Live(Right::Lease(stage)),
        (None, Some(until)) if until > now => TokenState::Live(Right::Modification),
        (None, Some(_)) => TokenState::Expired,
        (None, None) if token.secret.starts_with(LEASE) => TokenState::Expired,
        (None, None) => TokenState::Unknown,
    }
}

/// Parts of one statement: the thread of the connection passes on each row and the end of each
/// statement. The first column says what a row contains.
const HEAD: &str = "\
SELECT 0, revision, number, (SELECT min(num) FROM dictionary), data_version \
    FROM head CROSS JOIN pragma_data_version";
const ROWS: &str = "\
SELECT 1, e.data, NULL, NULL, NULL FROM json_each($1) j \
    CROSS JOIN entity e ON e.kind = j.value->>0 AND e.id = j.value->>1";
const WORK: &str = "\
SELECT 2, w.kind, w.id, w.stage, w.data FROM json_each($1) j \
    CROSS JOIN work w ON w.kind = j.value->>0 AND w.id = j.value->>1";
const LATEST: &str = "\
SELECT 3, m.kind, m.id, m.until, m.secret FROM json_each($1) j \
    CROSS JOIN modification m ON m.kind = j.value->>0 AND m.id = j.value->>1 AND m.latest = 1";
const MODIFICATIONS: &str = "\
SELECT 4, m.kind, m.id, m.until, m.secret FROM json_each($2) j \
    CROSS JOIN modification m ON m.secret = CAST(substr($6, j.value->>0, j.value->>1) AS TEXT)";
const HOLDERS: &str = "\
SELECT 5, h.idempotency_key, h.id, NULL, NULL FROM json_each($3) j \
    CROSS JOIN holder h ON h.idempotency_key = substr($6, j.value->>0, j.value->>1)";
const BODIES: &str = "\
SELECT 6, b.hash, NULL, NULL, NULL FROM json_each($4) j \
    CROSS JOIN body b ON b.hash = substr($6, j.value->>0, j.value->>1)";
const REFERRERS: &str = "\
SELECT 7, j.value->>0, j.value->>1, j.value->>2, p.id FROM json_each($5) j \
    CROSS JOIN term t ON t.kind = j.value->>2 AND t.facet = j.value->>3 AND t.name = x'' \
        AND t.value = CAST(j.value->>1 AS BLOB) \
    CROSS JOIN posting p ON p.term = t.num \
        AND p.id IN (SELECT id FROM posting WHERE term = t.num ORDER BY id LIMIT $7)";

/// Reads the current state. `begin`: begins the transaction first.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    sets: &[GroupedSet],
    begin: bool,
) -> Result<GroupSnapshot> {
    let mut arena = Arena::default();
    let mut rows = RowList::default();
    let keys: BTreeSet<&Key> = sets.iter().flat_map(GroupedSet::keys).collect();
    let enough = signed(keys.len() as u64 + 1);
    for key in keys {
        rows.row().number(key.kind() as i64).id(key.id()).end();
    }
    let (mut holders, mut bodies) = (RowList::default(), RowList::default());
    let (mut secrets, mut references) = (RowList::default(), RowList::default());
    let mut has_work = false;
    for grouped in sets {
        let set = &grouped.set;
        has_work |= !set.enqueue.is_empty() || set.under.is_some();
        if let Some(token) = &set.under {
            secrets
                .row()
                .place(arena.add(token.secret.as_bytes()))
                .end();
        }
        for change in &grouped.changes {
            let Change::Put(put) = change else { continue };
            if let Facts::Deployment(deployment) = &put.facts
                && let Some(key) = &deployment.idempotency_key
            {
                holders.row().place(arena.add(key.as_bytes())).end();
            }
            let body = put.body.as_ref().map(Package::hash);
            let body = body.unwrap_or_else(|| Package::default().hash());
            bodies.row().place(arena.add(&body.0)).end();
        }
        for require in &set.require {
            let Require::Unreferenced(key) = require else {
                continue;
            };
            for (kind, facet) in referrers(key) {
                references
                    .row()
                    .number(key.kind() as i64)
                    .id(key.id())
                    .number(*kind as i64)
                    .number(*facet as i64)
                    .end();
            }
        }
    }
    let parts = [
        (HEAD, true),
        (ROWS, true),
        (WORK, has_work),
        (LATEST, true),
        (MODIFICATIONS, !secrets.is_empty()),
        (HOLDERS, !holders.is_empty()),
        (BODIES, !bodies.is_empty()),
        (REFERRERS, !references.is_empty()),
    ];
    let parts = parts.iter().filter(|(_, is_needed)| *is_needed);
    let parts: Vec<&str> = parts.map(|(sql, _)| *sql).collect();
    let begin = if begin { "BEGIN IMMEDIATE; " } else { "" };
    let sql = format!("{begin}{}", parts.join(" UNION ALL "));
    // No value is spliced into the text.
    let statement = sqlx::query(AssertSqlSafe(sql))
        .bind(rows.into_text())
        .bind(secrets.into_text())
        .bind(holders.into_text())
        .bind(bodies.into_text())
        .bind(references.into_text())
        .bind(arena.into_bytes())
        .bind(enough);
    let fault = shared.file.fault("read the current state");
    let mut snapshot = GroupSnapshot::default();
    // One connection runs all statements in order.
    let mut stream = sqlx::Executor::fetch_many(&mut *connection, statement);
    while let Some(part) = stream.try_next().await.map_err(&fault)? {
        let Some(row) = part.right() else { continue };
        snapshot.take(&row).map_err(&fault)??;
    }
    drop(stream);
    Ok(snapshot)
}

impl GroupSnapshot {
    /// Takes one row of the answer.
    fn take(&mut self, row: &SqliteRow) -> SqlResult<Result<()>> {
        let tag: i64 = row.try_get(0)?;
        let key = |at: usize| -> SqlResult<Result<Key>> {
            Ok(stored_key(row.try_get(at)?, row.try_get(at + 1)?))
        };
        macro_rules! valid {
            ($result:expr) => {
                match $result {
                    Ok(value) => value,
                    Err(error) => return Ok(Err(error)),
                }
            };
        }
        match tag {
            0 => {
                self.position = WritePosition {
                    revision: unsigned(row.try_get(1)?),
                    number: unsigned(row.try_get(2)?),
                    version: row.try_get(4)?,
                };
                self.lowest_dictionary = row.try_get(3)?;
            }
            1 => {
                let record = valid!(unpack::<Record>(row.try_get(1)?));
                self.rows.insert(record.entity.key.clone(), record);
            }
            2 => {
                let stage: i64 = row.try_get(3)?;
                let stage = Stage::ALL.into_iter().find(|known| *known as i64 == stage);
                if let Some(stage) = stage {
                    let item = valid!(unpack::<WorkItem>(row.try_get(4)?));
                    self.work.insert((valid!(key(1)?), stage), item);
                }
            }
            3 | 4 => {
                let (until, secret): (i64, &str) = (row.try_get(3)?, row.try_get(4)?);
                let (key, until, secret) = (valid!(key(1)?), Timestamp(until), secret.into());
                if tag == 3 {
                    self.latest.push((key, until, secret));
                } else {
                    self.modifications.insert(secret, (key, until));
                }
            }
            5 => {
                let idempotency_key = String::from_utf8_lossy(row.try_get::<&[u8], _>(1)?);
                let holder = valid!(DeploymentId::new(row.try_get(2)?));
                self.holders.insert(idempotency_key.into(), holder);
            }
            6 => {
                if let Ok(hash) = row.try_get::<&[u8], _>(1)?.try_into() {
                    self.bodies.insert(ContentHash(hash));
                }
            }
            _ => {
                let referrer = valid!(stored_key(row.try_get(3)?, row.try_get(4)?));
                self.referrers.push((valid!(key(1)?), referrer));
            }
        }
        Ok(Ok(()))
    }
}
