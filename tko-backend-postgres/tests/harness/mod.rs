//! Stores in separate databases of one server, and their clock.

use async_trait::async_trait;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, postgres::PgConnectOptions};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_conformance::BackendHarness;
use tko_core::Backend;
use tko_postgres_server::{PostgresServer, shared};

/// Replaces the store's clock by one that tests can advance.
const CLOCK: &str = "
    CREATE TABLE test_clock (ahead bigint NOT NULL);
    INSERT INTO test_clock VALUES (0);
    CREATE OR REPLACE FUNCTION now_us() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS $$
        SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint + ahead FROM test_clock
    $$;";

/// A migrated database with a clock that can be advanced.
fn template() -> &'static str {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let server = shared();
        let name = server.create_database().expect("a database is made");
        let url = server.url(&name);
        // In another thread, because the caller's runtime is busy.
        let migrate = async move {
            drop(Postgres::connect(PostgresSettings::new(url)).await.expect("the store is made"));
        };
        std::thread::spawn(|| {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(migrate);
        })
        .join()
        .expect("the store is made");
        server.psql(&name, CLOCK).expect("the clock is made");
        let alone = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()");
        server.psql(&name, &alone).expect("nobody else is in it");
        name
    })
}

/// One store, as one process sees it.
struct Subject {
    database: String,
    postgres: Weak<Postgres>,
}

/// Creates stores in separate databases.
#[derive(Default)]
pub(crate) struct Harness {
    subjects: Mutex<Vec<Subject>>,
}

impl Harness {
    fn server() -> &'static PostgresServer {
        shared()
    }

    async fn open(&self, database: String, history: usize) -> Arc<Postgres> {
        let mut settings = PostgresSettings::new(Self::server().url(&database));
        settings.connections = 8;
        settings.history = u64::try_from(history).expect("it fits");
        settings.history_time = Duration::ZERO;
        let postgres = Postgres::connect(settings).await;
        let postgres = Arc::new(postgres.expect("the store is made"));
        self.subjects.lock().expect("not poisoned").push(Subject {
            database,
            postgres: Arc::downgrade(&postgres),
        });
        postgres
    }

    fn of(&self, subject: &Arc<dyn Backend>) -> (String, Arc<Postgres>) {
        let subjects = self.subjects.lock().expect("not poisoned");
        let address = Arc::as_ptr(subject).cast::<()>();
        let found = subjects
            .iter()
            .find(|known| known.postgres.as_ptr().cast::<()>() == address);
        let found = found.expect("it was made here");
        let postgres = found.postgres.upgrade().expect("somebody has it");
        (found.database.clone(), postgres)
    }
}

/// A connection outside the pool of the store.
pub(crate) async fn connection(database: &str) -> PgConnection {
    let options: PgConnectOptions = shared().url(database).parse().expect("a URL");
    options.connect().await.expect("the server runs")
}

#[async_trait]
impl BackendHarness for Harness {
    async fn fresh(&self, history: usize) -> Arc<dyn Backend> {
        let made = tokio::task::spawn_blocking(|| {
            let template = template();
            Self::server().create_database_from(template)
        });
        let database = made.await.expect("no panic").expect("a database is made");
        self.open(database, history).await
    }

    async fn beside(&self, subject: &Arc<dyn Backend>) -> Arc<dyn Backend> {
        let (database, _) = self.of(subject);
        self.open(database, 1_000_000).await
    }

    async fn advance(&self, by: Duration) {
        let mut databases: Vec<String> = {
            let subjects = self.subjects.lock().expect("not poisoned");
            // Stores that were dropped need no time.
            let used = subjects.iter().filter(|s| s.postgres.strong_count() > 0);
            used.map(|s| s.database.clone()).collect()
        };
        databases.sort();
        databases.dedup();
        let by = i64::try_from(by.as_micros()).expect("it fits");
        for database in databases {
            let mut connection = connection(&database).await;
            sqlx::query("UPDATE test_clock SET ahead = ahead + $1")
                .bind(by)
                .execute(&mut connection)
                .await
                .expect("the clock is put forward");
            // Wakes waiting claims.
            connection.execute("NOTIFY tko").await.expect("it listens");
            connection.close().await.expect("it ends");
        }
    }

    async fn trim(&self, subject: &Arc<dyn Backend>) {
        let (_, postgres) = self.of(subject);
        postgres.trim().await.expect("what is old goes");
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        let subjects = std::mem::take(&mut *self.subjects.lock().expect("not poisoned"));
        let mut databases: Vec<String> = subjects.into_iter().map(|s| s.database).collect();
        databases.sort();
        databases.dedup();
        for database in databases {
            Self::server()
                .drop_database(&database)
                .expect("the database goes");
        }
    }
}
