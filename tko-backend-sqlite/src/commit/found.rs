//! Reads everything that the rules need for a change set, in one round trip.

use super::{keys, stored_row, token_state};
use crate::arena::{Arena, RowList, signed, unsigned};
use crate::connect::SqliteParts;
use crate::fault::SqlResult;
use crate::pack::unpack;
use crate::read::stored_key;
use crate::term::referrers;
use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tko_core::commit::{ReadSet, WorkItem};
use tko_core::{
    Change, ChangeSet, ContentHash, DeploymentId, Facts, Key, Package, Record, Require, Result,
    Stage, Timestamp,
};

/// The position of the feed, and the last number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    pub(super) revision: u64,
    pub(super) number: u64,
}

/// All that a change set depends on.
pub(super) struct FoundState {
    pub(super) snapshot: ReadSet<Record>,
    pub(super) work: BTreeMap<(Key, Stage), WorkItem>,
    /// The packages that are stored already.
    pub(super) bodies: HashSet<ContentHash>,
    pub(super) head: Head,
    /// The secret of the modification that permits the set.
    pub(super) modification: Option<Arc<str>>,
}

/// The first column says what a row is.
const READ: &str = "\
SELECT 0, revision, number FROM head; \
SELECT 1, e.kind, e.id, e.data FROM json_each($1) j \
    CROSS JOIN entity e ON e.kind = j.value->>0 AND e.id = j.value->>1; \
SELECT 2, w.kind, w.id, w.stage, w.data FROM json_each($1) j \
    CROSS JOIN work w ON w.kind = j.value->>0 AND w.id = j.value->>1; \
SELECT 3, m.kind, m.id, m.until, m.secret FROM json_each($1) j \
    CROSS JOIN modification m ON m.kind = j.value->>0 AND m.id = j.value->>1 AND m.latest = 1; \
SELECT 4, kind, id, until FROM modification WHERE secret = $2; \
SELECT 5, h.idempotency_key, h.id FROM json_each($3) j \
    CROSS JOIN holder h ON h.idempotency_key = substr($6, j.value->>0, j.value->>1); \
SELECT 6, b.hash FROM json_each($4) j \
    CROSS JOIN body b ON b.hash = substr($6, j.value->>0, j.value->>1); \
SELECT 7, j.value->>0, j.value->>1, j.value->>2, p.id FROM json_each($5) j \
    CROSS JOIN term t ON t.kind = j.value->>2 AND t.facet = j.value->>3 AND t.name = x'' \
        AND t.value = CAST(j.value->>1 AS BLOB) \
    CROSS JOIN posting p ON p.term = t.num \
        AND p.id IN (SELECT id FROM posting WHERE term = t.num ORDER BY id LIMIT $7);";

/// Reads the present state.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    changes: &[Change],
    set: &ChangeSet,
    now: Timestamp,
) -> Result<FoundState> {
    let action = "read the present state";
    let mut arena = Arena::default();
    let mut rows = RowList::default();
    let keys = keys(changes, set);
    let enough = signed(keys.len() as u64 + 1);
    for key in keys {
        rows.row().number(key.kind() as i64).id(key.id()).end();
    }
    let (mut holders, mut bodies) = (RowList::default(), RowList::default());
    for change in changes {
        let Change::Put(put) = change else { continue };
        if let Facts::Deployment(deployment) = &put.facts
            && let Some(key) = &deployment.idempotency_key
        {
            holders.row().place(arena.add(key.as_bytes())).end();
        }
        if let Some(body) = &put.body {
            bodies.row().place(arena.add(&body.hash().0)).end();
        } else {
            bodies
                .row()
                .place(arena.add(&Package::default().hash().0))
                .end();
        }
    }
    let mut references = RowList::default();
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
    let secret = set.under.as_ref().map(|token| token.secret.to_string());
    let mut found = FoundState {
        snapshot: ReadSet::at(now),
        work: BTreeMap::new(),
        bodies: HashSet::new(),
        head: Head::default(),
        modification: None,
    };
    let mut referrer_keys: Vec<(Key, Key)> = Vec::new();
    let mut modification = None;
    let statement = sqlx::query(READ)
        .bind(rows.into_text())
        .bind(secret)
        .bind(holders.into_text())
        .bind(bodies.into_text())
        .bind(references.into_text())
        .bind(arena.into_bytes())
        .bind(enough);
    // One connection runs all statements in order. They are in one transaction already.
    let mut stream = sqlx::Executor::fetch_many(&mut *connection, statement);
    let fault = shared.file.fault(action);
    while let Some(part) = stream.try_next().await.map_err(&fault)? {
        let Some(row) = part.right() else { continue };
        take(
            &row,
            &mut found,
            set,
            now,
            &mut referrer_keys,
            &mut modification,
        )
        .map_err(&fault)??;
    }
    drop(stream);
    for (key, referrer) in referrer_keys {
        if !found.snapshot.rows.contains_key(&referrer) {
            found.snapshot.referenced.insert(key);
        }
    }
    if let Some(token) = &set.under {
        let leased = Stage::ALL.into_iter().find(|stage| {
            found
                .work
                .get(&(token.key.clone(), *stage))
                .is_some_and(|item| item.is_leased(token, now))
        });
        found.snapshot.token = token_state(token, leased, modification, now);
        found.modification = modification.map(|_| token.secret.clone());
    }
    Ok(found)
}

/// Takes one row of the answer.
fn take(
    row: &SqliteRow,
    found: &mut FoundState,
    set: &ChangeSet,
    now: Timestamp,
    referrers: &mut Vec<(Key, Key)>,
    modification: &mut Option<Timestamp>,
) -> SqlResult<Result<()>> {
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
            found.head = Head {
                revision: unsigned(row.try_get(1)?),
                number: unsigned(row.try_get(2)?),
            };
        }
        1 => {
            let record = valid!(stored_row(row.try_get(3)?));
            let key = record.entity.key.clone();
            found.snapshot.rows.insert(key, record);
        }
        2 => {
            let stage: i64 = row.try_get(3)?;
            let stage = Stage::ALL.into_iter().find(|known| *known as i64 == stage);
            if let Some(stage) = stage {
                let item = valid!(unpack::<WorkItem>(row.try_get(4)?));
                found.work.insert((valid!(key(1)?), stage), item);
            }
        }
        3 => {
            let (until, secret): (i64, &str) = (row.try_get(3)?, row.try_get(4)?);
            let key = valid!(key(1)?);
            let own = set
                .under
                .as_ref()
                .is_some_and(|token| token.key == key && *token.secret == *secret);
            if Timestamp(until) > now && !own {
                found.snapshot.modified.insert(key);
            }
        }
        4 => {
            let key = valid!(key(1)?);
            let until: i64 = row.try_get(3)?;
            if set.under.as_ref().is_some_and(|token| token.key == key) {
                *modification = Some(Timestamp(until));
            }
        }
        5 => {
            let idempotency_key = String::from_utf8_lossy(row.try_get::<&[u8], _>(1)?);
            let holder = valid!(DeploymentId::new(row.try_get(2)?));
            let holders = &mut found.snapshot.holders;
            holders.insert(idempotency_key.into(), holder);
        }
        6 => {
            if let Ok(hash) = row.try_get::<&[u8], _>(1)?.try_into() {
                found.bodies.insert(ContentHash(hash));
            }
        }
        _ => {
            let referrer = valid!(stored_key(row.try_get(3)?, row.try_get(4)?));
            referrers.push((valid!(key(1)?), referrer));
        }
    }
    Ok(Ok(()))
}
