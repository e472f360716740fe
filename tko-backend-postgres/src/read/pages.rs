//! All pages, one after the other, read ahead.
//!
//! One task reads and decodes, row by row, while the server makes the rows that follow. The next
//! statement is asked for as soon as the last row of the one before has come, and none is open while
//! whoever takes the pages is waited for.

use super::found::{Found, records};
use super::list::{ONE_INSTANT, latest, page as of_rows, read as rows};
use super::plan::{Plan, choose};
use super::sql::{Copied, copy};
use crate::cancel_on_drop::Lent;
use crate::columns::{Columns, is_row};
use crate::dialect::set;
use crate::fault::fault;
use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use crate::replica::Replica;
use crate::retry::{again, lost};
use crate::row::Before;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use sqlx::{AssertSqlSafe, Connection, PgPool};
use std::future::ready;
use std::sync::Arc;
use tko_core::{Cursor, Error, List, Page, Result, Revision};
use tokio::sync::mpsc::{self, PermitIterator};
use tokio::task::{JoinError, JoinSet};

/// Rows of one statement: so many that the round trips before it cost little beside them. A page
/// with packages may be large: it is a statement of its own.
const ROWS: usize = 32_000;

/// A page that is being decoded.
type Coming = BoxFuture<'static, Result<Page>>;

/// Places for the pages of one statement.
type Places<'a> = PermitIterator<'a, Coming>;

/// All pages from this one on.
pub(crate) fn pages(shared: Arc<Shared>, list: List) -> BoxStream<'static, Result<Page>> {
    let pages = stream::once(async move {
        // A statement begins once half of the pages of the one before have been taken.
        let of_one = of_one_statement(&list);
        let (sender, receiver) = mpsc::channel(of_one + of_one.div_ceil(2));
        // Stops reading when it is dropped.
        let mut reading = JoinSet::new();
        reading.spawn(Reader::new(shared, list).run(sender));
        stream::try_unfold(Some((receiver, reading)), |reading| async move {
            let Some((mut receiver, reading)) = reading else {
                return Ok(None);
            };
            let Some(coming) = receiver.recv().await else {
                return Err(Error::internal("read on", "it ended before the last page"));
            };
            let page = coming.await?;
            let more = page.next.is_some();
            Ok(Some((page, more.then_some((receiver, reading)))))
        })
    });
    pages.flatten().boxed()
}

/// Pages of one statement.
fn of_one_statement(list: &List) -> usize {
    if list.want.package {
        1
    } else {
        ROWS.div_ceil(list.most())
    }
}

/// Reads on.
struct Reader {
    shared: Arc<Shared>,
    /// What is to be read yet.
    list: List,
    /// Read from, while it lasts; then the primary, which is never behind it.
    replica: Option<Arc<Replica>>,
}

impl Reader {
    fn new(shared: Arc<Shared>, list: List) -> Self {
        Self {
            replica: shared.replicas.next(list.want),
            shared,
            list,
        }
    }

    fn pool(&self) -> &PgPool {
        self.replica
            .as_ref()
            .map_or(&self.shared.pool, |replica| &replica.pool)
    }

    /// Whether it was a replica that failed, and the primary is to be read from now.
    fn leave(&mut self, error: &Error) -> bool {
        let replica = self.replica.take();
        if let Some(replica) = &replica {
            replica.failed(error);
        }
        replica.is_some()
    }

    async fn run(mut self, sender: mpsc::Sender<Coming>) {
        if let Err(error) = self.read(&sender).await {
            // It cannot be sent: whoever took the pages is gone.
            let _ = sender.send(ready(Err(error)).boxed()).await;
        }
    }

