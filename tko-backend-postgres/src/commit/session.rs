//! The connection of one attempt: from the pool for each statement, or one transaction.
//!
//! A set that deletes deployments to which nothing may refer is one transaction of two statements.
//! The first locks them: the writer of a reference locks its target as well, so the second statement
//! sees all references, and no new one can appear until the end.

use super::snapshot::CommitSnapshot;
use super::write::{WritePlan, WrittenSet, execute};
use crate::database::Database;
use crate::metrics::{Instrument, Purpose};
use crate::retry::retry_read;
use crate::skeletons::Skeletons;
use sqlx::{Postgres, Transaction};
use tko_core::{ChangeSet, Key, Require, Result};

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
}
