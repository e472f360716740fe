//! Versions: unique numbers, reserved from the database in blocks.

use crate::database::Database;
use crate::metrics::{Instrument, Purpose};
use std::ops::Range;
use std::sync::Arc;
use tko_core::{Result, Version};
use tokio::sync::Mutex;

/// Versions in one block: the unit of the sequence `version_block`.
const BLOCK: u64 = 1_024;

/// Hands out versions. The rest of a block is lost when the process ends.
#[derive(Debug)]
pub(crate) struct Versions {
    database: Arc<Database>,
    block: Mutex<Range<u64>>,
}

impl Versions {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self {
            database,
            block: Mutex::default(),
        }
    }

    /// Never hands out versions up to this one. Other processes may, from the blocks they have.
    pub(crate) async fn skip_past(&self, version: Version) -> Result<()> {
        let mut block = self.block.lock().await;
        *block = 0..0;
        let number = i64::try_from(version.0 / BLOCK + 1).unwrap_or(i64::MAX);
        let skipped: i64 = sqlx::query_scalar(
            "SELECT setval('version_block', greatest($1, (SELECT last_value FROM version_block)))",
        )
        .bind(number)
        .fetch_one(&self.database.pool)
        .sent(&self.database.metrics, Purpose::TakeVersions)
        .await?;
        debug_assert!(skipped >= number);
        Ok(())
    }

    /// Returns this many versions that were never handed out before, by any process.
    pub(crate) async fn take(&self, count: usize) -> Result<Vec<Version>> {
        // Held across the query, so that concurrent callers share one new block.
        let mut block = self.block.lock().await;
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            if let Some(version) = block.next() {
                taken.push(Version(version));
                continue;
            }
            let number: i64 = sqlx::query_scalar("SELECT nextval('version_block')")
                .fetch_one(&self.database.pool)
                .sent(&self.database.metrics, Purpose::TakeVersions)
                .await?;
            let first = number.unsigned_abs() * BLOCK;
            *block = first..first + BLOCK;
        }
        Ok(taken)
    }
}
