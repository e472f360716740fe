//! Pages.

use super::found::{Found, records};
use super::join::Joins;
use super::walk::Walk;
use crate::cancel_on_drop::Lent;
use crate::fault::fault;
use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use crate::retry::{again, lost};
use sqlx::{Connection, PgPool};
use tko_core::{Cursor, Key, List, Page, Result, Revision};

/// How a transaction begins that sees one instant.
pub(super) const ONE_INSTANT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// One page.
pub(crate) async fn list(shared: &Shared, list: &List) -> Result<Page> {
    let replicas = &shared.replicas;
    let rows = replicas
        .read(list.want, |pool| read(shared, pool, list))
        .await;
    if let Some(rows) = rows {
        match page(shared, list, rows).await {
            Err(error) if lost(&error) => {}
            result => return result,
        }
    }
    latest(shared, list).await
}

/// One page of the latest state.
pub(super) async fn latest(shared: &Shared, list: &List) -> Result<Page> {
    again(shared, || async {
        page(shared, list, read(shared, &shared.pool, list).await?).await
    })
    .await
}

/// What one page is made of.
pub(super) struct Rows {
    head: i64,
    found: Vec<Found>,
    next: Option<Cursor>,
}

impl Rows {
    fn new(list: &List, walk: &Walk<'_>, head: i64, found: Vec<Found>) -> Result<Self> {
        let next = match walk.last() {
            Some(last) if !walk.is_at_end() => Some(Cursor(Key::new(list.select.kind, last)?)),
            _ => None,
        };
        Ok(Self { head, found, next })
    }
}

/// A new walk for this page.
fn walk<'a>(shared: &'a Shared, list: &'a List) -> Walk<'a> {
    let mut walk = Walk::new(&shared.measures, &list.select, list.most()).wanting(list.want);
    if let Some(Cursor(after)) = &list.after {
        walk.after(after);
    }
    walk
}

/// Reads them.
pub(super) async fn read(shared: &Shared, pool: &PgPool, list: &List) -> Result<Rows> {
    let mut alone = walk(shared, list);
    if alone.is_at_end() {
        let head: i64 = sqlx::query_scalar("SELECT revision FROM head")
            .fetch_one(pool)
            .sent(&shared.measures, Purpose::Head)
            .await?;
        return Rows::new(list, &alone, head, Vec::new());
    }
    // The templates and sites of joins are part of the instant.
    if list.select.is_watchable() {
        let failed = fault("get a connection");
        let mut connection = Lent::of(shared, pool).await.map_err(failed)?;
        let (found, enough) = alone.first(&mut connection, &mut Joins::none()).await?;
        connection.give_back();
        if enough {
            let head = alone.head().unwrap_or_default();
            return Rows::new(list, &alone, head, found);
        }
    }
    let mut whole = walk(shared, list);
    let mut joins = Joins::of(&list.select);
    let failed = fault("get a connection");
    let mut connection = Lent::of(shared, pool).await.map_err(failed)?;
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
    Rows::new(list, &whole, head, found)
}

/// The page of these rows. What they share with others is the same everywhere, and mostly
/// remembered: the rest is read from the primary.
pub(super) async fn page(shared: &Shared, list: &List, rows: Rows) -> Result<Page> {
    Ok(Page {
        revision: Revision(rows.head.unsigned_abs()),
        items: records(shared, rows.found, list.want).await?,
        next: rows.next,
    })
}
