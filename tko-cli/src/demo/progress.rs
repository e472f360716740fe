//! How far the demo is: bars on a terminal, now and then a line elsewhere.

use super::fleet::Expected;
use super::observer::Tally;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Without a terminal: a line so often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how far it is.
pub(super) struct Progress {
    bars: MultiProgress,
    sites: ProgressBar,
    prepared: ProgressBar,
    approved: ProgressBar,
    placed: ProgressBar,
    lines: bool,
    last: Instant,
}

impl Progress {
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
            placed: bar("deployments on sites", expected.placed),
            lines: !terminal && !quiet,
            last: Instant::now(),
            bars,
        }
    }

    pub(super) fn show(&mut self, tally: &Tally) {
        self.sites.set_position(tally.sites as u64);
        self.prepared.set_position(tally.prepared as u64);
        self.approved.set_position(tally.approved as u64);
        self.placed.set_position(tally.placed as u64);
        if self.lines && self.last.elapsed() >= LINE_EVERY {
            self.last = Instant::now();
            eprintln!(
                "{} sites, {} deployments: {} prepared, {} approved, {} on their sites",
                tally.sites, tally.deployments, tally.prepared, tally.approved, tally.placed
            );
        }
    }

    /// Takes the bars away.
    pub(super) fn clear(&self) {
        // Only the display: nothing to be done about a terminal that is gone.
        let _ = self.bars.clear();
    }
}
