//! Versions: never given twice, taken from the database in blocks.

use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use tko_core::{Result, Version};
use tokio::sync::Mutex;

/// As `version_block` counts in.
const BLOCK: u64 = 1_024;

/// Hands out versions. What is left of a block when the process ends is never given.
#[derive(Debug, Default)]
pub(crate) struct Versions(Mutex<std::ops::Range<u64>>);

impl Versions {
    /// So many that nobody else has or will have.
    pub(crate) async fn take(&self, shared: &Shared, count: usize) -> Result<Vec<Version>> {
        // Only whoever waits for a version waits for the lock: a block lasts for many commits.
        let mut range = self.0.lock().await;
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            if let Some(version) = range.next() {
                taken.push(Version(version));
                continue;
            }
            let block: i64 = sqlx::query_scalar("SELECT nextval('version_block')")
                .fetch_one(&shared.pool)
                .sent(&shared.measures, Purpose::TakeVersions)
                .await?;
            let first = block.unsigned_abs() * BLOCK;
            *range = first..first + BLOCK;
        }
        Ok(taken)
    }
}
