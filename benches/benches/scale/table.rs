//! The rates of all jobs as one table.

use crate::jobs::Job;
use std::collections::BTreeMap;
use std::fmt;

/// Rates by job, backend and size.
pub(crate) struct Table {
    sizes: Vec<usize>,
    rates: BTreeMap<Job, BTreeMap<(&'static str, usize), f64>>,
    /// Bytes of a deployment in SQLite, by size.
    bytes: BTreeMap<usize, u64>,
}

/// A figure and its bar.
pub(crate) struct Bar {
    name: String,
    found: f64,
    /// Whether the figure has to be at least the limit, or at most.
    at_least: bool,
    /// `None` for a figure without a bar.
    limit: Option<f64>,
}

impl Bar {
    pub(crate) fn is_met(&self) -> bool {
        self.limit.is_none_or(|limit| {
            if self.at_least {
                self.found >= limit
            } else {
                self.found <= limit
            }
        })
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.at_least { "≥" } else { "≤" };
        let verdict = if self.is_met() { "" } else { ": missed" };
        let Self {
            name, found, limit, ..
        } = self;
        let Some(limit) = limit else {
            return write!(f, "* {name}: {found:.2}");
        };
        write!(f, "* {name}: {found:.2} (bar {sign} {limit}){verdict}")
    }
}

impl Table {
    /// An empty table; sizes ascend.
    pub(crate) fn new(sizes: &[usize]) -> Self {
        let sizes = sizes.to_vec();
        Self {
            sizes,
            rates: BTreeMap::new(),
            bytes: BTreeMap::new(),
        }
    }

    /// Adds the bytes of a deployment in SQLite.
    pub(crate) fn bytes(&mut self, size: usize, bytes: u64) {
        self.bytes.insert(size, bytes);
    }

    /// What is asked of SQLite, as far as it was measured.
    pub(crate) fn bars(&self) -> Vec<Bar> {
        let mut bars = Vec::new();
        for (job, rates) in &self.rates {
            let at = |backend: &'static str, size| rates.get(&(backend, size)).copied();
            for size in &self.sizes {
                if let Some((with, without)) = at("SQLite", *size).zip(at("SQLite alone", *size)) {
                    let limit = (*job == Job::CreateAlone).then_some(0.5);
                    bars.push(Bar {
                        name: format!("{}, at {size}, as a share of SQLite alone", job.name()),
                        found: with / without,
                        at_least: true,
                        limit,
                    });
                }
            }
            let ends = self.sizes.first().zip(self.sizes.last());
            let ends = ends.filter(|(small, large)| small < large);
            let growth = |backend| {
                let (small, large) = ends?;
                Some(at(backend, *small)? / at(backend, *large)?)
            };
            if let Some((found, alone)) = growth("SQLite").zip(growth("SQLite alone")) {
                let name = job.name();
                bars.push(Bar {
                    name: format!("{name}, growth of the cost (SQLite alone: {alone:.2})"),
                    found,
                    at_least: false,
                    limit: Some(1.5),
                });
            }
        }
        for (size, bytes) in &self.bytes {
            #[allow(clippy::cast_precision_loss)] // Far below 2^52.
            let kilobytes = *bytes as f64 / 1_000.0;
            bars.push(Bar {
                name: format!("KB a deployment, at {size}"),
                found: kilobytes,
                at_least: false,
                limit: Some(2.0),
            });
        }
        bars
    }

    /// Adds a rate a second.
    pub(crate) fn add(&mut self, job: Job, backend: &'static str, size: usize, rate: f64) {
        self.rates
            .entry(job)
            .or_default()
            .insert((backend, size), rate);
    }

    /// The backends that were measured, in the order of the table.
    fn backends(&self) -> Vec<&'static str> {
        let has = |name: &&str| {
            let mut keys = self.rates.values().flat_map(BTreeMap::keys);
            keys.any(|(backend, _)| backend == name)
        };
        ["memory", "SQLite", "SQLite alone", "PostgreSQL"]
            .into_iter()
            .filter(has)
            .collect()
    }
}

/// A rate with about three digits.
fn rate(rate: f64) -> String {
    let whole = format!("{rate:.0}");
    let from_end = |index: usize| whole.len() - index;
    let digit = |(index, digit): (usize, char)| {
        let separator = index > 0 && from_end(index).is_multiple_of(3);
        let separator = separator.then_some(',');
        separator.into_iter().chain([digit])
    };
    whole.chars().enumerate().flat_map(digit).collect()
}

/// In Markdown. The ratio is that of the largest size to the smallest: 1 means that size costs
/// nothing.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![vec!["job".to_owned()]];
        for backend in self.backends() {
            rows[0].extend(self.sizes.iter().map(|size| format!("{backend} at {size}")));
            rows[0].push("ratio".to_owned());
        }
        for (job, rates) in &self.rates {
            let mut row = vec![job.name().to_owned()];
            for backend in self.backends() {
                let at = |size: &usize| rates.get(&(backend, *size)).copied();
                let cell = |size| at(size).map(rate).unwrap_or_default();
                row.extend(self.sizes.iter().map(cell));
                let ends = self
                    .sizes
                    .first()
                    .and_then(at)
                    .zip(self.sizes.last().and_then(at));
                let ratio = ends.map(|(small, large)| format!("{:.2}", large / small));
                row.push(ratio.unwrap_or_default());
            }
            rows.push(row);
        }
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        for (index, row) in rows.iter().enumerate() {
            for (column, cell) in row.iter().enumerate() {
                let width = width(column);
                if column == 0 {
                    write!(f, "| {cell:width$} |")?;
                } else {
                    write!(f, " {cell:>width$} |")?;
                }
            }
            writeln!(f)?;
            if index == 0 {
                let rule = |column: usize| format!("{:-<1$}:|", "", width(column) + 1);
                let rules: String = (1..row.len()).map(rule).collect();
                writeln!(f, "|{:-<1$}|{rules}", "", width(0) + 2)?;
            }
        }
        Ok(())
    }
}
