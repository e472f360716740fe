//! The flags that choose the storage backend, and the backend made from them.

use super::data_folder::{DataFolder, data_folder, file_in};
use super::metrics::Exporter;
use super::sqlite_lock::SqliteLock;
use super::time;
use anyhow::Context;
use clap::Args;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tko_backend_memory::Memory;
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_backend_sqlite::{Sqlite, SqliteSettings, SqliteSync};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{Backend, Error, Ids};

/// A storage backend, as `--backend` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BackendChoice {
    /// In memory; data are lost when the process ends.
    Memory,
    /// In a SQLite file; `None` is the one in the folder for data.
    Sqlite(Option<PathBuf>),
    /// In PostgreSQL; `None` is the database of `--backend-connection`.
    Postgresql(Option<String>),
}

impl FromStr for BackendChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "memory" => Ok(Self::Memory),
            "sqlite" => Ok(Self::Sqlite(None)),
            "postgresql" | "postgres" => Ok(Self::Postgresql(None)),
            _ if text.starts_with("postgresql://") || text.starts_with("postgres://") => {
                Ok(Self::Postgresql(Some(text.to_owned())))
            }
            _ => match text.strip_prefix("sqlite:") {
                Some(path) if !path.is_empty() => Ok(Self::Sqlite(Some(path.into()))),
                _ => Err(
                    "expected memory, sqlite, sqlite:PATH, postgresql or postgresql://URL"
                        .to_owned(),
                ),
            },
        }
    }
}

/// When a commit to SQLite survives a loss of power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SyncChoice {
    /// Before it returns
    #[default]
    Full,
    /// Some time later; faster
    Normal,
}

/// Where data are kept
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct LocationArgs {
    /// Storage backend: memory (lost when the process ends), sqlite (a file in the directory of
    /// --data), sqlite:PATH, postgresql (the database of --backend-connection), or postgresql://URL
    /// [default: sqlite]
    #[arg(short, long, value_name = "BACKEND")]
    backend: Option<BackendChoice>,
    /// Directory for data [default: tko in $XDG_DATA_HOME, or in ~/.local/share]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// When a write to SQLite survives a loss of power: full (before it returns) or normal (some
    /// time later, but faster)
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    sync: SyncChoice,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// How to reach the database
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ConnectionArgs {
    /// Connection URL of the database, such as postgresql://user@host/database. Missing parts come
    /// from PGHOST, PGUSER, PGPASSWORD and similar variables
    #[arg(
        long = "backend-connection",
        value_name = "URL",
        default_value = ANY_DATABASE,
        hide_env_values = true
    )]
    url: String,
    /// Longest wait for a connection to the database
    #[arg(
        long = "backend-connection-timeout",
        value_name = "TIME",
        value_parser = time,
        default_value = "30s"
    )]
    timeout: Duration,
    /// Maximum number of connections to the database
    #[arg(
        long = "backend-connections",
        value_name = "COUNT",
        default_value_t = 16
    )]
    most: u32,
}

/// The storage backend and its settings
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct BackendArgs {
    #[command(flatten)]
    location: LocationArgs,
    /// URL of a streaming standby of the database; repeat for each. Listings with --allow-stale are
    /// read from them in turn
    #[arg(
        long = "backend-replica",
        value_name = "URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    replicas: Vec<String>,
    /// Delete everything in the backend before starting
    #[arg(long)]
    backend_clean: bool,
    /// Minimum number of changes to keep for watches and history; SQLite and PostgreSQL also keep
    /// all of the last 15 minutes
    #[arg(long, value_name = "COUNT", default_value_t = HISTORY)]
    history: usize,
}

/// The URL of the database that the environment names.
const ANY_DATABASE: &str = "postgresql://";

/// The default number of changes to keep.
const HISTORY: usize = 100_000;

impl ConnectionArgs {
    /// Whether the user named a database.
    fn is_given(&self) -> bool {
        !matches!(&*self.url, "" | ANY_DATABASE)
    }

