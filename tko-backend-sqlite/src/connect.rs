//! Connections: one that writes, one that looks for writes of other processes, and a pool that
//! reads.

use crate::dictionary::ReadDictionaries;
use crate::fault::{SqlResult, SqliteFault, translate};
use crate::schema::{SchemaState, migrate};
use crate::settings::{SqliteSettings, SqliteSync};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Executor, SqliteConnection};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tko_core::feed::ChangeCache;
use tko_core::{Clock, Error, Result};
use tokio::sync::Mutex;

/// The file, and the connections that read it.
#[derive(Debug)]
pub(crate) struct SqliteFile {
    pub(crate) settings: SqliteSettings,
    pub(crate) pool: SqlitePool,
    pub(crate) dictionaries: ReadDictionaries,
}

/// The state that every part of the backend shares.
pub(crate) struct SqliteParts {
    pub(crate) file: SqliteFile,
    pub(crate) clock: Arc<dyn Clock>,
    /// The changes that were read recently, without and with packages.
    pub(crate) recent: [Mutex<ChangeCache>; 2],
}

impl SqliteFile {
    /// Translates an error for callers. `action` is a verb phrase.
    pub(crate) fn fault(&self, action: &'static str) -> impl Fn(sqlx::Error) -> Error {
        move |error| translate(action, &self.settings.path, error)
    }
}

/// Opens the file, creates it if it does not exist, and migrates it.
///
/// Returns the write connection together with the others.
pub(crate) async fn connect(settings: SqliteSettings) -> Result<(SqliteFile, SqliteConnection)> {
    let path = settings.path.clone();
    check_folder(&path)?;
    let fault = |error| translate("open the file", &path, error);
    create_private(&path);
    let options = options(&settings);
    let mut writer = options.connect().await.map_err(fault)?;
    prepare(&mut writer, &path).await?;
    let pool = SqlitePoolOptions::new()
        .max_connections(settings.readers.max(1))
        .acquire_timeout(settings.busy_timeout)
        .test_before_acquire(false)
        .connect_with(reading(&options))
        .await
        .map_err(fault)?;
    let file = SqliteFile {
        settings,
        pool,
        dictionaries: ReadDictionaries::default(),
    };
    Ok((file, writer))
}

/// Options of connections that read.
pub(crate) fn reading(options: &SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .clone()
        .pragma("query_only", "on")
        .pragma("cache_size", "-4000")
}

/// Options of the connection that writes.
pub(crate) fn options(settings: &SqliteSettings) -> SqliteConnectOptions {
    let synchronous = match settings.sync {
        SqliteSync::Full => SqliteSynchronous::Full,
        SqliteSync::Normal => SqliteSynchronous::Normal,
    };
    SqliteConnectOptions::new()
        .filename(&settings.path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .busy_timeout(settings.busy_timeout)
        // SQLite scans the whole cache after each transaction that splits a page. A page that is not
        // cached is read from the system's cache.
        .pragma("cache_size", "-2000")
        .pragma("temp_store", "memory")
        .pragma("wal_autocheckpoint", "2000")
        .pragma("journal_size_limit", "67108864")
        .statement_cache_capacity(64)
        .disable_statement_logging()
        // With a larger buffer, a listing of a thousand rows waits less for its consumer.
        .row_buffer_size(256)
        .thread_name(|number| format!("tko-sqlite-{number}"))
}

/// Creates the file so that only its owner may read it, because packages may have secrets. The
/// files next to it get the same permissions.
fn create_private(path: &Path) {
    let mut create = std::fs::OpenOptions::new();
    create.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut create, 0o600);
    // If it cannot be created, opening it reports why; if it exists, this process must not change
    // its permissions.
    let _ = create.open(path);
}

fn check_folder(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if path.is_dir() {
        return Err(Error::bad(
            "backend",
            format!("\"{}\" is a directory; name a file in it", path.display()),
        ));
    }
    if !folder.is_dir() {
        return Err(Error::bad(
            "backend",
            format!(
                "the directory \"{}\" does not exist; create it",
                folder.display()
            ),
        ));
    }
    Ok(())
}

/// Checks that the file belongs to TKO, and migrates it.
async fn prepare(writer: &mut SqliteConnection, path: &Path) -> Result<()> {
    let fault = |error| translate("open the file", path, error);
    if SchemaState::read(writer)
        .await
        .map_err(fault)?
        .is_current()?
    {
        return Ok(());
    }
    writer.execute("BEGIN IMMEDIATE").await.map_err(fault)?;
    // Another process may have migrated it meanwhile.
    let state = SchemaState::read(writer).await.map_err(fault)?;
    match state.is_current() {
        Ok(false) => {
            if !state.is_new() {
                tracing::info!(
                    path = %path.display(),
                    "migrating the file to the schema of this version; a large file takes minutes, \
                     and twice its space meanwhile"
                );
            }
            let migrated = migrate(writer, state).await;
            let finished = finish(writer, migrated.is_ok()).await;
            // After some errors SQLite has rolled back by itself, so the first error is reported.
            migrated.and(finished).map_err(fault)
        }
        other => {
            finish(writer, false).await.map_err(fault)?;
            other.map(drop)
        }
    }
}

async fn finish(writer: &mut SqliteConnection, commit: bool) -> SqlResult<()> {
    let end = if commit { "COMMIT" } else { "ROLLBACK" };
    writer.execute(end).await.map(drop)
}

/// Opens one more connection that reads.
pub(crate) async fn watcher(settings: &SqliteSettings) -> SqlResult<SqliteConnection> {
    reading(&options(settings)).connect().await
}

/// The pause before a failed background statement is tried again.
pub(crate) fn pause_after(error: &sqlx::Error) -> Duration {
    match SqliteFault::of(error) {
        SqliteFault::Unavailable => Duration::from_secs(1),
        SqliteFault::Damaged | SqliteFault::Broken => Duration::from_mins(1),
    }
}

#[cfg(test)]
mod tests {
    use super::connect;
    use crate::settings::{SqliteSettings, SqliteSync};

    /// <https://www.sqlite.org/pragma.html#pragma_synchronous>
    #[tokio::test]
    async fn a_commit_is_synced_unless_the_settings_say_otherwise() {
        let folder = tempfile::tempdir().expect("a folder");
        let full = SqliteSettings::new(folder.path().join("tko.db"));
        let mut normal = full.clone();
        normal.sync = SqliteSync::Normal;
        for (settings, expected) in [(full, 2), (normal, 1)] {
            let (_file, mut writer) = connect(settings).await.expect("the file opens");
            let synchronous = sqlx::query_scalar("PRAGMA synchronous");
            let synchronous: i64 = synchronous.fetch_one(&mut writer).await.expect("a number");
            assert_eq!(synchronous, expected);
        }
    }
}
