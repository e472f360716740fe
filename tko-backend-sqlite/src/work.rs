//! Work: renewals and settlements of leases.

mod claim;
pub(crate) mod modification;

use crate::arena::{Arena, RowList};
use crate::commit::put_work;
use crate::connect::SqliteParts;
use crate::pack::pack;
use crate::signal::Touched;
use sqlx::SqliteConnection;
use std::time::Duration;
use tko_core::commit::WorkItem;
use tko_core::{Error, Key, MAX_CHANGES, Outcome, Result, Stage, Timestamp, Token};

pub(crate) use claim::{Turns, claim, next_ready};

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
