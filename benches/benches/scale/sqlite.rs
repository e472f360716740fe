//! SQLite at all sizes, and tables of the same sizes without TKO, in rounds that alternate.

use crate::fill;
use crate::jobs::{JOBS, measure};
use crate::raw_sqlite::RawTable;
use crate::table::Table;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tko_backend_sqlite::{Sqlite, SqliteSettings};
use tko_benches::clock;
use tko_benches::speed::Speed;
use tko_core::Backend;

/// A store with a number of deployments, and a table with as many rows.
struct Filled {
    size: usize,
    store: Arc<dyn Backend>,
    raw: RawTable,
    /// Holds the files of both; removed with this value.
    folder: TempDir,
}

impl Filled {
    async fn with(size: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = SqliteSettings::new(folder.path().join("tko.db"));
        let sqlite = Sqlite::open(clock(), settings).await.expect("a backend");
        let store: Arc<dyn Backend> = Arc::new(sqlite);
        eprintln!("SQLite: filling it, and a table without TKO, with {size} rows");
        fill(&store, size).await;
        let raw = RawTable::filled(folder.path(), size).await;
        Self {
            size,
            store,
            raw,
            folder,
        }
    }

    /// Bytes of the store's files for each deployment.
    fn bytes(&self) -> u64 {
        let file = |name: &str| std::fs::metadata(self.folder.path().join(name));
        let sizes = ["tko.db", "tko.db-wal"].map(file).into_iter().flatten();
        let sum: u64 = sizes.map(|file| file.len()).sum();
        sum / u64::try_from(self.size).expect("few")
    }
}

/// Fills a store of each size first, then measures each job at all sizes in turn. So a disk or a
/// machine that is slow for some seconds is slow for every size.
pub(crate) async fn sqlite(sizes: &[usize], rounds: usize, table: &mut Table) {
    let mut all = Vec::new();
    for size in sizes {
        let filled = Filled::with(*size).await;
        table.bytes(*size, filled.bytes());
        all.push(filled);
    }
    for filled in &all {
        sync(filled.folder.path());
    }
    for job in JOBS {
        eprintln!("SQLite: {}", job.name());
        let mut speeds = vec![(Speed::default(), Speed::default()); all.len()];
        for _ in 0..rounds {
            for (filled, (with, without)) in all.iter().zip(&mut speeds) {
                with.add(measure(job, &filled.store, filled.size).await);
                without.add(filled.raw.measure(job).await);
            }
        }
        for (filled, (with, without)) in all.iter().zip(speeds) {
            table.add(job, "SQLite", filled.size, with.rate());
            table.add(job, "SQLite alone", filled.size, without.rate());
        }
    }
}

/// Waits until the disk has what was written to the files of a folder.
fn sync(folder: &Path) {
    for file in std::fs::read_dir(folder).expect("a folder") {
        let file = std::fs::File::open(file.expect("a file").path()).expect("a file");
        file.sync_all().expect("a disk");
    }
}
