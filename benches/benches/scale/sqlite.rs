//! SQLite at all sizes, and tables of the same sizes without TKO, in rounds that alternate.

use crate::fill;
use crate::jobs::{JOBS, measure};
use crate::raw_sqlite::RawTable;
use crate::table::Table;
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

/// Fills a store of each size, and a table, and then measures each job at all sizes in turn. So a disk
/// or a machine that is slow for some seconds is slow for every size. All stores are open at once.
pub(crate) async fn sqlite(sizes: &[usize], rounds: usize, table: &mut Table) {
    let mut all = Vec::new();
    for size in sizes {
        let filled = Filled::with(*size).await;
        table.bytes(*size, filled.bytes());
        all.push((filled, Speed::default(), Speed::default()));
    }
    for job in JOBS {
        eprintln!("SQLite: {}", job.name());
        for round in 0..rounds {
            for (filled, with, without) in &mut all {
                let store = measure(job, &filled.store, filled.size);
                // Each goes first in every other round.
                if round % 2 == 0 {
                    with.add(store.await);
                    without.add(filled.raw.measure(job).await);
                } else {
                    without.add(filled.raw.measure(job).await);
                    with.add(store.await);
                }
            }
            all.reverse();
        }
        for (filled, with, without) in &mut all {
            let rate = |speed: &mut Speed| std::mem::take(speed).rate();
            table.add(job, "SQLite", filled.size, rate(with));
            table.add(job, "SQLite alone", filled.size, rate(without));
        }
    }
}
