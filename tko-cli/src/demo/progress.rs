//! The progress of the demo: bars on a terminal, otherwise a line every few seconds.

use super::fleet::Expected;
use super::observer::FleetTally;
use crate::console::to_stderr;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// The interval of progress lines if there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows the progress of the demo.
pub(super) struct DemoProgress {
    bars: MultiProgress,
    sites: ProgressBar,
    prepared: ProgressBar,
    approved: ProgressBar,
    placed: ProgressBar,
    lines: bool,
    last: Instant,
}

impl DemoProgress {
    pub(super) fn new(expected: &Expected, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bars = MultiProgress::with_draw_target(if terminal && !quiet {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        });
        let style =
            ProgressStyle::with_template("{prefix:>24} {wide_bar:.cyan/blue} {pos:>7} of {len}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = |prefix: &'static str, length: usize| {
            let bar = ProgressBar::new(length as u64).with_style(style.clone());
            bar.set_prefix(prefix);
            bars.add(bar)
        };
        Self {
            sites: bar("sites", expected.sites),
            prepared: bar("deployments prepared", expected.prepared),
            approved: bar("deployments approved", expected.approved),
            placed: bar("deployments placed", expected.placed),
            lines: !terminal && !quiet,
            last: Instant::now(),
            bars,
        }
    }

    pub(super) fn show(&mut self, tally: &FleetTally) {
        self.sites.set_position(tally.sites as u64);
        self.prepared.set_position(tally.prepared as u64);
        self.approved.set_position(tally.approved as u64);
        self.placed.set_position(tally.placed as u64);
        if self.lines && self.last.elapsed() >= LINE_EVERY {
            self.last = Instant::now();
            to_stderr(format_args!(
                "{} sites, {} deployments: {} prepared, {} approved, {} placed",
                tally.sites, tally.deployments, tally.prepared, tally.approved, tally.placed
            ));
        }
    }

    /// Removes the bars from the terminal.
    pub(super) fn clear(&self) {
        // A failure affects only the display.
        let _ = self.bars.clear();
    }
}
