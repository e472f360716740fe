//! Connecting: waits for the server, checks the database, and migrates its schema.

use crate::database::Database;
use crate::dialect;
use crate::fault::{SqlFault, fault};
use crate::metrics::StatementMetrics;
use crate::settings::PostgresSettings;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use std::time::Duration;
use tko_core::{Error, Result};
use tokio::time::Instant;

/// The oldest supported major version of PostgreSQL.
const MIN_SERVER: i32 = 15;

/// The first and the longest pause between two connection attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The name of the database URL in errors.
const CONNECTION: &str = "backend connection";

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Returns the options for connections to this URL. `what` names the URL in errors.
pub(crate) fn options(
    what: &'static str,
    url: &str,
    settings: &PostgresSettings,
) -> Result<PgConnectOptions> {
    // The error does not repeat the URL, which may contain a password.
    let wrong = |why: String| {
        Error::bad(
            what,
            format!(
                "expected the URL of a PostgreSQL database, such as postgresql://user@host/database{why}"
            ),
        )
    };
    if !["postgresql://", "postgres://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        return Err(wrong(String::new()));
    }
    let options: PgConnectOptions = url
        .parse()
        .map_err(|error: sqlx::Error| wrong(format!(": {error}")))?;
    let statement = settings.statement_timeout.as_millis().to_string();
    Ok(options
        .application_name(&settings.application)
        .statement_cache_capacity(256)
        .options(dialect::SESSION)
        .options([
            ("statement_timeout", statement.as_str()),
            // A hanging process must not delay numbering or the vacuum.
            ("idle_in_transaction_session_timeout", "30000"),
            ("lock_timeout", "10000"),
        ]))
}

/// Connects to the database, checks it, and migrates it.
pub(crate) async fn connect(settings: PostgresSettings) -> Result<Database> {
    let options = options(CONNECTION, &settings.url, &settings)?;
    let address = address(&options);
    let pool = PgPoolOptions::new()
        .max_connections(settings.pool_size())
        .acquire_timeout(settings.connection_timeout)
        // A test doubles the round trips of a call. A dead connection is detected when it is used.
        .test_before_acquire(false)
        .connect_lazy_with(options.clone());
    wait_for_server(&options, &address, settings.connection_timeout).await?;
    check_database(&pool, &address).await?;
    migrate(&pool, &address).await?;
    Ok(Database {
        pool,
        options,
        settings,
        metrics: StatementMetrics::default(),
        process: uuid::Uuid::new_v4().simple().to_string(),
    })
}

/// Waits for the server with increasing pauses. Fails at once if waiting cannot help.
async fn wait_for_server(
    options: &PgConnectOptions,
    address: &str,
    timeout: Duration,
) -> Result<()> {
    use sqlx::{ConnectOptions, Connection};
    let end = Instant::now() + timeout;
    let mut pause = BACKOFF.0;
    loop {
        let attempt = tokio::time::timeout_at(end, options.connect()).await;
        let error = match attempt {
            Ok(Ok(connection)) => {
                let _ = connection.close().await;
                return Ok(());
            }
            Ok(Err(error))
                if SqlFault::of(&error) != SqlFault::Unavailable || is_tls_failure(&error) =>
            {
                return Err(refused(address, &error));
            }
            Ok(Err(error)) => error,
            Err(_) => sqlx::Error::PoolTimedOut,
        };
        if Instant::now() + pause >= end {
            return Err(Error::unavailable(
                format!(
                    "reach {address} within {} s; check that the server runs and that the address is correct",
                    timeout.as_secs()
                ),
                error,
            ));
        }
        tracing::warn!(address, %error, "database not reachable; retrying");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}

/// Whether the server offers no TLS, or a certificate that is not trusted.
fn is_tls_failure(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        // How rustls reports a rejected certificate.
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// The error for a refusal that waiting cannot resolve.
fn refused(address: &str, error: &sqlx::Error) -> Error {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    let advice = match code.as_deref() {
        Some("28P01" | "28000") => "check user and password, and the server's pg_hba.conf",
        Some("3D000") => "create the database with createdb",
        Some("42501") => "grant the user CONNECT on the database",
        _ if is_tls_failure(error) => {
            "set sslmode and sslrootcert in the URL to match the server's certificate"
        }
        _ => "check the connection URL",
    };
    Error::bad(
        CONNECTION,
        format!("{address} refused the connection: {error}; {advice}"),
    )
}

/// Checks version, encoding, and that no other program uses the database.
async fn check_database(pool: &PgPool, address: &str) -> Result<()> {
    let (version, encoding): (i32, String) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')",
    )
    .fetch_one(pool)
    .await
    .map_err(fault("read the version of the database"))?;
    if version / 10_000 < MIN_SERVER {
        return Err(Error::bad(
            CONNECTION,
            format!(
                "{address} is PostgreSQL {}; upgrade it to version {MIN_SERVER} or newer",
                version / 10_000
            ),
        ));
    }
    if encoding != "UTF8" {
        return Err(Error::bad(
            CONNECTION,
            format!(
                "{address} has encoding {encoding}; create the database with: createdb --encoding=UTF8 --template=template0"
            ),
        ));
    }
    let foreign: bool = sqlx::query_scalar(
        "SELECT to_regclass('entity') IS NOT NULL AND to_regclass('change_set') IS NULL",
    )
    .fetch_one(pool)
    .await
    .map_err(fault("read the tables of the database"))?;
    if foreign {
        return Err(Error::bad(
            CONNECTION,
            format!(
                "{address} is used by another program (it has a table \"entity\" that is not TKO's); use a separate database"
            ),
        ));
    }
    Ok(())
}

/// Migrates the schema to this version. Concurrent processes wait for one another.
///
/// Migrations of a newer version are ignored, so that two versions can run side by side.
async fn migrate(pool: &PgPool, address: &str) -> Result<()> {
    let migrator = Migrator {
        ignore_missing: true,
        ..Migrator::with_migrations(MIGRATIONS.iter().cloned().collect())
    };
    migrator.run(pool).await.map_err(|error| match &error {
        MigrateError::Execute(sql) | MigrateError::ExecuteMigration(sql, _)
            if sql.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some("42501") =>
        {
            Error::bad(
                CONNECTION,
                format!("the user may not create tables in {address} ({sql}); grant CREATE on the schema to it, or make it the owner of the database"),
            )
        }
        MigrateError::VersionMismatch(version) => Error::bad(
            CONNECTION,
            format!("the schema of {address} was made by a different build: its migration {version} differs; use the release that made it"),
        ),
        _ => Error::unavailable(format!("migrate the schema of {address}"), error),
    })
}

/// Returns the numbers of the migrations of this version.
pub(crate) fn migrations() -> Vec<i64> {
    MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .collect()
}

/// Returns the name and host of a database, without secrets.
pub(crate) fn address(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let database = options.get_database().unwrap_or(options.get_username());
    format!("database {database} at {host}")
}
