//! Deletion intents: deleting an entity to which nothing may refer, without locking it.
//!
//! A writer of a reference checks, in the snapshot of its statement, that the target exists and
//! that its deletion is not announced. A deleter announces the deletion first. Then it waits until
//! every transaction that may have checked earlier has ended. After that it sees all references,
//! and no new one can appear. So a million creations from one template neither lock nor touch its
//! row.
//!
//! Deployments have few children, which are created in sets. So the writer of a reference to one locks
//! its row against deletion, and a deletion locks it before it looks for children (`session`).

use crate::codes::{key_arrays, micros};
use crate::database::Database;
use crate::dialect;
use crate::metrics::{Instrument, Purpose};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tko_core::{ChangeSet, Error, Key, Require, Result};
use tokio::runtime::Handle;
use tokio::time::Instant;
use uuid::Uuid;

/// How long a guard lasts if its process dies.
const LIFETIME: Duration = Duration::from_secs(20);

/// How long to wait for other guards and for older transactions, unless the time limit of a statement
/// is shorter.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time between two polls.
const POLL: Duration = Duration::from_millis(2);

/// Announces deletions: no new reference to these keys can be committed.
///
/// Dropping it withdraws the announcement in the background, unless a statement that relies on it
/// may still be running.
pub(super) struct DeletionGuard {
    pub(super) token: Uuid,
    /// The number of keys.
    pub(super) count: usize,
    database: Arc<Database>,
    /// Whether dropping the guard leaves the announcement, because it was withdrawn before or must
    /// stay until it expires.
    leave: AtomicBool,
}

impl DeletionGuard {
    /// Announces the keys of [`Require::Unreferenced`], apart from deployments. Returns `None` if
    /// there are none.
    ///
    /// # Errors
    /// - `Busy`: another client is deleting one of them.
    /// - `Unavailable`: an older transaction does not end. That is no property of one entity: the
    ///   deletion of any other would wait for it, too.
    pub(super) async fn acquire(database: &Arc<Database>, set: &ChangeSet) -> Result<Option<Self>> {
        let keys: BTreeSet<&Key> = set
            .require
            .iter()
            .filter_map(|require| match require {
                Require::Unreferenced(key) if !matches!(key, Key::Deployment(_)) => Some(key),
                _ => None,
            })
            .collect();
        let Some(first) = keys.first().copied() else {
            return Ok(None);
        };
        let guard = Self {
            token: Uuid::new_v4(),
            count: keys.len(),
            database: database.clone(),
            leave: AtomicBool::new(false),
        };
        let limit = database.settings.statement_timeout;
        // PostgreSQL takes zero as no limit.
        let patience = if limit.is_zero() {
            PATIENCE
        } else {
            PATIENCE.min(limit)
        };
        let end = Instant::now() + patience;
        let acquired = match guard.take(&keys, end).await {
            Ok(true) => guard.await_older_transactions(end).await,
            Ok(false) => Err(Error::Busy(first.clone())),
            Err(error) => Err(error),
        };
        if let Err(error) = acquired {
            guard.release().await;
            return Err(error);
        }
        Ok(Some(guard))
    }

    /// Waits until no transaction can commit a reference that it checked before the announcement.
    async fn await_older_transactions(&self, end: Instant) -> Result<()> {
        if dialect::older_transactions_ended(&self.database, end, POLL).await? {
            return Ok(());
        }
        // Callers see the action, but not the source.
        Err(Error::unavailable(
            "delete entities: a transaction that began earlier is still open in the database; find \
             it in pg_stat_activity and end it",
            "the deletion waited for it in vain",
        ))
    }

    async fn take(&self, keys: &BTreeSet<&Key>, end: Instant) -> Result<bool> {
        let database = &*self.database;
        let (kinds, ids) = key_arrays(keys.iter().copied());
        loop {
            let taken = sqlx::query(
                "INSERT INTO going AS g (kind, id, token, until) \
                 SELECT k.kind, k.id, $3, now_us() + $4 \
                 FROM unnest($1::smallint[], $2::text[]) k(kind, id) ORDER BY 1, 2 \
                 ON CONFLICT (kind, id) DO UPDATE SET token = excluded.token, until = excluded.until \
                 WHERE g.until <= now_us()",
            )
            .bind(&kinds)
            .bind(&ids)
            .bind(self.token)
            .bind(micros(LIFETIME))
            .execute(&database.pool)
            .sent(&database.metrics, Purpose::AnnounceDeletion)
            .await?;
            if usize::try_from(taken.rows_affected()) == Ok(self.count) {
                return Ok(true);
            }
            // Another guard has some of the keys. Release the rest, to avoid a deadlock.
            withdraw(database, self.token).await;
            if Instant::now() + POLL >= end {
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Says whether a statement that relies on the announcement may be running. Without the
    /// announcement, others could commit references before it has committed the deletion.
    pub(super) fn rely(&self, relies: bool) {
        self.leave.store(relies, Ordering::Relaxed);
    }

    /// Withdraws the announcement.
    pub(super) async fn release(&self) {
        withdraw(&self.database, self.token).await;
        self.leave.store(true, Ordering::Relaxed);
    }
}

impl Drop for DeletionGuard {
    fn drop(&mut self) {
        if *self.leave.get_mut() {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let (database, token) = (self.database.clone(), self.token);
            runtime.spawn(async move { withdraw(&database, token).await });
        }
    }
}

/// Withdraws the announcement with this token.
async fn withdraw(database: &Database, token: Uuid) {
    let withdrawn = sqlx::query("DELETE FROM going WHERE token = $1")
        .bind(token)
        .execute(&database.pool)
        .measured(&database.metrics, Purpose::WithdrawDeletion)
        .await;
    if let Err(error) = withdrawn {
        tracing::warn!(%error, "failed to release a deletion guard; it will expire");
    }
}
