//! Versions: unique numbers, reserved from the database in blocks.

use crate::database::Database;
use crate::metrics::{Instrument, Purpose};
use std::ops::Range;
use std::sync::Arc;
use tko_core::{Result, Version};
use tokio::sync::Mutex;

/// Versions in one block: the unit of the sequence `version_block`.
const BLOCK: u64 = 1_024;

/// Assigns versions. The rest of a block is lost when the process ends.
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

    /// Assigns only versions after this one from now on. Other processes may still assign earlier
    /// ones, from the blocks that they have.
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

    /// Returns `count` versions that no process has assigned before.
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
