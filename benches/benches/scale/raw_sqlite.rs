//! SQLite without TKO: one table with a row for each deployment, durable. It shows what the disk and
//! the library allow.

use crate::jobs::{BATCH, Job, PAGE, TIME};
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Executor, Row, SqliteConnection};
use std::path::Path;
use std::time::Instant;
use tko_benches::speed::Speed;
use tokio::sync::Mutex;

/// The size of a row: that of a deployment of the sample.
const ROW: usize = 1_000;

/// Rows of a transaction that fills the table.
const FILL: usize = 500;

/// Rows that are claimed together.
const CLAIMED: i64 = 10;

/// The table, with what TKO needs to find: an id, a label and the time at which work is due.
const TABLE: &str = "CREATE TABLE entity (num INTEGER PRIMARY KEY, id TEXT UNIQUE, label TEXT, \
    due INTEGER, data BLOB); \
    CREATE INDEX by_label ON entity (label, num); \
    CREATE INDEX by_due ON entity (due)";

/// A table in a separate file.
pub(crate) struct RawTable(Mutex<Connected>);

struct Connected {
    connection: SqliteConnection,
    /// How many rows were inserted.
    rows: usize,
}

impl RawTable {
    /// Makes a table with `size` rows.
    pub(crate) async fn filled(folder: &Path, size: usize) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(folder.join("raw.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging();
        let mut connection = options.connect().await.expect("a file");
        connection.execute(TABLE).await.expect("a table");
        let mut connected = Connected {
            connection,
            rows: 0,
        };
        while connected.rows < size {
            connected.insert(FILL.min(size - connected.rows)).await;
        }
        Self(Mutex::new(connected))
    }

    /// A round of a job.
    pub(crate) async fn measure(&self, job: Job) -> Speed {
        let mut connected = self.0.lock().await;
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < TIME {
            count += connected.once(job).await;
        }
        Speed::of(count, start.elapsed())
    }
}

impl Connected {
    /// Does a job once. Returns how much that was.
    async fn once(&mut self, job: Job) -> usize {
        match job {
            Job::FirstPage => {
                let page = "SELECT id, data FROM entity ORDER BY num LIMIT 100";
                assert_eq!(self.read(page).await, PAGE);
                1
            }
            Job::PageByLabel => {
                let page = "SELECT id, data FROM entity WHERE label = 'GDC-07' ORDER BY num \
                            LIMIT 100";
                assert!(self.read(page).await > 0);
                1
            }
            Job::Stream => self.read("SELECT id, data FROM entity ORDER BY num").await,
            Job::Claim => self.claim().await,
            Job::CreateAlone | Job::Create => self.insert(1).await,
            Job::Batch => self.insert(BATCH).await,
        }
    }

    async fn read(&mut self, sql: &'static str) -> usize {
        let mut rows = sqlx::query(sql).fetch(&mut self.connection);
        let mut count = 0;
        while let Some(row) = rows.try_next().await.expect("a row") {
            let id: String = row.get(0);
            let data: Vec<u8> = row.get(1);
            count += usize::from(!id.is_empty() && !data.is_empty());
        }
        count
    }

    /// Claims rows in one transaction, and hands them back in another.
    async fn claim(&mut self) -> usize {
        let claim = "UPDATE entity SET due = due + 1000000000 WHERE num IN (SELECT num FROM entity \
                     WHERE due < 1000000000 ORDER BY due LIMIT $1) RETURNING num";
        let claimed = sqlx::query(claim)
            .bind(CLAIMED)
            .fetch_all(&mut self.connection)
            .await
            .expect("claimed");
        self.execute("BEGIN IMMEDIATE").await;
        for row in &claimed {
            let num: i64 = row.get(0);
            sqlx::query("UPDATE entity SET due = due - 999999999 WHERE num = $1")
                .bind(num)
                .execute(&mut self.connection)
                .await
                .expect("handed back");
        }
        self.execute("COMMIT").await;
        claimed.len()
    }

    /// Inserts rows in one transaction.
    async fn insert(&mut self, count: usize) -> usize {
        self.execute("BEGIN IMMEDIATE").await;
        for _ in 0..count {
            self.rows += 1;
            let due = i64::try_from(self.rows).expect("few");
            sqlx::query("INSERT INTO entity (id, label, due, data) VALUES ($1, $2, $3, $4)")
                .bind(format!("{:020}", self.rows))
                .bind(format!("GDC-{:02}", self.rows % 50))
                .bind(due)
                .bind(vec![b'x'; ROW])
                .execute(&mut self.connection)
                .await
                .expect("inserted");
        }
        self.execute("COMMIT").await;
        count
    }

    async fn execute(&mut self, sql: &'static str) {
        self.connection.execute(sql).await.expect("a statement");
    }
}