    fn settings(&self) -> PostgresSettings {
        let mut settings = PostgresSettings::new(&self.url);
        settings.connection_timeout = self.timeout;
        settings.connections = self.most;
        // Unique, so that processes can be distinguished, even across machines.
        let unique = TimeOrderedIds.next();
        settings.application = format!("tko {} {unique}", std::process::id());
        settings
    }
}

/// Connects to the database.
pub(super) async fn connect(settings: PostgresSettings) -> anyhow::Result<Postgres> {
    Postgres::connect(settings)
        .await
        .context("cannot connect to the backend")
}

impl LocationArgs {
    /// A location with the default settings of the other flags.
    pub(super) fn of(data: Option<PathBuf>, connection: ConnectionArgs) -> Self {
        Self {
            data,
            connection,
            ..Self::default()
        }
    }

    /// The SQLite file to create: the given one, or that in the folder for data, which is locked.
    pub(super) fn locked_file(
        &self,
        path: Option<PathBuf>,
    ) -> anyhow::Result<(PathBuf, Option<DataFolder>)> {
        if let Some(path) = path {
            return Ok((path, None));
        }
        let folder = data_folder(self.data.as_deref())?;
        let folder = DataFolder::open(folder, &SystemClock::new())?;
        Ok((folder.file(), Some(folder)))
    }

    /// The backend to use. Naming a database selects PostgreSQL even without `--backend`.
    pub(super) fn choice(&self) -> BackendChoice {
        match &self.backend {
            Some(choice) => choice.clone(),
            None if self.connection.is_given() => BackendChoice::Postgresql(None),
            None => BackendChoice::Sqlite(None),
        }
    }

    /// The settings of PostgreSQL. All changes are kept unless a server sets how many: only servers
    /// know that.
    pub(super) fn postgres_settings(&self, url: Option<String>) -> PostgresSettings {
        let mut settings = self.connection.settings();
        settings.history = u64::MAX;
        if let Some(url) = url {
            settings.url = url;
        }
        settings
    }

    /// The SQLite file in the folder for data. Does not lock the folder.
    pub(super) fn sqlite_file(&self) -> anyhow::Result<PathBuf> {
        Ok(file_in(&data_folder(self.data.as_deref())?))
    }

    /// As [`postgres_settings`](Self::postgres_settings), for SQLite.
    pub(super) fn sqlite_settings(&self, path: PathBuf) -> SqliteSettings {
        let mut settings = SqliteSettings::new(path);
        settings.history = u64::MAX;
        settings.sync = match self.sync {
            SyncChoice::Full => SqliteSync::Full,
            SyncChoice::Normal => SqliteSync::Normal,
        };
        settings
    }
}

/// An open backend, with its locks.
pub(super) struct OpenBackend {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) folder: Option<DataFolder>,
    pub(super) file: Option<SqliteLock>,
}

impl BackendArgs {
    /// The memory backend with the default settings of the flags.
    pub(crate) fn memory() -> Self {
        Self {
            location: LocationArgs {
                backend: Some(BackendChoice::Memory),
                ..LocationArgs::default()
            },
            history: HISTORY,
            ..Self::default()
        }
    }

