//! The output of commands: results go to standard output, everything else to standard error.

use crate::output::OutputFormat;
use crate::printable::printable;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::pin::pin;
use std::time::Duration;

/// Shorter operations show no spinner.
const UNNOTICED: Duration = Duration::from_millis(400);

/// The time between two updates of the spinner.
const TICK: Duration = Duration::from_millis(100);

/// Prints a line to standard error. Characters that a terminal may interpret are escaped, except
/// line feeds and tabs: most lines quote text of others. Errors are ignored: nothing is left to
/// report them to, and the exit code still tells what happened.
pub(crate) fn to_stderr(line: std::fmt::Arguments<'_>) {
    let line = line.to_string();
    let _ = writeln!(std::io::stderr(), "{}", printable(&line, &['\n', '\t']));
}

/// The outputs of a command, and the format of its results.
pub(crate) struct Console<'a> {
    pub(crate) format: OutputFormat,
    pub(crate) quiet: bool,
    pub(crate) out: &'a mut dyn Write,
}

impl Console<'_> {
    /// Prints what was done to standard error, unless `--quiet` is given.
    pub(crate) fn done(&self, what: &str) {
        if !self.quiet {
            to_stderr(format_args!("{what}"));
        }
    }

    /// Awaits `work`. If it takes long, and standard error is a terminal, shows a spinner with
    /// `message` and the time that has passed.
    pub(crate) async fn during<T>(
        &self,
        message: impl Fn() -> String,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        if self.quiet || !std::io::stderr().is_terminal() {
            return work.await;
        }
        if let Ok(done) = tokio::time::timeout(UNNOTICED, &mut work).await {
            return done;
        }
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        let spinner = ProgressBar::new_spinner()
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        let done = loop {
            spinner.set_message(message());
            spinner.tick();
            if let Ok(done) = tokio::time::timeout(TICK, &mut work).await {
                break done;
            }
        };
        spinner.finish_and_clear();
        done
    }
}
