//! The commands that inspect or repair the storage backend.

use super::backend::{BackendChoice, LocationArgs, connect};
use crate::console::Console;
use crate::output;
use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use tko_backend_sqlite::Sqlite;
use tko_core::Error;
use tko_core::system::SystemClock;

/// Inspect or repair the storage backend
#[derive(Debug, Subcommand)]
pub(crate) enum BackendCommand {
    /// Check that the stored data are consistent; safe while in use
    Check(CheckArgs),
}

/// The flags of `backend check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    location: LocationArgs,
    /// Repair what can be repaired without losing data
    #[arg(long)]
    repair: bool,
}

impl BackendCommand {
    pub(crate) async fn run(self, console: &mut Console<'_>) -> anyhow::Result<()> {
        match self {
            Self::Check(check) => check.run(console).await,
        }
    }
}

/// The findings of a check.
struct CheckOutcome {
    shown: Value,
    left: u64,
}

impl CheckArgs {
    /// Prints the findings. Unrepaired findings are an error.
    async fn run(self, console: &mut Console<'_>) -> anyhow::Result<()> {
        let outcome = match self.location.choice() {
            BackendChoice::Memory => return Err(nothing_kept().into()),
            BackendChoice::Sqlite(path) => self.sqlite(path).await?,
            BackendChoice::Postgresql(url) => self.postgres(url).await?,
        };
        output::value(console.format, &outcome.shown, console.out)?;
        console.out.flush()?;
        let left = outcome.left;
        if left > 0 {
            let advice = if self.repair {
                "the rest cannot be repaired; restore it from a backup"
            } else {
                "repair what can be repaired with --repair"
            };
            bail!("the backend is inconsistent: {left} findings; {advice}");
        }
        Ok(())
    }

    async fn postgres(&self, url: Option<String>) -> anyhow::Result<CheckOutcome> {
        let postgres = connect(self.location.postgres_settings(url)).await?;
        let report = postgres.check(self.repair).await?;
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
        Ok(CheckOutcome {
            shown: json!({
                "entities": report.entities,
                "bodies": report.bodies,
                "changes": report.changes,
                "findings": findings,
            }),
            left: report.left(),
        })
    }

    async fn sqlite(&self, path: Option<PathBuf>) -> anyhow::Result<CheckOutcome> {
        let sqlite = open_sqlite(&self.location, path, false).await?;
        let report = sqlite.check(self.repair).await?;
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
        Ok(CheckOutcome {
            shown: json!({
                "entities": report.entities,
                "bodies": report.bodies,
                "changes": report.changes,
                "findings": findings,
            }),
            left: report.left(),
        })
    }
}

/// Opens a SQLite file, which must exist unless `create`.
async fn open_sqlite(
    location: &LocationArgs,
    path: Option<PathBuf>,
    create: bool,
) -> anyhow::Result<Sqlite> {
    let path = match path {
        Some(path) => path,
        None => location.sqlite_file()?,
    };
    if !create && !path.exists() {
        return Err(Error::bad(
            "--backend",
            format!("the file {path:?} does not exist; name another one with --backend sqlite:PATH or --data"),
        )
        .into());
    }
    let clock = Arc::new(SystemClock::new());
    Ok(Sqlite::open(clock, location.sqlite_settings(path)).await?)
}

fn nothing_kept() -> Error {
    Error::bad(
        "--backend",
        "data in memory are gone with their process; name a sqlite or postgresql backend",
    )
}
