//! Pages of listings.

use super::plan::TermPlan;
use super::record::{complete, read_records};
use super::walk::RowWalk;
use crate::arena::unsigned;
use crate::connect::SqliteFile;
use sqlx::SqliteConnection;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tko_core::select::metadata_match;
use tko_core::{Cursor, Entity, Key, List, Page, Record, Result, Revision, Select, Want};

/// Maximum number of index entries that one page reads.
const MAX_VISITED: usize = 10_000;

/// Maximum number of rows that are read at once.
const CHUNK: usize = 1_000;

/// Reads one page.
pub(crate) async fn list(file: &SqliteFile, list: &List) -> Result<Page> {
    let fault = file.fault("read a listing");
    let mut snapshot = file.pool.begin().await.map_err(&fault)?;
    let revision: i64 = sqlx::query_scalar("SELECT revision FROM head")
        .fetch_one(&mut *snapshot)
        .await
        .map_err(&fault)?;
    let plan = TermPlan::new(&mut snapshot, file, &list.select).await?;
    let after = list.after.as_ref().map(|Cursor(key)| key.id());
    let mut walk = RowWalk::new(&plan, after);
    let mut filter = SelectFilter::new(&list.select);
    let limit = list.most();
    let mut page = Page::new(Revision(unsigned(revision)), Vec::new());
    // If the index alone answers the selection, one chunk is enough for the page.
    let size = if plan.exact { limit + 1 } else { CHUNK };
    while !walk.is_done() && page.items.len() < limit {
        if walk.visited() >= MAX_VISITED {
            page.next = Key::new(plan.kind, walk.position()).ok().map(Cursor);
            break;
        }
        let rows = walk.next(&mut snapshot, file, size).await?;
        let rows = filter.keep(&mut snapshot, file, rows).await?;
        let free = limit - page.items.len();
        let is_full = rows.len() > free || (rows.len() == free && !walk.is_done());
        page.items.extend(rows.into_iter().take(free));
        if is_full {
            page.next = page
                .items
                .last()
                .map(|last| Cursor(last.entity.key.clone()));
        }
    }
    complete(&mut snapshot, file, &mut page.items, list.want).await?;
    snapshot.commit().await.map_err(&fault)?;
    Ok(page)
}

/// Checks rows against a selection, with its joins. Remembers the entities that rows name.
pub(super) struct SelectFilter<'a> {
    select: &'a Select,
    joined: HashMap<Key, Option<Arc<Entity>>>,
}

impl<'a> SelectFilter<'a> {
    pub(super) fn new(select: &'a Select) -> Self {
        Self {
            select,
            joined: HashMap::new(),
        }
    }

    /// The rows that are selected.
    pub(super) async fn keep(
        &mut self,
        connection: &mut SqliteConnection,
        file: &SqliteFile,
        mut rows: Vec<Record>,
    ) -> Result<Vec<Record>> {
        let select = self.select;
        rows.retain(|row| select.matches(&row.entity));
        if select.is_watchable() {
            return Ok(rows);
        }
        let named = rows.iter().flat_map(|row| select.joins(&row.entity));
        let named = named.filter_map(|(_, key)| key);
        let missing: BTreeSet<Key> = named.filter(|key| !self.joined.contains_key(key)).collect();
        let missing: Vec<Key> = missing.into_iter().collect();
        let found = read_records(connection, file, &missing, Want::ROW).await?;
        let found = found.into_iter().map(|row| row.map(|row| row.entity));
        self.joined.extend(missing.into_iter().zip(found));
        rows.retain(|row| {
            select.joins(&row.entity).all(|(patterns, key)| {
                let joined = key.and_then(|key| self.joined.get(&key)?.clone());
                joined.is_some_and(|entity| metadata_match(patterns, &entity.metadata))
            })
        });
        Ok(rows)
    }
}
