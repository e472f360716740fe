//! All pages of a listing, read ahead.
//!
//! One task reads and decodes row by row, while the server produces the following rows. It sends the
//! next statement as soon as there is room for its pages. No statement is open while the task waits
//! for the consumer.

use super::choose::choose;
use super::list::{latest, page as page_of, read as read_rows};
use super::plan::ListPlan;
use super::reader::{EntityReader, ONE_SNAPSHOT};
use super::record::{FoundEntity, records};
use super::statements::copy;
use crate::columns::{RowColumns, is_row};
use crate::dialect::select_and_set;
use crate::fault::fault;
use crate::metrics::{Instrument, Purpose};
use crate::replica::Replica;
use crate::retry::{is_lost, retry_read};
use crate::row::RowDecoder;
use crate::sql::BuiltSql;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use sqlx::{AssertSqlSafe, Connection, PgPool};
use std::future::ready;
use std::sync::Arc;
use tko_core::{Cursor, Error, List, Page, Result, Revision};
use tokio::sync::mpsc::{self, PermitIterator};
use tokio::task::{JoinError, JoinSet};

/// Rows of one statement: enough that the cost of its round trips is small in comparison. A page
/// with packages may be large, and gets a separate statement.
const STATEMENT_ROWS: usize = 32_000;

/// A page that is still being decoded.
type PendingPage = BoxFuture<'static, Result<Page>>;

/// Room for the pages of one statement.
type PageSlots<'a> = PermitIterator<'a, PendingPage>;

/// Returns all pages from this one on.
pub(crate) fn pages(reader: Arc<EntityReader>, list: List) -> BoxStream<'static, Result<Page>> {
    let pages = stream::once(async move {
        // A statement begins once half of the pages of the previous one have been consumed.
        let count = pages_per_statement(&list);
        let (sender, receiver) = mpsc::channel(count + count.div_ceil(2));
        // Dropping it stops the task.
        let mut reading = JoinSet::new();
        reading.spawn(PageReader::new(reader, list).run(sender));
        stream::try_unfold(Some((receiver, reading)), |reading| async move {
            let Some((mut receiver, reading)) = reading else {
                return Ok(None);
            };
            let Some(coming) = receiver.recv().await else {
                return Err(Error::internal(
                    "read all pages",
                    "the reading task ended before the last page",
                ));
            };
            let page = coming.await?;
            let more = page.next.is_some();
            Ok(Some((page, more.then_some((receiver, reading)))))
        })
    });
    pages.flatten().boxed()
}

/// The number of pages of one statement.
fn pages_per_statement(list: &List) -> usize {
    if list.want.package {
        1
    } else {
        STATEMENT_ROWS.div_ceil(list.most())
    }
}

/// Reads pages, and sends them to the consumer.
struct PageReader {
    reader: Arc<EntityReader>,
    /// The rest of the listing.
    list: List,
    /// The replica to read from. If it fails, reading continues on the primary, which is never
    /// behind it.
    replica: Option<Arc<Replica>>,
}

impl PageReader {
    fn new(reader: Arc<EntityReader>, list: List) -> Self {
        Self {
            replica: reader.replicas.next(list.want),
            reader,
            list,
        }
    }

    fn pool(&self) -> &PgPool {
        self.replica
            .as_ref()
            .map_or(&self.reader.database.pool, |replica| &replica.pool)
    }

    /// Switches from a failed replica to the primary. Returns false if the primary itself failed.
    fn leave(&mut self, error: &Error) -> bool {
        let replica = self.replica.take();
        if let Some(replica) = &replica {
            replica.failed(error);
        }
        replica.is_some()
    }

    async fn run(mut self, sender: mpsc::Sender<PendingPage>) {
        if let Err(error) = self.read(&sender).await {
            // Sending fails if the consumer is gone.
            let _ = sender.send(ready(Err(error)).boxed()).await;
        }
    }

