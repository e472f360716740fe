//! The connection of one attempt: from the pool for each statement, or one transaction.
//!
//! A set that deletes deployments to which nothing may refer is one transaction of two statements.
//! The first locks them; the writer of a reference locks its target as well. So the second
//! statement sees all references, and no new one can appear until the end. Sets that are written
//! together also form one transaction if one of them is such a set.

use super::snapshot::CommitSnapshot;
use super::write::{WritePlan, WrittenSet, execute};
use crate::codes::count;
use crate::database::Database;
use crate::metrics::{Instrument, Purpose};
use crate::retry::retry_read;
use crate::skeletons::Skeletons;
use crate::sql::BuiltSql;
use sqlx::{AssertSqlSafe, Postgres, Transaction};
use tko_core::{ChangeSet, Key, Require, Result, Revision};

/// Where the statements of one attempt run.
pub(super) struct CommitSession {
    transaction: Option<Transaction<'static, Postgres>>,
}

/// Whether a set has to lock deployments before it looks for references to them.
pub(super) fn locks_first(set: &ChangeSet) -> bool {
    let is_deployment =
        |require: &Require| matches!(require, Require::Unreferenced(Key::Deployment(_)));
    set.require.iter().any(is_deployment)
}

impl CommitSession {
    /// Each statement is a transaction.
    pub(super) fn of_statements() -> Self {
        Self { transaction: None }
    }

    /// Begins a transaction, locks, and reads. The snapshot has no references yet.
    pub(super) async fn begin(
        database: &Database,
        skeletons: &Skeletons,
        set: &ChangeSet,
    ) -> Result<(Self, CommitSnapshot)> {
        retry_read(database, || async {
            let begun = database.pool.begin();
            let mut transaction = begun.sent(&database.metrics, Purpose::Begin).await?;
            let read = CommitSnapshot::lock(database, skeletons, set, &mut transaction);
            let snapshot = read.await?;
            let transaction = Some(transaction);
            Ok((Self { transaction }, snapshot))
        })
        .await
    }

    /// Begins a transaction for several sets, locks, and reads all that each depends on.
    pub(super) async fn begin_together(
        database: &Database,
        skeletons: &Skeletons,
        sets: &[&ChangeSet],
    ) -> Result<(Self, Vec<CommitSnapshot>)> {
        retry_read(database, || async {
            let begun = database.pool.begin();
            let mut transaction = begun.sent(&database.metrics, Purpose::Begin).await?;
            let read = CommitSnapshot::lock_all(database, skeletons, sets, &mut transaction);
            let snapshots = read.await?;
            let transaction = Some(transaction);
            Ok((Self { transaction }, snapshots))
        })
        .await
    }

    /// Adds the references to a snapshot that [`begin`](Self::begin) returned.
    pub(super) async fn read_references(
        &mut self,
        database: &Database,
        set: &ChangeSet,
        snapshot: &mut CommitSnapshot,
    ) -> Result<()> {
        match &mut self.transaction {
            Some(transaction) => {
                let read = snapshot.read_references(database, set, transaction);
                read.await
            }
            None => Ok(()),
        }
    }

    /// Writes, and ends the transaction.
    ///
    /// # Errors
    /// As [`execute`].
    pub(super) async fn write(
        self,
        plan: &WritePlan<'_>,
        database: &Database,
    ) -> sqlx::Result<Option<WrittenSet>> {
        let Some(mut transaction) = self.transaction else {
            return execute(plan, database, &database.pool).await;
        };
        let written = execute(plan, database, &mut *transaction).await?;
        if written.is_some() {
            let end = transaction.commit();
            end.measured(&database.metrics, Purpose::End).await?;
        }
        Ok(written)
    }

    /// Writes several sets by a statement that returns the id of each, and the revision of the last
    /// change of all, and ends the transaction. `None`: the state changed since it was read. `steps`
    /// has the number of changes of each set.
    ///
    /// # Errors
    /// The error of the database.
    pub(super) async fn write_together(
        self,
        statement: BuiltSql,
        steps: &[usize],
        database: &Database,
    ) -> sqlx::Result<Option<Vec<WrittenSet>>> {
        let BuiltSql { text, values } = statement;
        let query = sqlx::query_as_with(AssertSqlSafe(text), values);
        let metrics = &database.metrics;
        let written: Vec<(i64, Option<i64>, Option<String>)>;
        if let Some(mut transaction) = self.transaction {
            let write = query.fetch_all(&mut *transaction);
            written = write.measured(metrics, Purpose::Commit).await?;
            if written.len() == steps.len() {
                let end = transaction.commit();
                end.measured(metrics, Purpose::End).await?;
            }
        } else {
            let write = query.fetch_all(&database.pool);
            written = write.measured(metrics, Purpose::Commit).await?;
        }
        if written.len() != steps.len() {
            return Ok(None);
        }
        let all: usize = steps.iter().sum();
        let mut before = 0;
        let sets = written
            .into_iter()
            .zip(steps)
            .map(|((id, last, _), steps)| {
                before += steps;
                let own = last.map(|last| last - count(all - before));
                WrittenSet {
                    id,
                    revision: own.map(|own| Revision(own.unsigned_abs())),
                }
            });
        Ok(Some(sets.collect()))
    }
}
