//! The context of every check: the database, and whether to repair it.

use crate::columns::RowColumns;
use crate::commit::Committer;
use crate::content::Content;
use crate::database::Database;
use crate::dialect;
use crate::fault::fault;
use crate::metrics::{Instrument, Purpose};
use crate::read::ONE_SNAPSHOT;
use crate::row::EntityRow;
use sqlx::postgres::{PgQueryResult, PgRow};
use sqlx::{ConnectOptions, PgConnection, PgTransaction};
use tko_core::Result;

/// The number of rows that are read at once.
pub(super) const PAGE: i64 = 1_000;

/// A check in progress.
pub(super) struct Checker<'a> {
    pub(super) database: &'a Database,
    pub(super) content: &'a Content,
    pub(super) committer: &'a Committer,
    pub(super) repair: bool,
}

impl Checker<'_> {
    /// Begins a snapshot for one page.
    pub(super) async fn snapshot(&self) -> Result<PgTransaction<'static>> {
        let Database { pool, metrics, .. } = self.database;
        let begun = pool.begin_with(ONE_SNAPSHOT);
        begun.sent(metrics, Purpose::Begin).await
    }

    /// Ends a snapshot.
    pub(super) async fn end(&self, snapshot: PgTransaction<'_>) -> Result<()> {
        let ended = snapshot.commit();
        ended.sent(&self.database.metrics, Purpose::End).await
    }

    /// Runs a statement of a check. `action` is a verb phrase for errors.
    pub(super) async fn read<T>(
        &self,
        action: &'static str,
        statement: impl Future<Output = sqlx::Result<T>> + Send,
    ) -> Result<T> {
        let read = statement.measured(&self.database.metrics, Purpose::Check);
        read.await.map_err(fault(action))
    }

    /// Runs a statement of a repair. Returns whether it changed anything.
    pub(super) async fn fix(
        &self,
        action: &'static str,
        statement: impl Future<Output = sqlx::Result<PgQueryResult>> + Send,
    ) -> Result<bool> {
        let fixed = statement.measured(&self.database.metrics, Purpose::Repair);
        Ok(fixed.await.map_err(fault(action))?.rows_affected() > 0)
    }
}

/// Opens a connection for statements that compare whole tables.
pub(super) async fn scanning(database: &Database) -> Result<PgConnection> {
    let options = database.options.clone().options(dialect::SCANNING);
    let connection = options.connect().await;
    connection.map_err(fault("connect to the database"))
}

/// Decodes rows of [`COLUMNS`](crate::row::COLUMNS).
pub(super) fn decode(rows: &[PgRow]) -> Result<Vec<EntityRow<'_>>> {
    let rows = rows
        .iter()
        .map(|row| EntityRow::read(&mut RowColumns::of(row, 0)))
        .collect::<Result<Vec<_>, _>>();
    rows.map_err(fault("decode rows"))
}