    /// Reads until the end, or until the consumer is gone. After a lost connection, it continues on
    /// another one, after the last page.
    async fn read(&mut self, sender: &mpsc::Sender<PendingPage>) -> Result<()> {
        let mut plan = match self.plan().await {
            Err(error) if self.leave(&error) => self.plan().await?,
            plan => plan?,
        };
        let retries = self.reader.database.settings.pool_size();
        let mut left = retries;
        while let Ok(mut slots) = sender.reserve_many(pages_per_statement(&self.list)).await {
            let (replica, from) = (self.replica.clone(), self.list.after.clone());
            let more = async {
                match &mut plan {
                    Some(plan) => self.statement(plan, &mut slots).await,
                    None => self.page(&mut slots).await,
                }
            };
            let more = match replica {
                Some(replica) => replica.reading(Box::pin(more)).await,
                None => more.await,
            };
            match more {
                Ok(true) => left = retries,
                Ok(false) => break,
                Err(error) if self.leave(&error) => {}
                // Progress resets the limit of retries.
                Err(error) if is_lost(&error) && (left > 0 || self.list.after != from) => {
                    tracing::debug!(%error, "retrying a listing: its connection was lost");
                    left = if self.list.after == from {
                        left - 1
                    } else {
                        retries
                    };
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns a plain plan for the listing, if there is one.
    async fn plan(&self) -> Result<Option<ListPlan>> {
        let plan = ListPlan::new(&self.list.select).filter(|_| self.list.select.is_watchable());
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
        let chosen = retry_read(&self.reader.database, || {
            let mut plan = plan.clone();
            async move {
                let mut connection = self.reader.acquire(pool).await?;
                let metrics = &self.reader.database.metrics;
                choose(metrics, &mut connection, &mut plan).await?;
                connection.release();
                Ok(plan)
            }
        });
        Ok(Some(chosen.await?).filter(ListPlan::is_plain))
    }

    /// Reads one page like [`list`](super::list()). Returns whether there is more.
    async fn page(&mut self, slots: &mut PageSlots<'_>) -> Result<bool> {
        let page = match &self.replica {
            Some(replica) => {
                let rows = read_rows(&self.reader, &replica.pool, &self.list).await?;
                page_of(&self.reader, &self.list, rows).await?
            }
            None => latest(&self.reader, &self.list).await?,
        };
        self.list.after.clone_from(&page.next);
        put(slots, ready(Ok(page)).boxed());
        Ok(self.list.after.is_some())
    }

    /// Reads the pages of one statement, one for each slot. Returns whether there is more. Pages in
    /// slots are not read again.
    async fn statement(&mut self, plan: &mut ListPlan, slots: &mut PageSlots<'_>) -> Result<bool> {
        let failed = fault("list entities");
        let limit = self.list.most();
        let reader = self.reader.clone();
        let metrics = &reader.database.metrics;
        let mut connection = reader.acquire(self.pool()).await?;
        // One snapshot for the head and the rows; one transaction for the settings.
        let snapshot = connection.begin_with(ONE_SNAPSHOT);
        let mut snapshot = snapshot.sent(metrics, Purpose::Begin).await?;
        // The row after the pages shows whether there is more.
        let most = limit * slots.len() + 1;
        let BuiltSql { text, values } = copy(plan, most, self.list.want).map_err(&failed)?;
        let settings = values.into_texts();
        let select = select_and_set("SELECT revision", settings.len());
        let head = format!("{select} FROM head");
        let mut head = sqlx::query_scalar(AssertSqlSafe(head));
        for setting in settings {
            head = head.bind(setting);
        }
        let head: i64 = head
            .fetch_one(&mut *snapshot)
            .sent(metrics, Purpose::Head)
            .await?;
        let head = Revision(head.unsigned_abs());
        let rows = stream::once(snapshot.copy_out_raw(&text)).try_flatten();
        let mut rows = metrics.rows(Purpose::Pages, rows.boxed());
        // Rows are decoded while they are in the processor's cache. The server continues meanwhile: the
        // connection buffers many rows.
        let mut decoder = RowDecoder::with_skeletons(&reader.content.skeletons);
        let kind = self.list.select.kind;
        let mut page: Vec<FoundEntity> = Vec::with_capacity(limit);
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
                put(slots, self.complete(head, full, self.list.after.clone()));
            }
            let row = RowColumns::copied(&message).map_err(&failed)?;
            page.push(FoundEntity::listed(
                kind,
                row,
                self.list.want,
                &mut decoder,
            )?);
        }
        drop(rows);
        snapshot.commit().sent(metrics, Purpose::End).await?;
        connection.release();
        let more = slots.len() == 0;
        if !more {
            put(slots, self.complete(head, page, None));
        }
        Ok(more)
    }

    /// Completes a page in a separate task: missing skeletons need another connection.
    fn complete(
        &self,
        revision: Revision,
        mut found: Vec<FoundEntity>,
        next: Option<Cursor>,
    ) -> PendingPage {
        let (reader, want) = (self.reader.clone(), self.list.want);
        if !self.list.select.deleting {
            found.retain(|found| !found.is_deleting());
        }
        let page = tokio::spawn(async move {
            Ok(Page::new(revision, records(&reader.content, found, want).await?).next(next))
        });
        async move { page.await.unwrap_or_else(|error| Err(failed_task(error))) }.boxed()
    }
}

fn failed_task(error: JoinError) -> Error {
    Error::internal("decode a page", error)
}

fn put(slots: &mut PageSlots<'_>, page: PendingPage) {
    if let Some(place) = slots.next() {
        place.send(page);
    }
}
