//! SQLite without TKO: one table, one row for each creation, durable.

use crate::jobs::Job;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Executor, SqliteConnection};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a job is measured.
const TIME: Duration = Duration::from_secs(3);

/// The size of a row: that of a deployment of the sample.
const ROW: usize = 1_000;

/// Rows in a batch.
const BATCH: usize = 100;

/// Rows a second, in a new file of a table with `size` rows.
pub(crate) async fn creations(folder: &Path, job: Job, size: usize) -> f64 {
    let each = if job == Job::Batch { BATCH } else { 1 };
    let options = SqliteConnectOptions::new()
        .filename(folder.join(format!("raw-{each}.db")))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let mut connection = options.connect().await.expect("a file");
    let table = "CREATE TABLE entity (num INTEGER PRIMARY KEY, id TEXT UNIQUE, data BLOB)";
    connection.execute(table).await.expect("a table");
    let mut next = 0;
    rows(&mut connection, &mut next, size).await;
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < TIME {
        rows(&mut connection, &mut next, each).await;
        count += u32::try_from(each).expect("few");
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

/// Inserts rows in one transaction.
async fn rows(connection: &mut SqliteConnection, next: &mut usize, count: usize) {
    connection.execute("BEGIN IMMEDIATE").await.expect("begun");
    for _ in 0..count {
        *next += 1;
        sqlx::query("INSERT INTO entity (id, data) VALUES ($1, $2)")
            .bind(format!("{next:020}"))
            .bind(vec![b'x'; ROW])
            .execute(&mut *connection)
            .await
            .expect("inserted");
    }
    connection.execute("COMMIT").await.expect("committed");
}
