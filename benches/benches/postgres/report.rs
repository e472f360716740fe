//! What was measured, as a table of Markdown.

use super::jobs::PageCost;
use std::time::Duration;

/// Rows of the table, in the order in which they were measured.
pub(crate) struct Report {
    size: usize,
    rows: Vec<[String; 3]>,
}

impl Report {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            size,
            rows: Vec::new(),
        }
    }

    fn row(&mut self, job: &str, measured: String, bar: String) {
        eprintln!("{job}: {measured} {bar}");
        self.rows.push([job.to_owned(), measured, bar]);
    }

    /// So many a second; against a limit, with the least ratio that is wanted.
    pub(crate) fn rate(&mut self, job: &str, rate: f64, bar: Option<(&str, f64, f64)>) {
        let bar = bar.map_or_else(String::new, |(of, limit, least)| {
            format!(
                "{:.2} {of} (≥ {least}{})",
                rate / limit,
                verdict(rate / limit >= least)
            )
        });
        self.row(job, format!("{rate:.0}/s"), bar);
    }

    pub(crate) fn ratio(&mut self, job: &str, ratio: f64, least: f64) {
        let bar = format!("(≥ {least}{})", verdict(ratio >= least));
        self.row(job, format!("{ratio:.2}"), bar);
    }

    pub(crate) fn page(&mut self, page: &PageCost) {
        let measured = format!(
            "{} rows, p50 {:.2} ms",
            page.rows,
            page.p50.as_secs_f64() * 1e3
        );
        let bar = format!(
            "{:.0} buffers (≤ {}{})",
            page.buffers,
            page.bar,
            verdict(page.buffers <= page.bar)
        );
        self.row(page.name, measured, bar);
    }

    /// A median against another, and how many times it may be that.
    pub(crate) fn times(&mut self, job: &str, median: Duration, alone: Duration, most: f64) {
        let ratio = median.as_secs_f64() / alone.as_secs_f64();
        let bar = format!(
            "{ratio:.1} times the backend's (≤ {most}{})",
            verdict(ratio <= most)
        );
        self.row(
            job,
            format!("p50 {:.2} ms", median.as_secs_f64() * 1e3),
            bar,
        );
    }

    /// With so much `more` than the backend alone may take.
    pub(crate) fn lag(&mut self, job: &str, sorted: &[Duration], more: Duration) {
        let at = |percent: usize| sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)];
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (p50, p99, more) = (ms(at(50)), ms(at(99)), ms(more));
        let (most50, most99) = (30.0 + more, 150.0 + more);
        let bar = format!(
            "(p50 ≤ {most50}, p99 ≤ {most99}{})",
            verdict(p50 <= most50 && p99 <= most99)
        );
        self.row(job, format!("p50 {p50:.1} ms, p99 {p99:.1} ms"), bar);
    }

    pub(crate) fn bytes(&mut self, tables: &[(String, f64)]) {
        let total: f64 = tables.iter().map(|(_, bytes)| bytes).sum();
        let parts: Vec<String> = tables
            .iter()
            .map(|(name, b)| format!("{name} {b:.0}"))
            .collect();
        let bar = format!("{} (≤ 1600{})", parts.join(", "), verdict(total <= 1600.0));
        self.row("bytes a deployment", format!("{total:.0}"), bar);
    }

    pub(crate) fn print(&self) {
        println!(
            "{} deployments\n\n| job | measured | against the bar |\n|---|---|---|",
            self.size
        );
        for [job, measured, bar] in &self.rows {
            println!("| {job} | {measured} | {bar} |");
        }
    }
}

fn verdict(holds: bool) -> &'static str {
    if holds { "" } else { ", missed" }
}
