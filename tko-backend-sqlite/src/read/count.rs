//! Counts, exact up to a bound, in one snapshot.

use super::list::SelectFilter;
use super::plan::{TermPlan, terms_argument};
use super::walk::RowWalk;
use crate::arena::{signed, unsigned};
use crate::connect::SqliteFile;
use crate::facet::RowFacet;
use tko_core::{Count, Result, Select};

/// The number of rows that are read at once.
const CHUNK: usize = 1_000;

/// Counts the selected rows.
pub(crate) async fn count(file: &SqliteFile, select: &Select, bound: u64) -> Result<Count> {
    let fault = file.fault("count entities");
    let mut snapshot = file.pool.begin().await.map_err(&fault)?;
    let plan = TermPlan::new(&mut snapshot, file, select).await?;
    let found = if plan.exact {
        let sql = match plan.terms {
            Some(_) => {
                "SELECT count(*) FROM (SELECT 1 FROM json_each($1) j \
                 CROSS JOIN posting p ON p.term = j.value \
                 WHERE $2 OR NOT EXISTS (SELECT 1 FROM posting d WHERE d.term = \
                     (SELECT num FROM term WHERE kind = $3 AND facet = $4) AND d.id = p.id) \
                 LIMIT $5)"
            }
            None => {
                "SELECT count(*) FROM (SELECT 1 FROM entity e WHERE e.kind = $3 \
                 AND ($2 OR NOT EXISTS (SELECT 1 FROM posting d WHERE d.term = \
                     (SELECT num FROM term WHERE kind = $3 AND facet = $4) AND d.id = e.id)) \
                 LIMIT $5)"
            }
        };
        let terms = plan.terms.as_deref().unwrap_or_default();
        let found: i64 = sqlx::query_scalar(sql)
            .bind(terms_argument(terms))
            .bind(select.deleting)
            .bind(select.kind as i64)
            .bind(RowFacet::Deleting as i64)
            .bind(signed(bound.saturating_add(1)))
            .fetch_one(&mut *snapshot)
            .await
            .map_err(&fault)?;
        unsigned(found)
    } else {
        let mut walk = RowWalk::new(&plan, None);
        let mut filter = SelectFilter::new(select);
        let mut found = 0;
        while !walk.is_done() && found <= bound {
            let rows = walk.next(&mut snapshot, file, CHUNK).await?;
            found += filter.keep(&mut snapshot, file, rows).await?.len() as u64;
        }
        found
    };
    snapshot.commit().await.map_err(&fault)?;
    Ok(Count::new(found.min(bound), found > bound))
}
