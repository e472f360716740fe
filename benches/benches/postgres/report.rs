//! The report: a Markdown table and JSON.

use super::memory::Grown;
use super::pages::PageCost;
use serde_json::{Value, json};
use std::time::Duration;
use tko_benches::speed::Speed;

/// What a figure is compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bar {
    of: &'static str,
    limit: f64,
    bound: Bound,
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    Least(f64),
    Most(f64),
}

impl Bar {
    /// The figure must be at least `ratio` times this limit.
    pub(crate) fn least(of: &'static str, limit: f64, ratio: f64) -> Self {
        let bound = Bound::Least(ratio);
        Self { of, limit, bound }
    }

    /// The figure must be at most `ratio` times this limit.
    pub(crate) fn most(of: &'static str, limit: f64, ratio: f64) -> Self {
        let bound = Bound::Most(ratio);
        Self { of, limit, bound }
    }
}

/// A row of the report.
#[derive(Debug)]
struct Row {
    size: usize,
    job: String,
    value: f64,
    unit: &'static str,
    times: Option<(Duration, Duration)>,
    bar: Option<Bar>,
    note: String,
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.bar.map(|bar| self.value / bar.limit)
    }

    fn holds(&self) -> Option<bool> {
        let ratio = self.ratio()?;
        Some(match self.bar?.bound {
            Bound::Least(least) => ratio >= least,
            Bound::Most(most) => ratio <= most,
        })
    }

    fn measured(&self) -> String {
        let value = match self.value {
            value if value >= 100.0 => format!("{value:.0}"),
            value if value >= 10.0 => format!("{value:.1}"),
            value => format!("{value:.2}"),
        };
        let unit = self.unit;
        match self.times.map(|(p50, p99)| (ms(p50), ms(p99))) {
            Some((p50, p99)) => format!("{value}{unit}, p50 {p50:.1} ms, p99 {p99:.1} ms"),
            None => format!("{value}{unit}"),
        }
    }

    fn against(&self) -> String {
        let Some((bar, ratio)) = self.bar.zip(self.ratio()) else {
            return self.note.clone();
        };
        let ratio = if bar.of.is_empty() {
            String::new()
        } else {
            format!("{ratio:.2} {} ", bar.of)
        };
        let bound = match bar.bound {
            Bound::Least(least) => format!("≥ {least:.2}"),
            Bound::Most(most) if bar.of.is_empty() => format!("≤ {most:.0}"),
            Bound::Most(most) => format!("≤ {most:.2}"),
        };
        let verdict = if self.holds() == Some(true) {
            ""
        } else {
            ", **missed**"
        };
        let held = format!("{ratio}({bound}{verdict})");
        if self.note.is_empty() {
            held
        } else {
            format!("{}; {held}", self.note)
        }
    }

    fn json(&self) -> Value {
        let mut value = json!({
            "deployments": self.size, "job": self.job, "value": self.value,
            "unit": self.unit.trim(),
        });
        if let Some((p50, p99)) = self.times {
            value["p50_ms"] = json!(ms(p50));
            value["p99_ms"] = json!(ms(p99));
        }
        if let (Some(bar), Some(ratio)) = (self.bar, self.ratio()) {
            let (bound, number) = match bar.bound {
                Bound::Least(least) => ("at_least", least),
                Bound::Most(most) => ("at_most", most),
            };
            value["ratio"] = json!({"of": bar.of, "is": ratio, bound: number});
            value["holds"] = json!(self.holds());
        }
        if !self.note.is_empty() {
            value["note"] = json!(self.note);
        }
        value
    }
}

/// How far a fleet was at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) at: Duration,
    pub(crate) prepared: usize,
    pub(crate) placed: usize,
}

/// All figures, in the order in which they were measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    size: usize,
    rows: Vec<Row>,
    fleets: Vec<(usize, Vec<Moment>)>,
}

impl Report {
    /// Begins a size: the figures that follow are for this many deployments.
    pub(crate) fn begin(&mut self, size: usize) {
        eprintln!("# {size} deployments");
        self.size = size;
    }

    fn row(&mut self, job: &str, value: f64, unit: &'static str) -> &mut Row {
        self.rows.push(Row {
            size: self.size,
            job: job.to_owned(),
            value,
            unit,
            times: None,
            bar: None,
            note: String::new(),
        });
        self.rows.last_mut().expect("it was just pushed")
    }

    /// Adds a rate a second.
    pub(crate) fn speed(&mut self, job: &str, speed: &Speed, bar: Option<Bar>) {
        let row = self.row(job, speed.rate(), "/s");
        row.times = speed.times();
        row.bar = bar;
        self.say();
    }

