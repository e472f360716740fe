//! The flags that choose the storage backend, and the backend made from them.

use super::metrics::Exporter;
use super::time;
use crate::console::Console;
use crate::output;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tko_backend_memory::Memory;
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{Backend, Error, Ids};

/// The storage backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BackendName {
    /// In memory; data are lost when the process ends
    #[default]
    Memory,
    /// In PostgreSQL
    #[value(name = "postgresql", alias = "postgres")]
    Postgresql,
}

/// How to reach the database
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ConnectionArgs {
    /// Connection URL of the database, such as postgresql://user@host/database. Missing parts come
    /// from PGHOST, PGUSER, PGPASSWORD and similar variables
    #[arg(
        long = "backend-connection",
        value_name = "URL",
        default_value = "postgresql://",
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
    /// Most connections to the database
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
    /// Storage backend
    #[arg(short, long, value_enum, default_value_t)]
    backend: BackendName,
    #[command(flatten)]
    connection: ConnectionArgs,
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
    /// Number of changes to keep for watches and history
    #[arg(long, value_name = "COUNT", default_value_t = HISTORY)]
    history: usize,
}

/// The default number of changes to keep.
const HISTORY: usize = 100_000;

impl ConnectionArgs {
    fn settings(&self) -> PostgresSettings {
        let mut settings = PostgresSettings::new(&self.url);
        settings.connection_timeout = self.timeout;
        settings.connections = self.most;
        // Unique, so that processes can be told apart, also those of several machines.
        let unique = TimeOrderedIds.next();
        settings.application = format!("tko {} {unique}", std::process::id());
        settings
    }
}

/// Connects to the database.
async fn connect(settings: PostgresSettings) -> anyhow::Result<Postgres> {
    Postgres::connect(settings)
        .await
        .context("cannot connect to the backend")
}

impl BackendArgs {
    /// The memory backend with the default settings of the flags.
    pub(crate) fn memory() -> Self {
        Self {
            history: HISTORY,
            ..Self::default()
        }
    }

    /// Opens the backend, and registers its metrics if there is an exporter.
    pub(super) async fn open(
        &self,
        clock: &Arc<SystemClock>,
        exporter: Option<&mut Exporter>,
    ) -> anyhow::Result<Arc<dyn Backend>> {
        match self.backend {
            BackendName::Memory => {
                if !self.replicas.is_empty() {
                    return Err(Error::bad(
                        "--backend-replica",
                        "the memory backend has no replicas; add --backend postgresql, or remove --backend-replica",
                    )
                    .into());
                }
                // The memory backend has no connection, and is empty at the start.
                let settings = tko_backend_memory::MemorySettings {
                    history: self.history,
                };
                let memory = Memory::new(clock.clone(), settings);
                if let Some(exporter) = exporter {
                    exporter.name(memory.name());
                }
                Ok(Arc::new(memory))
            }
            BackendName::Postgresql => {
                let mut settings = self.connection.settings();
                settings.history = u64::try_from(self.history).unwrap_or(u64::MAX);
                settings.replicas.clone_from(&self.replicas);
                let postgres = connect(settings).await?;
                if self.backend_clean {
                    refuse_if_in_use(&postgres).await?;
                    tracing::warn!("deleting everything in the backend, as --backend-clean says");
                    postgres.clear().await.context("cannot clean the backend")?;
                }
                if let Some(exporter) = exporter {
                    exporter.name(postgres.name());
                    postgres.register(exporter.registry());
                }
                Ok(Arc::new(postgres))
            }
        }
    }
}

/// The number of looks for other processes, and the time between them.
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

/// Inspect or repair the storage backend
#[derive(Debug, Subcommand)]
pub(crate) enum BackendCommand {
    /// Check that the data in PostgreSQL are consistent; safe while in use
    Check(CheckArgs),
}

/// The flags of `backend check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Repair what can be repaired without losing data
    #[arg(long)]
    repair: bool,
}

impl BackendCommand {
    /// Prints the findings. Unrepaired findings are an error.
    pub(crate) async fn run(self, console: &mut Console<'_>) -> anyhow::Result<()> {
        let Self::Check(check) = self;
        let postgres = connect(check.connection.settings()).await?;
        let report = postgres.check(check.repair).await?;
        let findings: Vec<_> = report
            .findings
            .iter()
            .map(|finding| {
                json!({
                    "finding": finding.problem.to_string(),
                    "count": finding.count,
                    "repaired": finding.repaired,
                    "examples": finding.examples,
                    "advice": finding.problem.advice(),
                })
            })
            .collect();
        let shown = json!({
            "entities": report.entities,
            "bodies": report.bodies,
            "changes": report.changes,
            "findings": findings,
        });
        output::value(console.format, &shown, console.out)?;
        console.out.flush()?;
        let left = report.left();
        if left > 0 {
            let advice = if check.repair {
                "the rest cannot be repaired; restore it from a backup"
            } else {
                "repair what can be repaired with --repair"
            };
            bail!("the backend is inconsistent: {left} findings; {advice}");
        }
        Ok(())
    }
}
