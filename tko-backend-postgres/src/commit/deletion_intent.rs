//! Deleting what nothing may name: without a lock on what is named.
//!
//! Whoever writes a new reference looks, in the snapshot of its statement, whether what it names
//! is there and is not *going*. Whoever deletes says first that the key is going, waits until
//! every transaction has ended that may have looked before, and then sees all references there
//! are, and no new one. So a million creations of one template neither lock nor touch its row.

use super::snapshot::arrays;
use crate::dialect;
use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use std::collections::BTreeSet;
use std::time::Duration;
use tko_core::{ChangeSet, Error, Key, Require, Result};
use tokio::time::Instant;
use uuid::Uuid;

/// What a process that dies leaves behind holds others up for this long.
const HELD: Duration = Duration::from_secs(20);

/// How long others, and older transactions, are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Keys that are going.
pub(crate) struct DeletionGuard {
    pub(crate) token: Uuid,
    pub(crate) count: usize,
}

impl DeletionGuard {
    /// Of the keys that nothing may name after the set; `None` if there are none.
    ///
    /// # Errors
    /// `Busy`: another deletes it, or an old transaction does not end.
    pub(crate) async fn of(shared: &Shared, set: &ChangeSet) -> Result<Option<Self>> {
        let keys: BTreeSet<&Key> = set
            .require
            .iter()
            .filter_map(|require| match require {
                Require::Unreferenced(key) => Some(key),
                _ => None,
            })
            .collect();
        let Some(first) = keys.first().copied() else {
            return Ok(None);
        };
        let hold = Self {
            token: Uuid::new_v4(),
            count: keys.len(),
        };
        let end = Instant::now() + PATIENCE;
        let held = hold.take(shared, &keys, end).await;
        let held = match held {
            Ok(true) => dialect::older_transactions_ended(shared, end, PAUSE).await,
            other => other,
        };
        match held {
            Ok(true) => Ok(Some(hold)),
            Ok(false) => {
                hold.release(shared).await;
                Err(Error::Busy(first.clone()))
            }
            Err(error) => {
                hold.release(shared).await;
                Err(error)
            }
        }
    }

    async fn take(&self, shared: &Shared, keys: &BTreeSet<&Key>, end: Instant) -> Result<bool> {
        let (kinds, ids) = arrays(keys.iter().copied());
        let held = i64::try_from(HELD.as_micros()).unwrap_or(i64::MAX);
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
            .bind(held)
            .execute(&shared.pool)
            .sent(&shared.measures, Purpose::AnnounceGoing)
            .await?;
            if usize::try_from(taken.rows_affected()) == Ok(self.count) {
                return Ok(true);
            }
            // Somebody else has some of them. Whoever waits holds nothing.
            self.release(shared).await;
            if Instant::now() + PAUSE >= end {
                return Ok(false);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The keys stay.
    pub(crate) async fn release(&self, shared: &Shared) {
        let released = sqlx::query("DELETE FROM going WHERE token = $1")
            .bind(self.token)
            .execute(&shared.pool)
            .measured(&shared.measures, Purpose::WithdrawGoing)
            .await;
        if let Err(error) = released {
            tracing::warn!(%error, "could not say that keys stay; that lapses by itself");
        }
    }
}
