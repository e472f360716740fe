//! Claims: the earliest due work of each lane, the lanes in turn.

use super::WorkWrite;
use crate::arena::{signed, unsigned};
use crate::connect::SqliteParts;
use crate::pack::unpack;
use crate::read::stored_key;
use crate::work::modification::lease_token;
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};
use std::fmt::Write;
use std::sync::LazyLock;
use tko_core::commit::WorkItem;
use tko_core::{Claim, ClaimRequest, Key, Lane, MAX_CHANGES, Result, Stage, Timestamp};

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
