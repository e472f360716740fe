//! The last changes, read once for all watchers of a process.
//!
//! The first watcher that needs the next changes reads them from the table, while the others wait.
//! Watchers further behind read the table until they have caught up. So the number of watchers does
//! not change the cost of the feed.

use super::records;
use crate::content::Content;
use crate::database::Database;
use std::sync::{Arc, Mutex, MutexGuard};
use tko_core::feed::ChangeCache;
use tko_core::{ChangeRecord, Result, Revision};

/// The end of the feed, with packages or without.
pub(super) struct RecentChanges {
    database: Arc<Database>,
    content: Arc<Content>,
    package: bool,
    cache: Mutex<ChangeCache>,
    /// Held while reading the changes after the cache.
    reading: tokio::sync::Mutex<()>,
}

impl RecentChanges {
    pub(super) fn new(database: Arc<Database>, content: Arc<Content>, package: bool) -> Self {
        Self {
            database,
            content,
            package,
            cache: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    fn cache(&self) -> MutexGuard<'_, ChangeCache> {
        self.cache.lock().expect("no code panics while it adds")
    }

    /// Returns the next changes after this revision, in order; none if it is the last one.
    ///
    /// # Errors
    /// As [`records::after`].
    pub(super) async fn after(&self, after: Revision) -> Result<Vec<ChangeRecord>> {
        let (changes, is_behind) = {
            let cache = self.cache();
            (cache.after(after), !cache.ends_at(after))
        };
        if let Some(changes) = changes {
            return Ok(changes);
        }
        if is_behind {
            return self.read(after).await;
        }
        let _reading = self.reading.lock().await;
        // Another watcher may have read the changes meanwhile.
        if let Some(changes) = self.cache().after(after) {
            return Ok(changes);
        }
        let changes = self.read(after).await?;
        self.cache().add(&changes);
        Ok(changes)
    }

    async fn read(&self, after: Revision) -> Result<Vec<ChangeRecord>> {
        records::after(&self.database, &self.content, after, self.package).await
    }
}
