//! Connecting: what is waited for, what is refused, and what the database must be.

use crate::dialect;
use crate::fault::{Fault, fault};
use crate::settings::Settings;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use std::time::Duration;
use tko_core::{Error, Result};
use tokio::time::Instant;

/// The oldest server that the statements were made for.
const OLDEST_SERVER: i32 = 15;

/// First and longest pause between two attempts to reach the database.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What the URL of the database is called in errors.
pub(crate) const CONNECTION: &str = "backend connection";

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How this process's connections to the database of this URL are made; `what` it is called in
/// errors.
pub(crate) fn options(
    what: &'static str,
    url: &str,
    settings: &Settings,
) -> Result<PgConnectOptions> {
    // The text of the URL may hold a password: it is not repeated.
    let wrong = |why: String| {
        Error::bad(
            what,
            format!(
                "it is no URL of a PostgreSQL database, such as postgresql://user@host/database{why}"
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
            // A process that hangs must not hold back numbering, or the vacuum.
            ("idle_in_transaction_session_timeout", "30000"),
            ("lock_timeout", "10000"),
        ]))
}

/// A pool to a database that is reached, suits, and is migrated.
pub(crate) async fn connect(settings: &Settings) -> Result<PgPool> {
    let options = options(CONNECTION, &settings.url, settings)?;
    let place = place(&options);
    let pool = PgPoolOptions::new()
        .max_connections(settings.connections.max(2))
        .acquire_timeout(settings.connection_timeout)
        // A connection that died is found out by using it; asking first doubles every call.
        .test_before_acquire(false)
        .connect_lazy_with(options.clone());
    reach(&options, &place, settings.connection_timeout).await?;
    check(&pool, &place).await?;
    migrate(&pool, &place).await?;
    Ok(pool)
}

/// Waits, with growing pauses, until the server lets us in, or says that it never will.
async fn reach(options: &PgConnectOptions, place: &str, timeout: Duration) -> Result<()> {
    use sqlx::{ConnectOptions, Connection};
    let end = Instant::now() + timeout;
    let mut pause = PAUSE.0;
    loop {
        let attempt = tokio::time::timeout_at(end, options.connect()).await;
        let error = match attempt {
            Ok(Ok(connection)) => {
                let _ = connection.close().await;
                return Ok(());
            }
            Ok(Err(error)) if Fault::of(&error) != Fault::Unavailable || is_untrusted(&error) => {
                return Err(refused(place, &error));
            }
            Ok(Err(error)) => error,
            Err(_) => sqlx::Error::PoolTimedOut,
        };
        if Instant::now() + pause >= end {
            return Err(Error::unavailable(
                format!(
                    "reach {place} within {} s; check that the server runs and that the address is right",
                    timeout.as_secs()
                ),
                error,
            ));
        }
        tracing::warn!(place, %error, "the database cannot be reached yet; trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Whether there is no TLS, or not with a certificate that is believed.
fn is_untrusted(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        // As rustls tells of what it does not accept.
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// What no waiting mends.
fn refused(place: &str, error: &sqlx::Error) -> Error {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    let advice = match code.as_deref() {
        Some("28P01" | "28000") => "check user and password, and the server's pg_hba.conf",
        Some("3D000") => "create the database first, with: createdb",
        Some("42501") => "grant the user CONNECT on the database",
        _ if is_untrusted(error) => {
            "sslmode and sslrootcert of the URL must fit the server's TLS and its certificate"
        }
        _ => "check the connection URL",
    };
    Error::bad(CONNECTION, format!("{place} refuses: {error}; {advice}"))
}

/// Whether this is a database that we can work in.
async fn check(pool: &PgPool, place: &str) -> Result<()> {
    let (version, encoding): (i32, String) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')",
    )
    .fetch_one(pool)
    .await
    .map_err(fault("ask the database for its version"))?;
    if version / 10_000 < OLDEST_SERVER {
        return Err(Error::bad(
            CONNECTION,
            format!(
                "{place} is PostgreSQL {}; version {OLDEST_SERVER} or newer is needed",
                version / 10_000
            ),
        ));
    }
    if encoding != "UTF8" {
        return Err(Error::bad(
            CONNECTION,
            format!(
                "{place} has encoding {encoding}; create the database with: createdb --encoding=UTF8 --template=template0"
            ),
        ));
    }
    let foreign: bool = sqlx::query_scalar(
        "SELECT to_regclass('entity') IS NOT NULL AND to_regclass('change_set') IS NULL",
    )
    .fetch_one(pool)
    .await
    .map_err(fault("look at the tables of the database"))?;
    if foreign {
        return Err(Error::bad(
            CONNECTION,
            format!(
                "{place} is in use by something else (it has a table `entity` that is not TKO's); use a database of its own"
            ),
        ));
    }
    Ok(())
}

/// Brings the schema up to this version. Several processes at once wait for one another; what a
/// newer version has added is left alone, so that two versions can run side by side.
async fn migrate(pool: &PgPool, place: &str) -> Result<()> {
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
                format!("the user may not create tables in {place} ({sql}); grant it CREATE on the schema, or make it the owner of the database"),
            )
        }
        MigrateError::VersionMismatch(version) => Error::bad(
            CONNECTION,
            format!("the schema of {place} was made by another build: its migration {version} differs from ours; use the release that made it"),
        ),
        _ => Error::unavailable(format!("bring the schema of {place} up to date"), error),
    })
}

/// The numbers of the migrations of this version.
pub(crate) fn migrations() -> Vec<i64> {
    MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .collect()
}

/// Which database, without what is secret.
pub(crate) fn place(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let database = options.get_database().unwrap_or(options.get_username());
    format!("database {database} at {host}")
}
