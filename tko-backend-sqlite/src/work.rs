//! Work: claims, renewals and settlements.

use crate::arena::{Arena, RowList, signed, unsigned};
use crate::commit::put_work;
use crate::connect::SqliteParts;
use crate::modification::{self, lease_token};
use crate::pack::{pack, unpack};
use crate::read::stored_key;
use crate::signal::Touched;
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};
use std::fmt::Write;
use std::sync::LazyLock;
use std::time::Duration;
use tko_core::commit::WorkItem;
use tko_core::{
    Claim, ClaimRequest, Error, Key, Lane, MAX_CHANGES, Outcome, Result, Stage, Timestamp, Token,
};

/// For each stage, the lane of the last claim. Each process rotates independently.
pub(crate) type Turns = [Option<Lane>; Stage::ALL.len()];

/// The earliest work of each lane: `$1` stage.
static NEXT: LazyLock<String> = LazyLock::new(|| {
    let lanes: Vec<String> = (0..Lane::COUNT)
        .map(|lane| {
            format!("SELECT (SELECT min(ready) FROM work WHERE stage = $1 AND lane = {lane}) AS r")
        })
        .collect();
    format!("SELECT min(r) FROM ({})", lanes.join(" UNION ALL "))
});

/// Due work of each lane, the earliest first: `$1` stage, `$2` time, `$3` limit.
static DUE: LazyLock<String> = LazyLock::new(|| {
    (0..Lane::COUNT).fold(String::new(), |mut sql, lane| {
        let _ = write!(
            sql,
            "SELECT kind, id, data FROM work WHERE stage = $1 AND lane = {lane} AND ready <= $2 \
             ORDER BY ready, kind, id LIMIT $3; "
        );
        sql
    })
});

/// When the next work of a stage is due, or when its lease ends.
pub(crate) async fn next_ready(shared: &SqliteParts, stage: Stage) -> Result<Option<Timestamp>> {
    let next: Option<i64> = sqlx::query_scalar(AssertSqlSafe(NEXT.as_str()))
        .bind(stage as i64)
        .fetch_one(&shared.file.pool)
        .await
        .map_err(shared.file.fault("look for work"))?;
    Ok(next.map(Timestamp))
}

/// Leases due work.
pub(crate) async fn claim(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    turns: &mut Turns,
    request: &ClaimRequest,
    now: Timestamp,
) -> Result<Vec<Claim>> {
    let fault = shared.file.fault("claim work");
    let stage = request.stage;
    let max = request.max.min(MAX_CHANGES);
    // Lanes are claimed from in turn, so the earliest of each lane are often enough. Each item that is
    // read costs a look-up.
    let per_lane = max.div_ceil(usize::from(Lane::COUNT) - 1);
    let mut items = read_due(connection, shared, stage, now, per_lane).await?;
    if items.len() < max && has_full_lane(&items, per_lane) {
        items = read_due(connection, shared, stage, now, max).await?;
    }
    let until = WorkItem::lease_end(now, request.lease);
    let chosen = WorkItem::choose(items, &mut turns[stage as usize], max, now);
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let first = reserve(connection, chosen.len() as u64)
        .await
        .map_err(&fault)?;
    let mut write = WorkWrite::default();
    let mut claims = Vec::with_capacity(chosen.len());
    for (fence, (key, mut item)) in (first..).zip(chosen) {
        let token = lease_token(&key);
        item.lease(token.secret.clone(), until);
        write.put(&key, stage, &item);
        claims.push(Claim::new(token, item.work(stage, &key), fence, until));
    }
    write.execute(connection).await.map_err(&fault)?;
    Ok(claims)
}

/// The due work of a stage: of each lane the earliest, at most `per_lane`.
async fn read_due(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    stage: Stage,
    now: Timestamp,
    per_lane: usize,
) -> Result<Vec<(Key, WorkItem)>> {
    let fault = shared.file.fault("claim work");
    let mut items = Vec::new();
    let due = sqlx::query(AssertSqlSafe(DUE.as_str()))
        .bind(stage as i64)
        .bind(now.0)
        .bind(signed(per_lane as u64));
    let mut rows = sqlx::Executor::fetch_many(&mut *connection, due);
    while let Some(part) = rows.try_next().await.map_err(&fault)? {
        let Some(row) = part.right() else { continue };
        let read = || -> Result<_, sqlx::Error> {
            let key = stored_key(row.try_get(0)?, row.try_get(1)?);
            Ok((key, unpack(row.try_get(2)?)))
        };
        let (key, item) = read().map_err(&fault)?;
        items.push((key?, item?));
    }
    Ok(items)
}

/// Whether a lane has so many of these items that it may have more due work.
fn has_full_lane(items: &[(Key, WorkItem)], per_lane: usize) -> bool {
    let mut counts = [0; Lane::COUNT as usize];
    for (_, item) in items {
        counts[usize::from(item.lane.number())] += 1;
    }
    counts.contains(&per_lane)
}

/// Reserves numbers that were never assigned; returns the first.
async fn reserve(connection: &mut SqliteConnection, count: u64) -> Result<u64, sqlx::Error> {
    let last: i64 = sqlx::query_scalar("UPDATE head SET number = number + $1 RETURNING number")
        .bind(signed(count))
        .fetch_one(connection)
        .await?;
    Ok(unsigned(last) + 1 - count)
}

