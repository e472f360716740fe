//! Listings of the deployments that have a metadata key with any value: one statement finds which
//! of many keys no deployment has.

use super::reader::EntityReader;
use crate::codes::DEPLOYMENT;
use crate::facet::indexed;
use crate::metrics::{Instrument, Purpose};
use crate::retry::retry_read;
use tko_core::{Kind, List, Page, Result, Revision, Select};

/// The metadata key that a listing selects, if that is its only filter and it starts at the
/// beginning.
pub(super) fn key_of(list: &List) -> Option<&str> {
    let (key, pattern) = list.select.metadata.first_key_value()?;
    if pattern.as_str() != "*" || list.after.is_some() || list.want.allow_stale {
        return None;
    }
    let alone = Select::all(Kind::Deployment)
        .metadata_patterns(list.select.metadata.clone())
        .deleting(list.select.deleting);
    (list.select.metadata.len() == 1 && list.select == alone).then_some(key)
}

/// Returns the only page of each key that no deployment has; `None` for the others.
pub(super) async fn empty_pages(
    reader: &EntityReader,
    keys: &[String],
) -> Result<Vec<Option<Page>>> {
    retry_read(&reader.database, || read(reader, keys)).await
}

async fn read(reader: &EntityReader, keys: &[String]) -> Result<Vec<Option<Page>>> {
    let indexed: Vec<_> = keys.iter().map(|key| indexed(key)).collect();
    let mut connection = reader.acquire(&reader.database.pool).await?;
    // One snapshot: the pages have every change up to the revision.
    let sql = "SELECT revision, ARRAY(SELECT k.nth FROM unnest($1::text[]) WITH ORDINALITY \
               k(key, nth) CROSS JOIN LATERAL \
               (SELECT 1 FROM facet f WHERE f.kind = $2 AND f.key = k.key LIMIT 1) x) FROM head";
    let (head, known): (i64, Vec<i64>) = sqlx::query_as(sql)
        .bind(indexed)
        .bind(DEPLOYMENT)
        .fetch_one(&mut *connection)
        .sent(&reader.database.metrics, Purpose::List)
        .await?;
    connection.release();
    let page = Page::new(Revision(head.unsigned_abs()), Vec::new());
    let mut pages = vec![Some(page); keys.len()];
    for nth in known {
        if let Some(page) = pages.get_mut(usize::try_from(nth - 1).unwrap_or_default()) {
            *page = None;
        }
    }
    Ok(pages)
}
