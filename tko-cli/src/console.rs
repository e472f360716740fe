//! Where commands print to: results to standard output, what happens to standard error.

use crate::output::OutputFormat;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::pin::pin;
use std::time::Duration;

/// What takes no longer is not worth to be shown.
const UNNOTICED: Duration = Duration::from_millis(400);

/// How often the display moves.
const TICK: Duration = Duration::from_millis(100);

/// Where commands print to, and how.
pub(crate) struct Console<'a> {
    pub(crate) format: OutputFormat,
    pub(crate) quiet: bool,
    pub(crate) out: &'a mut dyn Write,
}

impl Console<'_> {
    /// Says what was done, unless asked to be quiet.
    pub(crate) fn done(&self, what: &str) {
        if !self.quiet {
            eprintln!("{what}");
        }
    }

    /// Works; on a terminal shows at what, and for how long already, if it takes its time.
    pub(crate) async fn during<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if self.quiet || !std::io::stderr().is_terminal() {
            return work.await;
        }
        if let Ok(done) = tokio::time::timeout(UNNOTICED, &mut work).await {
            return done;
        }
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        let bar = ProgressBar::new_spinner()
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
            .with_message(what.to_owned());
        bar.enable_steady_tick(TICK);
        let done = work.await;
        bar.finish_and_clear();
        done
    }
}