    /// Compares the last figure of this job with its first, if that was of another size.
    pub(crate) fn growth(&mut self, job: &str, least: f64) {
        let of = |row: &&Row| row.job == job;
        let first = self.rows.iter().find(of).map(|row| (row.size, row.value));
        let (Some((size, first)), Some(last)) = (first, self.rows.iter().rfind(of)) else {
            return;
        };
        if last.size == size {
            return;
        }
        let ratio = last.value / first;
        let row = self.row(&format!("{job}, against {size} there"), ratio, "");
        row.bar = Some(Bar::least("", 1.0, least));
        self.say();
    }

    pub(crate) fn number(&mut self, job: &str, value: f64, bar: Option<Bar>) {
        self.row(job, value, "").bar = bar;
        self.say();
    }

    pub(crate) fn page(&mut self, page: &PageCost) {
        let row = self.row(page.name, page.buffers, " buffers");
        row.bar = Some(Bar::most("", 1.0, page.bar));
        row.note = format!("{} rows, p50 {:.2} ms", page.rows, ms(page.p50));
        self.say();
    }

    /// Adds a median, which may be at most `most` times `alone`.
    pub(crate) fn times(&mut self, job: &str, median: Duration, alone: Duration, most: f64) {
        self.row(job, ms(median), " ms").bar = Some(Bar::most("of the backend's", ms(alone), most));
        self.say();
    }

    /// Adds delays, which may be longer than those of the backend alone by `more`.
    pub(crate) fn lag(&mut self, job: &str, sorted: &[Duration], more: Duration) {
        let at = |percent: usize| sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)];
        for (name, percent, most) in [("p50", 50, 30.0), ("p99", 99, 150.0)] {
            let row = self.row(&format!("{job}, {name}"), ms(at(percent)), " ms");
            row.bar = Some(Bar::most("", 1.0, most + ms(more)));
            self.say();
        }
    }

    pub(crate) fn memory(&mut self, job: &str, grown: &Grown) {
        for (who, grown) in [("client", grown.client), ("server", grown.server)] {
            let row = self.row(&format!("{job}, {who}"), grown, " MiB more");
            row.bar = Some(Bar::most("", 1.0, 64.0));
            self.say();
        }
    }

    pub(crate) fn bytes(&mut self, tables: &[(String, f64)]) {
        let total: f64 = tables.iter().map(|(_, bytes)| bytes).sum();
        let parts = tables.iter().map(|(name, b)| format!("{name} {b:.0}"));
        let parts: Vec<String> = parts.collect();
        let row = self.row("bytes a deployment", total, "");
        row.bar = Some(Bar::most("", 1.0, 1_600.0));
        row.note = parts.join(", ");
        self.say();
    }

    /// Adds the progress of a fleet of this size.
    pub(crate) fn moments(&mut self, moments: Vec<Moment>) {
        self.fleets.push((self.size, moments));
    }

    fn say(&self) {
        if let Some(row) = self.rows.last() {
            eprintln!("{}: {} {}", row.job, row.measured(), row.against());
        }
    }

    pub(crate) fn print(&self) {
        let mut size = 0;
        for row in &self.rows {
            if row.size != size {
                size = row.size;
                println!(
                    "\n{size} deployments\n\n| job | measured | against the bar |\n|---|---|---|"
                );
            }
            println!("| {} | {} | {} |", row.job, row.measured(), row.against());
        }
    }

    pub(crate) fn json(&self) -> Value {
        let moment = |m: &Moment| json!([m.at.as_secs_f64(), m.prepared, m.placed]);
        let fleet = |(size, moments): &(usize, Vec<Moment>)| {
            let moments: Vec<Value> = moments.iter().map(moment).collect();
            json!({"deployments": size, "seconds_prepared_placed": moments})
        };
        json!({
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "figures": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "fleets": self.fleets.iter().map(fleet).collect::<Vec<_>>(),
        })
    }

    /// For each job that was measured at several sizes: its name, and the value at each size.
    pub(crate) fn curves(&self, unit: &str) -> Vec<(&str, Vec<(f64, f64)>)> {
        let mut curves: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
        for row in self.rows.iter().filter(|row| row.unit == unit) {
            #[allow(clippy::cast_precision_loss)] // Far below 2^52.
            let point = (row.size as f64, row.value);
            match curves.iter_mut().find(|(job, _)| *job == row.job) {
                Some((_, points)) => points.push(point),
                None => curves.push((&row.job, vec![point])),
            }
        }
        curves.retain(|(_, points)| points.len() > 1);
        curves
    }

    pub(crate) fn fleets(&self) -> &[(usize, Vec<Moment>)] {
        &self.fleets
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
