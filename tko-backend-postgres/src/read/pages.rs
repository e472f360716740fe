//! All pages, one after the other, read ahead.
//!
//! The next statement is asked for as soon as the last row of the one before has come: its rows are
//! decoded meanwhile, each page by a task. No statement is open while whoever takes the pages is
//! waited for.

use super::found::records;
use super::list::{limit, list};
use super::plan::{Plan, choose};
use super::sql::{Extent, Statement, page};
use super::walk::{decode, id};
use crate::again::{again, lost};
use crate::fault::fault;
use crate::lent::Lent;
use crate::postgres::Shared;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;
use std::future::ready;
use std::sync::Arc;
use tko_core::{Cursor, Error, Key, List, Page, Result, Revision};
use tokio::sync::mpsc::{self, PermitIterator};
use tokio::task::JoinSet;

/// Rows of one statement. A page with packages may be large: it is a statement of its own.
const ROWS: usize = 4_000;

/// Statements whose pages may wait to be taken.
const AHEAD: usize = 2;

/// A page that is being decoded.
type Coming = BoxFuture<'static, Result<Page>>;

/// Places for the pages of one statement.
type Places<'a> = PermitIterator<'a, Coming>;

/// All pages from this one on.
pub(crate) fn pages(shared: Arc<Shared>, list: List) -> BoxStream<'static, Result<Page>> {
    let pages = stream::once(async move {
        let (sender, receiver) = mpsc::channel(AHEAD * of_one_statement(&list));
        // Stops reading when it is dropped.
        let mut reader = JoinSet::new();
        reader.spawn(read(shared, list, sender));
        stream::unfold((receiver, reader), |(mut receiver, reader)| async move {
            let page = receiver.recv().await?.await;
            Some((page, (receiver, reader)))
        })
    });
    pages.flatten().boxed()
}

/// Pages of one statement.
fn of_one_statement(list: &List) -> usize {
    if list.want.package {
        1
    } else {
        ROWS.div_ceil(limit(list))
    }
}

/// Reads until the end, or the first error.
async fn read(shared: Arc<Shared>, mut list: List, sender: mpsc::Sender<Coming>) {
    let statement = of_one_statement(&list);
    let mut plan = match plan(&shared, &list).await {
        Ok(plan) => plan,
        Err(error) => {
            // Nobody to tell: whoever took the pages is gone.
            let _ = sender.send(ready(Err(error)).boxed()).await;
            return;
        }
    };
    loop {
        let Ok(places) = sender.reserve_many(statement).await else {
            return;
        };
        list.after = match &mut plan {
            Some(plan) => several(&shared, &list, plan, places).await,
            None => one(&shared, &list, places).await,
        };
        if list.after.is_none() {
            return;
        }
    }
}

/// A plan whose rows are what is selected, if there is one.
async fn plan(shared: &Shared, list: &List) -> Result<Option<Plan>> {
    let plan = Plan::new(&list.select).filter(|_| list.select.is_watchable());
    let Some(mut plan) = plan else {
        return Ok(None);
    };
    let begins = match &list.after {
        Some(Cursor(after)) => plan.after(after),
        None => true,
    };
    if !begins {
        return Ok(None);
    }
    let chosen = again(shared, || {
        let mut plan = plan.clone();
        async move {
            let failed = fault("get a connection");
            let mut connection = Lent::of(shared).await.map_err(failed)?;
            choose(&mut connection, &mut plan).await?;
            connection.give_back();
            Ok(plan)
        }
    });
    Ok(Some(chosen.await?).filter(Plan::is_plain))
}

fn put(places: &mut Places<'_>, page: Coming) {
    if let Some(place) = places.next() {
        place.send(page);
    }
}

/// One page, as it is listed; what comes after it.
async fn one(shared: &Shared, of: &List, mut places: Places<'_>) -> Option<Cursor> {
    let page = list(shared, of).await;
    let next = page.as_ref().ok().and_then(|page| page.next.clone());
    put(&mut places, ready(page).boxed());
    next
}

/// The pages of one statement; what comes after them. A lost connection is no end: it goes on after
/// what was read, on another.
async fn several(
    shared: &Arc<Shared>,
    list: &List,
    plan: &mut Plan,
    mut places: Places<'_>,
) -> Option<Cursor> {
    let mut tries = shared.settings.connections.max(2);
    loop {
        match statement(shared, list, plan, &mut places).await {
            Ok(next) => return next,
            Err(error) if tries > 0 && lost(&error) => {
                tracing::debug!(%error, "a connection was lost; reading on");
                tries -= 1;
            }
            Err(error) => {
                put(&mut places, ready(Err(error)).boxed());
                return None;
            }
        }
    }
}

/// Fills the places; the plan goes on after each. What comes after them.
async fn statement(
    shared: &Arc<Shared>,
    list: &List,
    plan: &mut Plan,
    places: &mut Places<'_>,
) -> Result<Option<Cursor>> {
    let failed = fault("list entities");
    let limit = limit(list);
    // One more tells whether there is more.
    let rows = limit * places.len() + 1;
    let extent = Extent {
        rows,
        visited: rows,
    };
    let Statement { text, arguments } = page(plan, extent, list.want).map_err(&failed)?;
    let mut connection = Lent::of(shared).await.map_err(&failed)?;
    let mut rows = sqlx::query_with(AssertSqlSafe(text), arguments).fetch(&mut *connection);
    let mut page = Vec::with_capacity(limit);
    let mut next = None;
    while let Some(row) = rows.try_next().await.map_err(&failed)? {
        if page.len() == limit {
            let full = std::mem::replace(&mut page, Vec::with_capacity(limit));
            let last = full.last().map(id).transpose().map_err(&failed)?.flatten();
            let key = Key::new(list.select.kind, last.unwrap_or_default())?;
            plan.after(&key);
            next = Some(Cursor(key));
            put(places, decoded(shared, list, full, next.clone()));
        }
        page.push(row);
    }
    drop(rows);
    connection.give_back();
    if places.len() == 0 {
        return Ok(next);
    }
    put(places, decoded(shared, list, page, None));
    Ok(None)
}

/// A page of these rows.
fn decoded(shared: &Arc<Shared>, list: &List, rows: Vec<PgRow>, next: Option<Cursor>) -> Coming {
    let (shared, want, deleting) = (shared.clone(), list.want, list.select.deleting);
    let page = tokio::spawn(async move {
        let mut part = decode(&rows, want)?;
        drop(rows);
        part.rows.retain(|found| deleting || !found.entity.deleting);
        Ok(Page {
            revision: Revision(part.head.unsigned_abs()),
            items: records(&shared, part.rows, want).await?,
            next,
        })
    });
    async move {
        page.await
            .unwrap_or_else(|error| Err(Error::internal("decode a page", error)))
    }
    .boxed()
}
