//! Counts: by SQL if its filters are exact, or else by reading rows. Either way in one snapshot.

use super::choose::choose;
use super::join::RelationFilters;
use super::reader::{EntityReader, ONE_SNAPSHOT};
use super::resolve::resolve;
use super::statements;
use super::walk::SelectionWalk;
use crate::codes::signed;
use crate::fault::fault;
use crate::metrics::{Instrument, Purpose};
use crate::retry::retry_read;
use crate::sql::BuiltSql;
use sqlx::{AssertSqlSafe, Connection, PgPool};
use tko_core::select::MAX_PAGE;
use tko_core::{Count, Result, Select, Want};

/// Counts the selected entities, exactly up to `bound`.
pub(crate) async fn count(
    reader: &EntityReader,
    select: &Select,
    bound: u64,
    want: Want,
) -> Result<Count> {
    let found = reader
        .replicas
        .read(want, |pool| find(reader, pool, select, bound))
        .await;
    let found = if let Some(found) = found {
        found
    } else {
        let database = &reader.database;
        retry_read(database, || find(reader, &database.pool, select, bound)).await?
    };
    Ok(Count::new(found.min(bound), found > bound))
}

/// Returns the number of selected entities, or any number above `bound`.
async fn find(reader: &EntityReader, pool: &PgPool, select: &Select, bound: u64) -> Result<u64> {
    let walk = SelectionWalk::new(&reader.database.metrics, select, MAX_PAGE);
    match &walk.plan {
        None => Ok(0),
        Some(plan) if plan.is_exact => count_by_sql(reader, pool, walk, bound).await,
        Some(_) => count_rows(reader, pool, walk, bound).await,
    }
}

async fn count_by_sql(
    reader: &EntityReader,
    pool: &PgPool,
    walk: SelectionWalk<'_>,
    bound: u64,
) -> Result<u64> {
    let Some(mut plan) = walk.plan else {
        return Ok(0);
    };
    let metrics = &reader.database.metrics;
    let mut connection = reader.acquire(pool).await?;
    choose(metrics, &mut connection, &mut plan).await?;
    loop {
        let statement = statements::count(&plan, signed(bound).saturating_add(1));
        let BuiltSql { text, values } = statement.map_err(fault(Purpose::Count.action()))?;
        let (found, too_many): (i64, bool) = sqlx::query_as_with(AssertSqlSafe(text), values)
            .fetch_one(&mut *connection)
            .sent(metrics, Purpose::Count)
            .await?;
        if !too_many {
            connection.release();
            return Ok(found.unsigned_abs());
        }
        plan.drop_driver();
    }
}

async fn count_rows(
    reader: &EntityReader,
    pool: &PgPool,
    mut walk: SelectionWalk<'_>,
    bound: u64,
) -> Result<u64> {
    let metrics = &reader.database.metrics;
    let mut filters = RelationFilters::of(walk.select());
    let mut connection = reader.acquire(pool).await?;
    let snapshot = connection.begin_with(ONE_SNAPSHOT);
    let mut snapshot = snapshot.sent(metrics, Purpose::Begin).await?;
    if let Some(plan) = &mut walk.plan {
        resolve(&mut filters, metrics, &mut snapshot, plan).await?;
    }
    let mut found = 0;
    while found <= bound && !walk.is_at_end() {
        let rows = walk.collect(&mut snapshot, &mut filters).await?;
        found += u64::try_from(rows.len()).unwrap_or(u64::MAX);
        walk.reset_limit();
    }
    snapshot.commit().sent(metrics, Purpose::End).await?;
    connection.release();
    Ok(found)
}
