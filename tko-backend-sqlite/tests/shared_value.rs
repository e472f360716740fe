//! Shared values are found by every process that has the file, and after it was opened again.

use std::path::Path;
use std::sync::Arc;
use tko_backend_sqlite::{Sqlite, SqliteSettings};
use tko_core::system::SystemClock;
use tko_core::{Backend, ContentHash, SharedLimits};

async fn open(path: &Path) -> Sqlite {
    let clock = Arc::new(SystemClock::new());
    let sqlite = Sqlite::open(clock, SqliteSettings::new(path)).await;
    sqlite.expect("the file opens")
}

async fn find(store: &Sqlite, number: u8) -> Option<Vec<u8>> {
    let age = SharedLimits::new().age;
    let found = store.get_shared(ContentHash([number; 32]), age).await;
    found.expect("it is looked up")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_value_is_found_by_other_processes_and_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tko.db");
    let (one, other) = (open(&path).await, open(&path).await);
    let limits = SharedLimits::new().bytes(2_100);
    for number in 1..=3 {
        let value = [number; 900];
        let shared = one.put_shared(ContentHash([number; 32]), &value, limits);
        shared.await.expect("it is shared");
    }
    // The three have 2,700 bytes.
    assert_eq!(find(&other, 3).await, Some(vec![3; 900]));
    let both = (find(&other, 1).await, find(&other, 2).await);
    assert!(both.0.is_none() != both.1.is_none(), "{both:?}");
    drop((one, other));
    let again = open(&path).await;
    assert_eq!(find(&again, 3).await, Some(vec![3; 900]));
    again.clear().await.expect("it is cleared");
    assert_eq!(find(&again, 3).await, None);
}
