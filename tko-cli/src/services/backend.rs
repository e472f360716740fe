//! Where the data is kept, as flags, and the backend that is there.

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
use tko_backend_postgres::{Postgres, Settings};
use tko_core::system::SystemClock;
use tko_core::{Backend, Error};

/// What keeps the data
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BackendName {
    /// In memory: gone with the process
    #[default]
    Memory,
    /// In PostgreSQL
    #[value(name = "postgresql", alias = "postgres")]
    Postgresql,
}

/// Which database
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ConnectionArgs {
    /// Where the backend is, such as postgresql://user@host/database. What it leaves out comes
    /// from PGHOST, PGUSER, PGPASSWORD and their like
    #[arg(
        long = "backend-connection",
        value_name = "URL",
        default_value = "postgresql://",
        hide_env_values = true
    )]
    url: String,
    /// How long to wait for the backend
    #[arg(
        long = "backend-connection-timeout",
        value_name = "TIME",
        value_parser = time,
        default_value = "30s"
    )]
    timeout: Duration,
    /// Most connections to the backend
    #[arg(
        long = "backend-connections",
        value_name = "COUNT",
        default_value_t = 16
    )]
    most: u32,
}

/// What keeps the data
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct BackendArgs {
    /// What keeps the data
    #[arg(short, long, value_enum, default_value_t)]
    backend: BackendName,
    #[command(flatten)]
    connection: ConnectionArgs,
    /// A streaming standby of the database, as a URL; once for each. Listings with --allow-stale
    /// are read from them in turn
    #[arg(
        long = "backend-replica",
        value_name = "URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    replicas: Vec<String>,
    /// Delete all that the backend holds, first
    #[arg(long)]
    backend_clean: bool,
    /// How many changes are kept to watch from, and as history
    #[arg(long, value_name = "COUNT", default_value_t = HISTORY)]
    history: usize,
}

/// Changes that are kept.
const HISTORY: usize = 100_000;

impl ConnectionArgs {
    fn settings(&self) -> Settings {
        let mut settings = Settings::new(&self.url);
        settings.connection_timeout = self.timeout;
        settings.connections = self.most;
        settings
    }
}

/// The database.
async fn connect(settings: Settings) -> anyhow::Result<Postgres> {
    Postgres::connect(settings)
        .await
        .context("cannot use the backend")
}

impl BackendArgs {
    /// In memory, with what the flags have as defaults.
    pub(crate) fn memory() -> Self {
        Self {
            history: HISTORY,
            ..Self::default()
        }
    }

    /// The backend, whose metrics are exported if somebody does.
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
                        "data in memory have no replicas; say --backend postgresql, or leave it out",
                    )
                    .into());
                }
                // Nothing to connect to, and nothing in it that could be cleaned.
                let settings = tko_backend_memory::Settings {
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

/// What keeps the data
#[derive(Debug, Subcommand)]
pub(crate) enum BackendCommand {
    /// Prove that what PostgreSQL holds is consistent, while it is in use
    Check(CheckArgs),
}

/// What is checked, and whether it is mended.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Mend what can be mended without losing anything
    #[arg(long)]
    repair: bool,
}

impl BackendCommand {
    /// Prints the findings; an error if any is left.
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
                "what is left cannot be mended here: restore it from a backup"
            } else {
                "mend what can be mended with --repair"
            };
            bail!("the backend is not consistent: {left} findings; {advice}");
        }
        Ok(())
    }
}