/// Moves the ends of leases and modifications.
pub(crate) async fn renew(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    tokens: &[Token],
    ttl: Duration,
    now: Timestamp,
) -> Result<Vec<bool>> {
    let fault = shared.file.fault("extend leases");
    let until = now.plus(ttl);
    let mut renewed = Vec::with_capacity(tokens.len());
    let mut items = read_items(connection, shared, tokens.iter()).await?;
    let mut write = WorkWrite::default();
    for token in tokens {
        let leased = items
            .iter_mut()
            .find(|found| found.key == token.key && found.item.is_leased(token, now));
        renewed.push(if let Some(found) = leased {
            found.item.renew(until);
            write.put(&found.key, found.stage, &found.item);
            true
        } else {
            modification::renew(connection, token, until, now)
                .await
                .map_err(&fault)?
        });
    }
    write.execute(connection).await.map_err(&fault)?;
    Ok(renewed)
}

/// Ends leases, and cancels modifications.
pub(crate) async fn settle(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    outcomes: &[(Token, Outcome)],
    now: Timestamp,
) -> Result<(Vec<bool>, Touched)> {
    let fault = shared.file.fault("end leases");
    let tokens = outcomes.iter().map(|(token, _)| token);
    let mut items = read_items(connection, shared, tokens).await?;
    let mut settled = Vec::with_capacity(outcomes.len());
    let mut write = WorkWrite::default();
    let mut touched = Touched::default();
    for (token, outcome) in outcomes {
        let leased = items
            .iter()
            .position(|found| found.key == token.key && found.item.is_leased(token, now));
        let Some(at) = leased else {
            let closed = modification::close(connection, token, now).await;
            settled.push(closed.map_err(&fault)?);
            continue;
        };
        // A settled lease is not live, so the item is not found again by this token.
        let found = &mut items[at];
        touched.stages[found.stage as usize] = true;
        if found.item.settle(outcome, now) {
            write.put(&found.key, found.stage, &found.item);
        } else {
            write.remove(&found.key, found.stage);
        }
        settled.push(true);
    }
    write.execute(connection).await.map_err(&fault)?;
    Ok((settled, touched))
}

/// A work item with its place.
struct FoundItem {
    key: Key,
    stage: Stage,
    item: WorkItem,
}

/// Reads the work of the keys of these tokens.
async fn read_items(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    tokens: impl Iterator<Item = &Token>,
) -> Result<Vec<FoundItem>> {
    let mut keys: Vec<&Key> = tokens.map(|token| &token.key).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut rows = RowList::default();
    for key in keys {
        rows.row().number(key.kind() as i64).id(key.id()).end();
    }
    read_work(connection, shared, rows)
        .await?
        .into_iter()
        .map(|(key, stage, item)| Ok(FoundItem { key, stage, item }))
        .collect()
}

/// Reads the work of these keys, each a list of kind and id.
pub(crate) async fn read_work(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    keys: RowList,
) -> Result<Vec<(Key, Stage, WorkItem)>> {
    crate::read::read_work(connection, &shared.file, keys.into_text()).await
}

/// Work items to write or to remove; the last request for each item wins.
#[derive(Default)]
struct WorkWrite {
    items: std::collections::BTreeMap<(Key, Stage), Option<WorkItem>>,
}

impl WorkWrite {
    fn put(&mut self, key: &Key, stage: Stage, item: &WorkItem) {
        self.items.insert((key.clone(), stage), Some(item.clone()));
    }

    fn remove(&mut self, key: &Key, stage: Stage) {
        self.items.insert((key.clone(), stage), None);
    }

    async fn execute(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        if self.items.is_empty() {
            return Ok(());
        }
        let (mut arena, mut put, mut removed) =
            (Arena::default(), RowList::default(), RowList::default());
        for ((key, stage), item) in &self.items {
            if let Some(item) = item {
                let data = arena.add(&pack(item));
                put_work(&mut put, key, *stage, item, data);
            } else {
                removed
                    .row()
                    .number(key.kind() as i64)
                    .id(key.id())
                    .number(*stage as i64)
                    .end();
            }
        }
        sqlx::query(
            "UPDATE work SET lane = j.value->>3, ready = j.value->>4, \
                 data = substr($1, j.value->>5, j.value->>6) FROM json_each($2) j \
                 WHERE work.kind = j.value->>0 AND work.id = j.value->>1 \
                 AND work.stage = j.value->>2; \
             INSERT INTO removed_work (kind, id, stage) \
                 SELECT j.value->>0, j.value->>1, j.value->>2 FROM json_each($3) j;",
        )
        .bind(arena.into_bytes())
        .bind(put.into_text())
        .bind(removed.into_text())
        .execute(connection)
        .await
        .map(drop)
    }
}

/// Refuses claims of an impossible size. All callers share this check and its message.
pub(crate) fn check_count(count: usize, what: &'static str) -> Result<()> {
    if count > MAX_CHANGES {
        return Err(Error::bad(
            what,
            format!("there are {count}; at most {MAX_CHANGES} are taken at once: use parts"),
        ));
    }
    Ok(())
}
