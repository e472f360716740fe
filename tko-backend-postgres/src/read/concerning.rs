//! Reads the first page of the deployments of each of many sites by one statement.

use super::reader::EntityReader;
use super::record::{self, FoundEntity, records};
use super::together::ReadSort;
use crate::codes::count;
use crate::columns::RowColumns;
use crate::fault::fault;
use crate::metrics::{Instrument, Purpose};
use crate::retry::retry_read;
use crate::row::{COLUMNS, RowDecoder};
use sqlx::{AssertSqlSafe, Row as _};
use tko_core::{Cursor, Kind, List, Page, Result, Revision, Select, SiteId};

/// The site whose deployments a listing selects, if that is its only filter and it starts at the
/// beginning.
pub(super) fn site_of(list: &List) -> Option<&SiteId> {
    let site = list.select.concerning.as_ref()?;
    let alone = Select::all(Kind::Deployment)
        .concerning(site.clone())
        .deleting(list.select.deleting);
    let is_alone = list.after.is_none() && !list.want.allow_stale && list.select == alone;
    is_alone.then_some(site)
}

/// Returns the first page of each site.
pub(super) async fn pages(
    reader: &EntityReader,
    sites: &[SiteId],
    sort: ReadSort,
) -> Result<Vec<Page>> {
    retry_read(&reader.database, || read(reader, sites, sort)).await
}

async fn read(reader: &EntityReader, sites: &[SiteId], sort: ReadSort) -> Result<Vec<Page>> {
    let metrics = &reader.database.metrics;
    let mut connection = reader.acquire(&reader.database.pool).await?;
    // Before the rows: they have every change up to this revision.
    let head: i64 = sqlx::query_scalar("SELECT revision FROM head")
        .fetch_one(&mut *connection)
        .sent(metrics, Purpose::Head)
        .await?;
    // Only deployments have a site or a place. Each part follows an index in the order of ids.
    let sql = format!(
        "SELECT k.nth, {} FROM unnest($1::text[]) WITH ORDINALITY k(site, nth) CROSS JOIN LATERAL \
         (SELECT * FROM ((SELECT * FROM entity o WHERE o.site = k.site ORDER BY o.id LIMIT $2) \
         UNION ALL (SELECT * FROM entity o WHERE o.place = k.site \
         AND (o.site IS NULL OR o.place <> o.site) ORDER BY o.id LIMIT $2)) u \
         ORDER BY u.id LIMIT $2) e{} ORDER BY k.nth, e.id",
        record::columns(COLUMNS, sort.want),
        record::join(sort.want)
    );
    let ids: Vec<&str> = sites.iter().map(SiteId::as_str).collect();
    // The row after the page shows whether there is more.
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(ids)
        .bind(count(sort.limit + 1))
        .fetch_all(&mut *connection)
        .sent(metrics, Purpose::List)
        .await?;
    connection.release();
    let broken = fault("decode entities");
    let mut decoder = RowDecoder::default();
    let mut lengths = vec![0_usize; sites.len()];
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let nth: i64 = row.try_get(0).map_err(&broken)?;
        if let Some(length) = lengths.get_mut(usize::try_from(nth - 1).unwrap_or_default()) {
            *length += 1;
        }
        let row = RowColumns::of(row, 1);
        found.push(FoundEntity::of(row, sort.want, &mut decoder)?);
    }
    let mut records = records(&reader.content, found, sort.want)
        .await?
        .into_iter();
    let pages = lengths.into_iter().map(|length| {
        let mut items: Vec<_> = records.by_ref().take(length).collect();
        let has_more = items.len() > sort.limit;
        items.truncate(sort.limit);
        let last = items.last().filter(|_| has_more);
        let next = last.map(|last| Cursor(last.entity.key.clone()));
        items.retain(|record| sort.deleting || !record.entity.deleting);
        Page::new(Revision(head.unsigned_abs()), items).next(next)
    });
    Ok(pages.collect())
}
