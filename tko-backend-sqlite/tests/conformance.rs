//! The contract of backends holds.

use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tempfile::TempDir;
use tko_backend_sqlite::{Sqlite, SqliteSettings, SqliteSync};
use tko_conformance::{BackendHarness, ManualClock, backend_suite};
use tko_core::Backend;

/// One store, as one process sees it.
struct Subject {
    path: PathBuf,
    sqlite: Weak<Sqlite>,
}

/// Makes stores, each in a separate file.
struct Harness {
    clock: ManualClock,
    folder: TempDir,
    files: AtomicU64,
    subjects: Mutex<Vec<Subject>>,
}

impl Default for Harness {
    fn default() -> Self {
        Self {
            clock: ManualClock::default(),
            folder: tempfile::tempdir().expect("a folder"),
            files: AtomicU64::new(0),
            subjects: Mutex::default(),
        }
    }
}

impl Harness {
    async fn open(&self, path: PathBuf, history: usize) -> Arc<Sqlite> {
        let mut settings = SqliteSettings::new(&path);
        settings.history = u64::try_from(history).expect("it fits");
        settings.history_time = Duration::ZERO;
        // Whether the disk was flushed is not what these checks are about.
        settings.sync = SqliteSync::Normal;
        settings.poll = Duration::from_millis(20);
        let sqlite = Sqlite::open(Arc::new(self.clock.clone()), settings).await;
        let sqlite = Arc::new(sqlite.expect("the store is made"));
        self.subjects.lock().expect("not poisoned").push(Subject {
            path,
            sqlite: Arc::downgrade(&sqlite),
        });
        sqlite
    }

    fn of(&self, subject: &Arc<dyn Backend>) -> (PathBuf, Arc<Sqlite>) {
        let subjects = self.subjects.lock().expect("not poisoned");
        let address = Arc::as_ptr(subject).cast::<()>();
        let found = subjects
            .iter()
            .find(|known| known.sqlite.as_ptr().cast::<()>() == address);
        let found = found.expect("it was made here");
        let sqlite = found.sqlite.upgrade().expect("somebody has it");
        (found.path.clone(), sqlite)
    }
}

#[async_trait]
impl BackendHarness for Harness {
    async fn fresh(&self, history: usize) -> Arc<dyn Backend> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.path().join(format!("{number}.db"));
        self.open(path, history).await
    }

    async fn beside(&self, subject: &Arc<dyn Backend>) -> Arc<dyn Backend> {
        let (path, _) = self.of(subject);
        self.open(path, 1_000_000).await
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn trim(&self, subject: &Arc<dyn Backend>) {
        let (_, sqlite) = self.of(subject);
        sqlite.trim().await.expect("what is old goes");
    }
}

backend_suite!(mod sqlite = Harness::default());
