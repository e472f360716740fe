//! Pages.

use super::join::RelationFilters;
use super::reader::{EntityReader, ONE_SNAPSHOT};
use super::record::{FoundEntity, records};
use super::resolve::resolve;
use super::walk::SelectionWalk;
use crate::metrics::{Instrument, Purpose};
use crate::retry::{is_lost, retry_read};
use sqlx::{Connection, PgPool};
use tko_core::{Cursor, Key, List, Page, Result, Revision};

/// Returns one page: from a replica if the request allows it, or else from the database.
pub(crate) async fn list(reader: &EntityReader, list: &List) -> Result<Page> {
    let rows = reader
        .replicas
        .read(list.want, |pool| read(reader, pool, list))
        .await;
    if let Some(rows) = rows {
        match page(reader, list, rows).await {
            Err(error) if is_lost(&error) => {}
            result => return result,
        }
    }
    latest(reader, list).await
}

/// Returns one page of the latest state.
pub(super) async fn latest(reader: &EntityReader, list: &List) -> Result<Page> {
    retry_read(&reader.database, || async {
        let rows = read(reader, &reader.database.pool, list).await?;
        page(reader, list, rows).await
    })
    .await
}

/// The rows of a page, not completed yet.
pub(super) struct PageRows {
    head: i64,
    found: Vec<FoundEntity>,
    next: Option<Cursor>,
}

impl PageRows {
    fn new(
        list: &List,
        walk: &SelectionWalk<'_>,
        head: i64,
        found: Vec<FoundEntity>,
    ) -> Result<Self> {
        let next = match walk.last() {
            Some(last) if !walk.is_at_end() => Some(Cursor(Key::new(list.select.kind, last)?)),
            _ => None,
        };
        Ok(Self { head, found, next })
    }
}

/// Starts a walk for a page.
fn walk<'a>(reader: &'a EntityReader, list: &'a List) -> SelectionWalk<'a> {
    let metrics = &reader.database.metrics;
    let mut walk = SelectionWalk::new(metrics, &list.select, list.most()).wanting(list.want);
    if let Some(Cursor(after)) = &list.after {
        walk.after(after);
    }
    walk
}

/// Reads the rows of a page.
pub(super) async fn read(reader: &EntityReader, pool: &PgPool, list: &List) -> Result<PageRows> {
    let metrics = &reader.database.metrics;
    let mut single = walk(reader, list);
    if single.is_at_end() {
        let head: i64 = sqlx::query_scalar("SELECT revision FROM head")
            .fetch_one(pool)
            .sent(metrics, Purpose::Head)
            .await?;
        return PageRows::new(list, &single, head, Vec::new());
    }
    // With filters by metadata of templates and sites, several statements need one snapshot.
    if list.select.is_watchable() {
        let mut connection = reader.acquire(pool).await?;
        let (found, is_enough) = single
            .first(&mut connection, &mut RelationFilters::none())
            .await?;
        connection.release();
        if is_enough {
            let head = single.head().unwrap_or_default();
            return PageRows::new(list, &single, head, found);
        }
    }
    let mut whole = walk(reader, list);
    let mut filters = RelationFilters::of(&list.select);
    let mut connection = reader.acquire(pool).await?;
    let snapshot = connection.begin_with(ONE_SNAPSHOT);
    let mut snapshot = snapshot.sent(metrics, Purpose::Begin).await?;
    if let Some(plan) = &mut whole.plan {
        resolve(&mut filters, metrics, &mut snapshot, plan).await?;
    }
    let found = whole.collect(&mut snapshot, &mut filters).await?;
    snapshot.commit().sent(metrics, Purpose::End).await?;
    connection.release();
    let head = whole.head().unwrap_or_default();
    PageRows::new(list, &whole, head, found)
}

/// Completes a page. Missing contents are read from the primary, where they are the same.
pub(super) async fn page(reader: &EntityReader, list: &List, rows: PageRows) -> Result<Page> {
    Ok(Page::new(
        Revision(rows.head.unsigned_abs()),
        records(&reader.content, rows.found, list.want).await?,
    )
    .next(rows.next))
}
