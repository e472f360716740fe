//! Stores in separate databases of one server, which are used again, and their clock.

use async_trait::async_trait;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
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

/// Databases whose harness is gone, for the next stores: emptying one takes a tenth of the time of a
/// copy. Tasks that still have a store do no harm: `emptied` ends their sessions and renames the
/// database.
static UNUSED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Makes a database equal to the template: what is not listed here is emptied or starts again.
const EMPTY: &str = "
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public'
            AND tablename NOT IN ('_sqlx_migrations', 'head', 'test_clock')
        LOOP EXECUTE format('DELETE FROM %I', name); END LOOP;
        PERFORM setval(sequencename::regclass, 1, false) FROM pg_sequences;
    END $$;
    UPDATE head SET revision = 0, oldest = 0;
    UPDATE test_clock SET ahead = 0;";

/// Makes a database empty whose stores stay: their revisions continue, and they know the numbers of
/// skeletons and dictionaries. `TRUNCATE` would make them plan all their statements again.
const EMPTY_OPEN: &str = "
    DO $$ DECLARE name text; BEGIN
        -- Waits for the pass that numbers changes, and for the one that deletes old ones.
        LOCK TABLE pending;
        PERFORM 1 FROM head FOR UPDATE;
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public'
            AND tablename NOT IN ('_sqlx_migrations', 'head', 'test_clock', 'skeleton', 'dictionary')
        LOOP EXECUTE format('DELETE FROM %I', name); END LOOP;
        UPDATE head SET revision = revision + 1, oldest = revision + 1;
    END $$;";

/// Empties a database whose harness is gone, and returns its new name.
async fn emptied(old: &str, sessions: &mut Sessions) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let new = format!("tko_again_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    sessions.remove(old);
    let server = session(sessions, "postgres").await;
    // Tasks of a store that was dropped may still run, but do not find the new name.
    let alone = format!(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = '{old}'"
    );
    let rename = format!("ALTER DATABASE {old} RENAME TO {new}");
    let start = Instant::now();
    loop {
        let alone = server.execute(AssertSqlSafe(alone.as_str())).await;
        alone.expect("they end");
        let Err(error) = server.execute(AssertSqlSafe(rename.as_str())).await else {
            break;
        };
        assert!(start.elapsed() < Duration::from_mins(1), "{error}");
    }
    let database = session(sessions, &new).await;
    database.execute(EMPTY).await.expect("it is emptied");
    new
}

/// One store, as one process sees it.
struct Subject {
    database: String,
    history: usize,
    postgres: Arc<Postgres>,
}

impl Subject {
    /// Whether a check still has it.
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.postgres) > 1
    }
}

/// Connections outside the stores, by database.
type Sessions = BTreeMap<String, PgConnection>;

/// Returns the connection to a database, or connects.
async fn session<'a>(sessions: &'a mut Sessions, database: &str) -> &'a mut PgConnection {
    if !sessions.contains_key(database) {
        let options: PgConnectOptions = shared().url(database).parse().expect("a URL");
        let connected = options.connect().await.expect("the server runs");
        sessions.insert(database.to_owned(), connected);
    }
    sessions.get_mut(database).expect("it is there")
}

/// Creates stores in separate databases. It is used within one runtime, and must outlive its stores:
/// afterwards, other tests use their databases.
#[derive(Default)]
pub(crate) struct Harness {
    subjects: Mutex<Vec<Subject>>,
    sessions: tokio::sync::Mutex<Sessions>,
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
            history,
            postgres: postgres.clone(),
        });
        postgres
    }

    /// Returns an idle store with this history: no check uses any store of its database. A session of
    /// PostgreSQL costs more than what most cases do with it.
    fn idle(&self, history: usize) -> Option<(String, Arc<Postgres>)> {
        let subjects = self.subjects.lock().expect("not poisoned");
        let is_idle = |database: &str| {
            let mut stores = subjects.iter().filter(|known| known.database == database);
            !stores.any(Subject::is_used)
        };
        let mut known = subjects.iter();
        let found = known.find(|known| known.history == history && is_idle(&known.database));
        found.map(|known| (known.database.clone(), known.postgres.clone()))
    }

    fn of(&self, subject: &Arc<dyn Backend>) -> (String, Arc<Postgres>) {
        let subjects = self.subjects.lock().expect("not poisoned");
        let address = Arc::as_ptr(subject).cast::<()>();
        let found = subjects
            .iter()
            .find(|known| Arc::as_ptr(&known.postgres).cast::<()>() == address);
        let found = found.expect("it was made here");
        (found.database.clone(), found.postgres.clone())
    }
}

#[async_trait]
impl BackendHarness for Harness {
    async fn fresh(&self, history: usize) -> Arc<dyn Backend> {
        if let Some((database, idle)) = self.idle(history) {
            let mut sessions = self.sessions.lock().await;
            let session = session(&mut sessions, &database).await;
            session.execute(EMPTY_OPEN).await.expect("it is emptied");
            return idle;
        }
        let unused = UNUSED.lock().expect("not poisoned").pop();
        let database = if let Some(unused) = unused {
            emptied(&unused, &mut *self.sessions.lock().await).await
        } else {
            let made = tokio::task::spawn_blocking(|| {
                let template = template();
                Self::server().create_database_from(template)
            });
            made.await.expect("no panic").expect("a database is made")
        };
        self.open(database, history).await
    }

    async fn beside(&self, subject: &Arc<dyn Backend>) -> Arc<dyn Backend> {
        const HISTORY: usize = 1_000_000;
        let (database, _) = self.of(subject);
        let idle = {
            let subjects = self.subjects.lock().expect("not poisoned");
            let mut known = subjects.iter();
            let idle = known.find(|known| {
                known.database == database && known.history == HISTORY && !known.is_used()
            });
            idle.map(|known| known.postgres.clone())
        };
        match idle {
            Some(idle) => idle,
            None => self.open(database, HISTORY).await,
        }
    }

    async fn advance(&self, by: Duration) {
        let mut databases: Vec<String> = {
            let subjects = self.subjects.lock().expect("not poisoned");
            // Stores that no check has need no time.
            let used = subjects.iter().filter(|known| known.is_used());
            used.map(|s| s.database.clone()).collect()
        };
        databases.sort();
        databases.dedup();
        let by = i64::try_from(by.as_micros()).expect("it fits");
        let mut sessions = self.sessions.lock().await;
        for database in databases {
            let session = session(&mut sessions, &database).await;
            sqlx::query("UPDATE test_clock SET ahead = ahead + $1")
                .bind(by)
                .execute(&mut *session)
                .await
                .expect("the clock is put forward");
            // Wakes waiting claims.
            session.execute("NOTIFY tko").await.expect("it listens");
        }
    }

    async fn trim(&self, subject: &Arc<dyn Backend>) {
        let (_, postgres) = self.of(subject);
        postgres.trim().await.expect("what is old goes");
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        let subjects = std::mem::take(self.subjects.get_mut().expect("not poisoned"));
        let mut databases: Vec<String> = Vec::new();
        for subject in subjects {
            if !databases.contains(&subject.database) {
                databases.push(subject.database);
            }
        }
        UNUSED.lock().expect("not poisoned").append(&mut databases);
    }
}
