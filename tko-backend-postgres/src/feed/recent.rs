//! The last changes, read once for all watchers of a process.
//!
//! The first watcher that needs the next changes reads them from the table, while the others wait.
//! Watchers further behind read the table until they have caught up. So the number of watchers does
//! not change the cost of the feed.

use super::records;
use crate::content::Content;
use crate::database::Database;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use tko_core::{ChangeRecord, Package, Result, Revision};

/// Maximum number of cached changes. For changes with packages, the limit is one batch.
const CACHED: usize = 2_048;

/// Maximum size of the packages of all cached changes, in bytes of compact JSON. The last change is
/// cached even if it is larger.
const CACHED_BYTES: usize = 32 << 20;

/// The limit of changes that are returned at once.
const BATCH: usize = 256;

/// The end of the feed, with packages or without.
pub(super) struct RecentChanges {
    database: Arc<Database>,
    content: Arc<Content>,
    package: bool,
    cache: Mutex<ChangeCache>,
    /// Held while reading the changes after the cache.
    reading: tokio::sync::Mutex<()>,
}

/// Consecutive changes.
#[derive(Debug, Default)]
struct ChangeCache {
    /// The revision before the first change.
    start: u64,
    changes: VecDeque<ChangeRecord>,
    /// The size of their packages, in bytes of compact JSON.
    bytes: usize,
}

impl ChangeCache {
    fn end(&self) -> u64 {
        self.start + self.changes.len() as u64
    }

    /// Returns changes after this revision; `None` if they are not cached.
    fn after(&self, after: u64) -> Option<Vec<ChangeRecord>> {
        if after < self.start || after >= self.end() {
            return None;
        }
        let skipped = usize::try_from(after - self.start).ok()?;
        let changes = self.changes.iter().skip(skipped).take(BATCH);
        Some(changes.cloned().collect())
    }

    /// Adds the changes after this revision. A gap discards the earlier ones.
    fn add(&mut self, after: u64, changes: &[ChangeRecord], most: usize) {
        if after != self.end() {
            self.changes.clear();
            self.bytes = 0;
            self.start = after;
        }
        for change in changes {
            self.bytes += package_bytes(change);
            self.changes.push_back(change.clone());
            self.drop_excess(most);
        }
    }

    fn drop_excess(&mut self, most: usize) {
        while self.changes.len() > most || (self.changes.len() > 1 && self.bytes > CACHED_BYTES) {
            let Some(oldest) = self.changes.pop_front() else {
                return;
            };
            self.bytes -= package_bytes(&oldest);
            self.start += 1;
        }
    }
}

/// The size of the packages before and after a change, in bytes of compact JSON.
fn package_bytes(change: &ChangeRecord) -> usize {
    let states = [&change.before, &change.after].into_iter().flatten();
    let packages = states.filter_map(|state| state.package.as_ref());
    packages.map(Package::size).sum()
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
            (cache.after(after.0), after.0 < cache.end())
        };
        if let Some(changes) = changes {
            return Ok(changes);
        }
        if is_behind {
            return self.read(after).await;
        }
        let _reading = self.reading.lock().await;
        // Another watcher may have read the changes meanwhile.
        if let Some(changes) = self.cache().after(after.0) {
            return Ok(changes);
        }
        let changes = self.read(after).await?;
        // Never move the cache back: another watcher may be further ahead.
        let mut cache = self.cache();
        if !changes.is_empty() && after.0 >= cache.end() {
            let most = if self.package { BATCH } else { CACHED };
            cache.add(after.0, &changes, most);
        }
        Ok(changes)
    }

    async fn read(&self, after: Revision) -> Result<Vec<ChangeRecord>> {
        records::after(&self.database, &self.content, after, self.package).await
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH, CACHED, CACHED_BYTES, ChangeCache, ChangeRecord, Revision};
    use serde_json::json;
    use tko_core::{DeploymentId, Entity, Facts, Key, Kind, Package, Record, Timestamp};

    fn changes(revisions: std::ops::RangeInclusive<u64>) -> Vec<ChangeRecord> {
        let key = Key::Deployment(DeploymentId::new("a").expect("an id"));
        let change = |revision| {
            ChangeRecord::new(
                Revision(revision),
                Revision(revision),
                Timestamp(0),
                key.clone(),
            )
        };
        revisions.map(change).collect()
    }

    /// A package of this size, or a little more.
    fn package(bytes: usize) -> Package {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
            "data": {"text": "x".repeat(bytes)}});
        Package::from_values([value]).expect("a package")
    }

    /// A change whose states before and after it have this package.
    fn change_with_packages(revision: u64, package: &Package) -> ChangeRecord {
        let key = Key::new(Kind::Site, "s").expect("an id");
        let facts = Facts::Site {
            template: None,
            origin: None,
        };
        let state = Record::new(Entity::new(key.clone(), facts)).package(package.clone());
        let revision = Revision(revision);
        ChangeRecord::new(revision, revision, Timestamp(0), key)
            .before(state.clone())
            .after(state)
    }

    fn cached(cache: &ChangeCache, after: u64) -> Option<Vec<u64>> {
        let changes = cache.after(after)?;
        Some(changes.iter().map(|change| change.revision.0).collect())
    }

    #[test]
    fn cached_changes_are_consecutive() {
        let mut cache = ChangeCache::default();
        assert_eq!(cached(&cache, 0), None);
        cache.add(4, &changes(5..=7), CACHED);
        assert_eq!(cached(&cache, 4), Some(vec![5, 6, 7]));
        assert_eq!(cached(&cache, 6), Some(vec![7]));
        assert_eq!((cached(&cache, 3), cached(&cache, 7)), (None, None));
        cache.add(7, &changes(8..=9), CACHED);
        assert_eq!(cached(&cache, 6), Some(vec![7, 8, 9]));
        // A gap discards the earlier changes.
        cache.add(20, &changes(21..=22), CACHED);
        assert_eq!(
            (cached(&cache, 8), cached(&cache, 20)),
            (None, Some(vec![21, 22]))
        );
    }

    #[test]
    fn the_cache_has_a_limit() {
        let mut cache = ChangeCache::default();
        let end = 3 * CACHED as u64;
        cache.add(0, &changes(1..=end), CACHED);
        let first = end - CACHED as u64;
        assert_eq!(cached(&cache, first - 1), None);
        let batch = cached(&cache, first).expect("it is cached");
        assert_eq!((batch.len(), batch[0]), (BATCH, first + 1));
    }

    #[test]
    fn large_packages_leave_room_for_fewer_changes() {
        let mut cache = ChangeCache::default();
        // Three changes fit, but not four.
        let small = package(CACHED_BYTES / 8);
        for revision in 1..=10 {
            let change = change_with_packages(revision, &small);
            cache.add(revision - 1, &[change], BATCH);
            assert!(cache.bytes <= CACHED_BYTES, "{} bytes", cache.bytes);
        }
        assert_eq!(cached(&cache, 6), None);
        assert_eq!(cached(&cache, 7), Some(vec![8, 9, 10]));
        // One that is too large is cached alone.
        let large = package(CACHED_BYTES / 2);
        cache.add(10, &[change_with_packages(11, &large)], BATCH);
        assert_eq!(
            (cached(&cache, 9), cached(&cache, 10)),
            (None, Some(vec![11]))
        );
        // A gap discards the size together with the changes.
        cache.add(20, &changes(21..=22), BATCH);
        assert_eq!(cache.bytes, 0);
    }
}
