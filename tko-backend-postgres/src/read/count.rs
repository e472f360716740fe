//! Counting: by the database where it can decide, else by judging rows. Either way at one instant.

use super::join::Joins;
use super::list::ONE_INSTANT;
use super::plan::choose;
use super::sql::{self, Statement};
use super::walk::Walk;
use crate::cancel_on_drop::Lent;
use crate::fault::fault;
use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use crate::retry::again;
use crate::row::signed;
use sqlx::{AssertSqlSafe, Connection, PgPool};
use tko_core::select::MAX_PAGE;
use tko_core::{Count, Result, Select, Want};

/// How many there are, exactly up to a bound.
pub(crate) async fn count(
    shared: &Shared,
    select: &Select,
    bound: u64,
    want: Want,
) -> Result<Count> {
    let replicas = &shared.replicas;
    let found = replicas
        .read(want, |pool| find(shared, pool, select, bound))
        .await;
    let found = match found {
        Some(found) => found,
        None => again(shared, || find(shared, &shared.pool, select, bound)).await?,
    };
    Ok(Count {
        found: found.min(bound),
        more: found > bound,
    })
}

async fn find(shared: &Shared, pool: &PgPool, select: &Select, bound: u64) -> Result<u64> {
    let walk = Walk::new(&shared.measures, select, MAX_PAGE);
    match &walk.plan {
        None => Ok(0),
        Some(plan) if plan.decided => decided(shared, pool, walk, bound).await,
        Some(_) => judged(shared, pool, walk, bound).await,
    }
}

/// One more than the bound, if there are more.
async fn decided(shared: &Shared, pool: &PgPool, walk: Walk<'_>, bound: u64) -> Result<u64> {
    let Some(mut plan) = walk.plan else {
        return Ok(0);
    };
    let failed = fault("count entities");
    let mut connection = Lent::of(shared, pool).await.map_err(&failed)?;
    choose(&shared.measures, &mut connection, &mut plan).await?;
    loop {
        let statement = sql::count(&plan, signed(bound).saturating_add(1));
        let Statement { text, arguments } = statement.map_err(&failed)?;
        let (found, many): (i64, bool) = sqlx::query_as_with(AssertSqlSafe(text), arguments)
            .fetch_one(&mut *connection)
            .sent(&shared.measures, Purpose::Count)
            .await?;
        if !many {
            connection.give_back();
            return Ok(found.unsigned_abs());
        }
        plan.give_up_driver();
    }
}

async fn judged(shared: &Shared, pool: &PgPool, mut walk: Walk<'_>, bound: u64) -> Result<u64> {
    let mut joins = Joins::of(walk.select());
    let failed = fault("get a connection");
    let mut connection = Lent::of(shared, pool).await.map_err(failed)?;
    let instant = connection.begin_with(ONE_INSTANT);
    let mut instant = instant.sent(&shared.measures, Purpose::Begin).await?;
    if let Some(plan) = &mut walk.plan {
        joins.resolve(&shared.measures, &mut instant, plan).await?;
    }
    let mut found = 0;
    while found <= bound && !walk.is_at_end() {
        let part = walk.collect(&mut instant, &mut joins).await?;
        found += u64::try_from(part.len()).unwrap_or(u64::MAX);
        walk.go_on();
    }
    let ended = instant.commit();
    ended.sent(&shared.measures, Purpose::End).await?;
    connection.give_back();
    Ok(found)
}
