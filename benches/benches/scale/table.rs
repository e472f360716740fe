//! The rates of all jobs as one table.

use crate::jobs::Job;
use std::collections::BTreeMap;
use std::fmt;

/// Rates by job, backend and size.
pub(crate) struct Table {
    sizes: Vec<usize>,
    rates: BTreeMap<Job, BTreeMap<(&'static str, usize), f64>>,
}

impl Table {
    /// An empty table; sizes ascend.
    pub(crate) fn new(sizes: &[usize]) -> Self {
        let sizes = sizes.to_vec();
        let rates = BTreeMap::new();
        Self { sizes, rates }
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