    /// Until the end, or until nobody takes pages any more. A lost connection is no end: it goes on
    /// after what came, on another.
    async fn read(&mut self, sender: &mpsc::Sender<Coming>) -> Result<()> {
        let mut plan = match self.plan().await {
            Err(error) if self.leave(&error) => self.plan().await?,
            plan => plan?,
        };
        let tries = self.shared.settings.connections.max(2);
        let mut left = tries;
        while let Ok(mut places) = sender.reserve_many(of_one_statement(&self.list)).await {
            let (replica, from) = (self.replica.clone(), self.list.after.clone());
            let more = async {
                match &mut plan {
                    Some(plan) => self.statement(plan, &mut places).await,
                    None => self.page(&mut places).await,
                }
            };
            let more = match replica {
                Some(replica) => replica.reading(Box::pin(more)).await,
                None => more.await,
            };
            match more {
                Ok(true) => left = tries,
                Ok(false) => break,
                Err(error) if self.leave(&error) => {}
                // As long as it gets further, however often that happens.
                Err(error) if lost(&error) && (left > 0 || self.list.after != from) => {
                    tracing::debug!(%error, "a connection was lost; reading on");
                    left = if self.list.after == from {
                        left - 1
                    } else {
                        tries
                    };
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A plan whose rows are what is selected, if there is one.
    async fn plan(&self) -> Result<Option<Plan>> {
        let plan = Plan::new(&self.list.select).filter(|_| self.list.select.is_watchable());
        let Some(mut plan) = plan else {
            return Ok(None);
        };
        let begins = match &self.list.after {
            Some(Cursor(after)) => plan.after(after),
            None => true,
        };
        if !begins {
            return Ok(None);
        }
        let pool = self.pool();
        let chosen = again(&self.shared, || {
            let mut plan = plan.clone();
            async move {
                let failed = fault("get a connection");
                let mut connection = Lent::of(&self.shared, pool).await.map_err(failed)?;
                choose(&self.shared.measures, &mut connection, &mut plan).await?;
                connection.give_back();
                Ok(plan)
            }
        });
        Ok(Some(chosen.await?).filter(Plan::is_plain))
    }

    /// One page, as it is listed; whether there is more.
    async fn page(&mut self, places: &mut Places<'_>) -> Result<bool> {
        let page = match &self.replica {
            Some(replica) => {
                let rows = rows(&self.shared, &replica.pool, &self.list).await?;
                of_rows(&self.shared, &self.list, rows).await?
            }
            None => latest(&self.shared, &self.list).await?,
        };
        self.list.after.clone_from(&page.next);
        put(places, ready(Ok(page)).boxed());
        Ok(self.list.after.is_some())
    }

    /// The pages of one statement, one for each place; whether there is more. What was put into a
    /// place is not read again.
    async fn statement(&mut self, plan: &mut Plan, places: &mut Places<'_>) -> Result<bool> {
        let failed = fault("list entities");
        let limit = self.list.most();
        let mut connection = Lent::of(&self.shared, self.pool()).await.map_err(&failed)?;
        // The head and the rows that show all up to there, and what the latter are selected by.
        let instant = connection.begin_with(ONE_INSTANT);
        let mut instant = instant.sent(&self.shared.measures, Purpose::Begin).await?;
        // One more tells whether there is more.
        let most = limit * places.len() + 1;
        let Copied { text, settings } = copy(plan, most, self.list.want).map_err(&failed)?;
        let head = format!("{} FROM head", set("SELECT revision", settings.len()));
        let mut head = sqlx::query_scalar(AssertSqlSafe(head));
        for setting in settings {
            head = head.bind(setting);
        }
        let head: i64 = head
            .fetch_one(&mut *instant)
            .sent(&self.shared.measures, Purpose::Head)
            .await?;
        let head = Revision(head.unsigned_abs());
        let rows = stream::once(instant.copy_out_raw(&text)).try_flatten();
        let mut rows = self.shared.measures.rows(Purpose::Pages, rows.boxed());
        // Each row is decoded while it is fresh in the processor's cache; the server goes on making
        // rows meanwhile, for the connection holds more than a moment's.
        let shared = self.shared.clone();
        let mut before = Before::knowing(&shared.skeletons);
        let kind = self.list.select.kind;
        let mut page: Vec<Found> = Vec::with_capacity(limit);
        while let Some(message) = rows.try_next().await? {
            if !is_row(&message) {
                continue;
            }
            if page.len() == limit {
                let full = std::mem::replace(&mut page, Vec::with_capacity(limit));
                if let Some(last) = full.last() {
                    let key = last.entity.key.clone();
                    plan.after(&key);
                    self.list.after = Some(Cursor(key));
                }
                put(places, self.decoded(head, full, self.list.after.clone()));
            }
            let row = Columns::copied(&message).map_err(&failed)?;
            page.push(Found::listed(kind, row, self.list.want, &mut before)?);
        }
        drop(rows);
        let ended = instant.commit();
        ended.sent(&self.shared.measures, Purpose::End).await?;
        connection.give_back();
        let more = places.len() == 0;
        if !more {
            put(places, self.decoded(head, page, None));
        }
        Ok(more)
    }

    /// A page of these rows. What rows share may have to be read, on another connection: so this
    /// one does not wait for it.
    fn decoded(&self, revision: Revision, mut found: Vec<Found>, next: Option<Cursor>) -> Coming {
        let (shared, want) = (self.shared.clone(), self.list.want);
        if !self.list.select.deleting {
            found.retain(|found| !found.is_deleting());
        }
        let page = tokio::spawn(async move {
            Ok(Page {
                revision,
                items: records(&shared, found, want).await?,
                next,
            })
        });
        async move { page.await.unwrap_or_else(|error| Err(broken_off(error))) }.boxed()
    }
}

fn broken_off(error: JoinError) -> Error {
    Error::internal("decode a page", error)
}

fn put(places: &mut Places<'_>, page: Coming) {
    if let Some(place) = places.next() {
        place.send(page);
    }
}
