//! Pages.

use super::found::{Found, records};
use super::join::Joins;
use super::walk::Walk;
use crate::again::again;
use crate::fault::fault;
use crate::lent::Lent;
use crate::measure::{Purpose, Sending};
use crate::postgres::Shared;
use sqlx::Connection;
use tko_core::{Cursor, Key, List, Page, Result, Revision};

/// How a transaction begins that sees one instant.
pub(super) const ONE_INSTANT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// One page.
pub(crate) async fn list(shared: &Shared, list: &List) -> Result<Page> {
    again(shared, || read(shared, list)).await
}

/// A new walk for this page.
fn walk<'a>(shared: &'a Shared, list: &'a List) -> Walk<'a> {
    let mut walk = Walk::new(&shared.measures, &list.select, list.most()).wanting(list.want);
    if let Some(Cursor(after)) = &list.after {
        walk.after(after);
    }
    walk
}

async fn read(shared: &Shared, list: &List) -> Result<Page> {
    let mut alone = walk(shared, list);
    if alone.is_at_end() {
        let head: i64 = sqlx::query_scalar("SELECT revision FROM head")
            .fetch_one(&shared.pool)
            .sent(&shared.measures, Purpose::Head)
            .await?;
        return page(shared, list, &alone, head, Vec::new()).await;
    }
    // The templates and sites of joins are part of the instant.
    if list.select.is_watchable() {
        let failed = fault("get a connection");
        let mut connection = Lent::of(shared).await.map_err(failed)?;
        let (found, enough) = alone.first(&mut connection, &mut Joins::none()).await?;
        connection.give_back();
        if enough {
            let head = alone.head().unwrap_or_default();
            return page(shared, list, &alone, head, found).await;
        }
    }
    let mut whole = walk(shared, list);
    let mut joins = Joins::of(&list.select);
    let failed = fault("get a connection");
    let mut connection = Lent::of(shared).await.map_err(failed)?;
    let instant = connection.begin_with(ONE_INSTANT);
    let mut instant = instant.sent(&shared.measures, Purpose::Begin).await?;
    if let Some(plan) = &mut whole.plan {
        joins.resolve(&shared.measures, &mut instant, plan).await?;
    }
    let found = whole.collect(&mut instant, &mut joins).await?;
    let ended = instant.commit();
    ended.sent(&shared.measures, Purpose::End).await?;
    connection.give_back();
    let head = whole.head().unwrap_or_default();
    page(shared, list, &whole, head, found).await
}

async fn page(
    shared: &Shared,
    list: &List,
    walk: &Walk<'_>,
    head: i64,
    found: Vec<Found>,
) -> Result<Page> {
    let next = match walk.last() {
        Some(last) if !walk.is_at_end() => Some(Cursor(Key::new(list.select.kind, last)?)),
        _ => None,
    };
    Ok(Page {
        revision: Revision(head.unsigned_abs()),
        items: records(shared, found, list.want).await?,
        next,
    })
}
