//! Logs: for people, as JSON, or to journald; to standard error or a file.

use anyhow::Context;
use clap::Args;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::Mutex;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// What is logged, and where to.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct LogArgs {
    /// Log more: -v debug, -vv everything of TKO, -vvv everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    /// Log and show nothing but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log into this file instead of standard error
    #[arg(short, long, global = true, value_name = "FILE")]
    log: Option<PathBuf>,
    /// How log lines look: for people, or JSON
    #[arg(long, global = true, value_name = "FORM", default_value = "human")]
    log_format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    Human,
    Json,
}

impl LogArgs {
    /// Starts logging, for the life of the process. `level` is that of neither -v nor -q.
    pub(crate) fn start(&self, level: &str, journald: bool) -> anyhow::Result<()> {
        let filter = match (self.quiet, self.verbose) {
            (true, _) => "error".to_owned(),
            (false, 0) => format!("warn,{}", of_tko(level)),
            (false, 1) => format!("warn,{}", of_tko("debug")),
            (false, 2) => format!("info,{}", of_tko("trace")),
            (false, _) => "trace".to_owned(),
        };
        let filter = EnvFilter::try_new(filter).context("the log filter")?;
        let layer: Box<dyn Layer<Registry> + Send + Sync> =
            if journald {
                Box::new(tracing_journald::layer().context(
                    "cannot log to journald: it does not run here; leave out --journald",
                )?)
            } else {
                self.lines()?
            };
        tracing_subscriber::registry()
            .with(layer.with_filter(filter))
            .try_init()
            .context("something else logs already")
    }

    fn lines(&self) -> anyhow::Result<Box<dyn Layer<Registry> + Send + Sync>> {
        let (writer, colours) = if let Some(path) = &self.log {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("cannot log into {}", path.display()))?;
            (BoxMakeWriter::new(Mutex::new(file)), false)
        } else {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            (BoxMakeWriter::new(std::io::stderr), colours)
        };
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(writer)
            .with_ansi(colours);
        Ok(match self.log_format {
            LogFormat::Human => layer.with_target(false).boxed(),
            LogFormat::Json => layer.json().boxed(),
        })
    }
}

fn of_tko(level: &str) -> String {
    [
        "tko",
        "tko_core",
        "tko_backend_memory",
        "tko_validate",
        "tko_plugin",
        "tko_preparer",
        "tko_scheduler",
        "tko_grpc",
    ]
    .map(|target| format!("{target}={level}"))
    .join(",")
}
