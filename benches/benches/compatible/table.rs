//! The table of results.

use crate::service::Counters;
use std::fmt;
use std::time::Duration;

/// What a job took: the times of its calls, and the counters of all of them.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    times: Vec<Duration>,
    commits: f64,
    syncs: f64,
    buffers: f64,
}

impl Figures {
    pub(crate) fn of(times: Vec<Duration>, counters: Counters) -> Self {
        Self {
            times,
            commits: counters.commits,
            syncs: counters.syncs,
            buffers: counters.buffers,
        }
    }

    fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.commits += other.commits;
        self.syncs += other.syncs;
        self.buffers += other.buffers;
    }

    /// The median in milliseconds.
    fn p50(&self) -> f64 {
        let mut times = self.times.clone();
        times.sort();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        median.as_secs_f64() * 1_000.0
    }

    /// For each call. Subtracting may leave a little less than nothing.
    fn each(&self, total: f64) -> f64 {
        #[allow(clippy::cast_precision_loss)] // Few.
        let calls = self.times.len().max(1) as f64;
        (total / calls).max(0.0)
    }
}

/// A row: the number of clients, the job, and the figures of each version.
type Row = (usize, String, Vec<(&'static str, Figures)>);

/// All results.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    /// Adds the figures of one round.
    pub(crate) fn add(
        &mut self,
        clients: usize,
        job: &str,
        version: &'static str,
        figures: Figures,
    ) {
        let known = |row: &&mut Row| row.0 == clients && row.1 == job;
        let row = match self.0.iter_mut().find(known) {
            Some(row) => row,
            None => self.0.push_mut((clients, job.to_owned(), Vec::new())),
        };
        match row.2.iter_mut().find(|(name, _)| *name == version) {
            Some((_, total)) => total.add(figures),
            None => row.2.push((version, figures)),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| clients | job | version | p50 ms | commits | WAL syncs | buffers | p50 before ÷ now |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for (clients, job, versions) in &self.0 {
            let first = versions.first().map_or(0.0, |(_, figures)| figures.p50());
            for (version, figures) in versions {
                let ratio = match versions.len() {
                    2 if *version == "now" => format!("{:.2}", first / figures.p50()),
                    _ => String::new(),
                };
                writeln!(
                    f,
                    "| {clients} | {job} | {version} | {:.2} | {:.1} | {:.2} | {:.0} | {ratio} |",
                    figures.p50(),
                    figures.each(figures.commits),
                    figures.each(figures.syncs),
                    figures.each(figures.buffers),
                )?;
            }
        }
        Ok(())
    }
}
