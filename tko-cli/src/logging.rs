//! Logging: human-readable, JSON or journald; to standard error or a file.

use crate::printable::printable;
use anyhow::Context;
use clap::Args;
use std::fmt;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::Mutex;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// The flags for logging.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct LogArgs {
    /// Log more: -v debug, -vv trace for TKO, -vvv trace for everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    /// Log only errors and print nothing else, not even results
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log to this file instead of standard error
    #[arg(short, long, global = true, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Format of log lines
    #[arg(long, global = true, value_name = "FORMAT", default_value = "human")]
    log_format: LogFormat,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    Human,
    Json,
}

impl LogArgs {
    /// Starts logging for the life of the process. `level` applies if neither `-v` nor `-q` is
    /// given.
    pub(crate) fn start(&self, level: &str, journald: bool) -> anyhow::Result<()> {
        let filter = match (self.quiet, self.verbose) {
            (true, _) => "error".to_owned(),
            (false, 0) => format!("warn,{}", tko_crates(level)),
            (false, 1) => format!("warn,{}", tko_crates("debug")),
            (false, 2) => format!("info,{}", tko_crates("trace")),
            (false, _) => "trace".to_owned(),
        };
        let filter = EnvFilter::try_new(filter).context("cannot make the log filter")?;
        let layer: Box<dyn Layer<Registry> + Send + Sync> = if journald {
            Box::new(tracing_journald::layer().context(
                "cannot log to journald: it is not running; start it, or remove --journald",
            )?)
        } else {
            self.lines()?
        };
        tracing_subscriber::registry()
            .with(layer.with_filter(filter))
            .try_init()
            .context("logging is already started")
    }

    fn lines(&self) -> anyhow::Result<Box<dyn Layer<Registry> + Send + Sync>> {
        let (writer, colours) = if let Some(path) = &self.log {
            if path.as_os_str().as_encoded_bytes().contains(&b'=') {
                let why = format!(
                    "-l {} names a log file; filter with --metadata KEY=PATTERN, or name the file \
                     ./{0}",
                    path.display()
                );
                if !path.starts_with(".") && !path.is_absolute() {
                    return Err(tko_core::Error::bad("--log", why).into());
                }
            }
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("cannot open the log file {}", path.display()))?;
            (BoxMakeWriter::new(Mutex::new(file)), false)
        } else {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            (BoxMakeWriter::new(std::io::stderr), colours)
        };
        let layer = tracing_subscriber::fmt::layer()
            // It would report a line that cannot be written with `eprintln!`, which panics if
            // standard error is what cannot be written.
            .log_internal_errors(false)
            .with_writer(writer)
            .with_ansi(colours);
        Ok(match self.log_format {
            LogFormat::Human => layer
                .with_target(false)
                .fmt_fields(debug_fn(field).delimited(" "))
                .boxed(),
            LogFormat::Json => layer.json().boxed(),
        })
    }
}

/// Writes a field of a log line. Control characters are escaped: they could forge lines, or reach a
/// terminal.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = format!("{value:?}");
    let value = printable(&value, &[]);
    match field.name() {
        "message" => writer.write_str(&value),
        name => write!(writer, "{name}={value}"),
    }
}

fn tko_crates(level: &str) -> String {
    [
        "tko",
        "tko_core",
        "tko_backend_memory",
        "tko_backend_postgres",
        "tko_validate",
        "tko_plugin",
        "tko_source",
        "tko_preparer",
        "tko_scheduler",
        "tko_worker",
        "tko_serve",
        "tko_grpc",
    ]
    .map(|target| format!("{target}={level}"))
    .join(",")
}