    /// Opens the backend, and registers its metrics if there is an exporter.
    pub(super) async fn open(
        &self,
        clock: &Arc<SystemClock>,
        exporter: Option<&mut Exporter>,
    ) -> anyhow::Result<OpenBackend> {
        let choice = self.location.choice();
        if !self.replicas.is_empty() && !matches!(choice, BackendChoice::Postgresql(_)) {
            return Err(Error::bad(
                "--backend-replica",
                "only PostgreSQL has replicas; add --backend postgresql, or remove --backend-replica",
            )
            .into());
        }
        let (mut folder, mut file) = (None, None);
        let backend: Arc<dyn Backend> = match choice {
            BackendChoice::Memory => {
                // The memory backend has no connection, and is empty at the start.
                let settings = tko_backend_memory::MemorySettings {
                    history: self.history,
                };
                let memory = Memory::new(clock.clone(), settings);
                if let Some(exporter) = exporter {
                    exporter.name(Some(memory.name()));
                }
                Arc::new(memory)
            }
            BackendChoice::Sqlite(path) => {
                let path = if let Some(path) = path {
                    path
                } else {
                    let path = data_folder(self.location.data.as_deref())?;
                    let opened = DataFolder::open(path, &**clock)?;
                    folder.insert(opened).file()
                };
                let mut settings = self.location.sqlite_settings(path.clone());
                settings.history = u64::try_from(self.history).unwrap_or(u64::MAX);
                let sqlite = Sqlite::open(clock.clone(), settings).await;
                let sqlite = sqlite.context("cannot open the backend")?;
                let lock = file.insert(SqliteLock::of(&path)?);
                if self.backend_clean {
                    lock.exclude()?;
                    tracing::warn!("{CLEANING}");
                    sqlite.clear().await.context("cannot clean the backend")?;
                    lock.release()?;
                }
                lock.share()?;
                if let Some(exporter) = exporter {
                    exporter.name(Some(sqlite.name()));
                }
                tracing::info!(file = %path.display(), "keeping the data in SQLite");
                Arc::new(sqlite)
            }
            BackendChoice::Postgresql(url) => {
                let mut settings = self.location.postgres_settings(url);
                settings.history = u64::try_from(self.history).unwrap_or(u64::MAX);
                settings.replicas.clone_from(&self.replicas);
                let postgres = connect(settings).await?;
                if self.backend_clean {
                    refuse_if_in_use(&postgres).await?;
                    tracing::warn!("{CLEANING}");
                    postgres.clear().await.context("cannot clean the backend")?;
                }
                if let Some(exporter) = exporter {
                    exporter.name(Some(postgres.name()));
                    postgres.register(exporter.registry());
                }
                Arc::new(postgres)
            }
        };
        Ok(OpenBackend {
            backend,
            folder,
            file,
        })
    }
}

/// The warning in the log before everything is deleted.
const CLEANING: &str = "deleting everything in the backend, as --backend-clean says";

/// The number of checks for other processes, and the time between them.
const LOOKS: u32 = 10;
const LOOK: Duration = Duration::from_millis(200);

/// Refuses to clean a database that other processes serve.
async fn refuse_if_in_use(postgres: &Postgres) -> anyhow::Result<()> {
    let mut others = postgres.other_processes().await?;
    // The sessions of a process that has just ended remain for a moment.
    for _ in 0..LOOKS {
        if others.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
        others = postgres.other_processes().await?;
    }
    let why = format!(
        "{} other processes use this database ({}), and would lose their data; stop them first, or \
         start without --backend-clean and TKO_BACKEND_CLEAN",
        others.len(),
        others.join(", ")
    );
    Err(Error::bad("--backend-clean", why).into())
}

#[cfg(test)]
mod tests {
    use super::LocationArgs;
    use clap::Parser;
    use tko_backend_sqlite::SqliteSync;

    #[derive(Parser)]
    struct LocationCommand {
        #[command(flatten)]
        location: LocationArgs,
    }

    #[test]
    fn sqlite_syncs_every_commit_unless_a_flag_says_otherwise() {
        for (flags, expected) in [
            (&["tko"][..], SqliteSync::Full),
            (&["tko", "--sync", "full"], SqliteSync::Full),
            (&["tko", "--sync", "normal"], SqliteSync::Normal),
        ] {
            let parsed = LocationCommand::try_parse_from(flags).expect("flags");
            let settings = parsed.location.sqlite_settings("tko.db".into());
            assert_eq!(settings.sync, expected, "{flags:?}");
        }
    }

    /// A check or backup next to a server that keeps more than the default would otherwise delete
    /// the rest.
    #[test]
    fn commands_delete_no_old_changes() {
        let location = LocationArgs::default();
        assert_eq!(location.sqlite_settings("tko.db".into()).history, u64::MAX);
        assert_eq!(location.postgres_settings(None).history, u64::MAX);
    }
}
