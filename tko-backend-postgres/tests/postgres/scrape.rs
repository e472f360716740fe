//! The metrics of a backend.

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use std::collections::BTreeSet;
use std::time::Duration;
use tko_backend_postgres::Postgres;

/// The source of all purposes.
const PURPOSES: &str = include_str!("../../src/metrics/purpose.rs");

const COUNT: &str = "tko_postgres_statement_seconds_count";
const BUCKET: &str = "tko_postgres_statement_seconds_bucket";
const FAILED: &str = "tko_postgres_failed_statements_total";

/// The labels of failures.
const FAILURES: [&str; 5] = ["retry", "taken", "unavailable", "broken", "given_up"];

/// The labels of all purposes.
pub(crate) fn known() -> BTreeSet<String> {
    let table = PURPOSES
        .lines()
        .skip_while(|line| *line != "purposes! {")
        .take_while(|line| *line != "}");
    table
        .filter_map(|line| Some(line.split('"').nth(1)?.to_owned()))
        .collect()
}

/// Waits until a condition holds, with a time limit.
pub(crate) async fn until(is: impl Fn() -> bool, now: impl Fn() -> String) {
    let wait = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(Duration::from_mins(1), wait)
        .await
        .is_err()
    {
        panic!("it is not so: {}", now());
    }
}

/// The metrics of one backend.
pub(crate) struct Scrape(Registry);

impl Scrape {
    pub(crate) fn of(postgres: &Postgres) -> Self {
        let mut registry = Registry::default();
        postgres.register(&mut registry);
        Self(registry)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0).expect("into memory");
        text
    }

    /// The value of the sample with this name and these labels.
    pub(crate) fn value(&self, sample: &str) -> Option<f64> {
        let text = self.text();
        text.lines().find_map(|line| {
            let value = line.strip_prefix(sample)?.strip_prefix(' ')?;
            Some(value.parse().expect("a number"))
        })
    }

    /// The number of statements with this purpose.
    pub(crate) fn count(&self, statement: &str) -> Option<u64> {
        let sample = format!("{COUNT}{{statement=\"{statement}\"}} ");
        let text = self.text();
        let count = text.lines().find_map(|line| line.strip_prefix(&sample))?;
        Some(count.parse().expect("a number"))
    }

    /// The number of failures, by label.
    pub(crate) fn failures(&self, statement: &str) -> [u64; 5] {
        let text = self.text();
        FAILURES.map(|failure| {
            let sample = format!("{FAILED}{{statement=\"{statement}\",failure=\"{failure}\"}} ");
            let count = text.lines().find_map(|line| line.strip_prefix(&sample));
            let count = count.unwrap_or_else(|| panic!("no {sample}in {text}"));
            count.parse().expect("a number")
        })
    }

    /// The purposes of statements that were sent.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        names(&self.text())
    }

    /// Buckets rise up to the count, and statements took some time.
    pub(crate) fn is_sound(&self) {
        let text = self.text();
        assert!(text.ends_with("# EOF\n"), "{text}");
        for name in names(&text) {
            let buckets: Vec<u64> = text
                .lines()
                .filter_map(|line| {
                    let labels = line.strip_prefix(BUCKET)?;
                    let value = labels.rsplit_once(' ').expect("a value").1;
                    let is_its = labels.contains(&format!("statement=\"{name}\""));
                    is_its.then(|| value.parse().expect("a number"))
                })
                .collect();
            let sample = format!("{COUNT}{{statement=\"{name}\"}} ");
            let count = text.lines().find_map(|line| line.strip_prefix(&sample));
            let count: u64 = count.expect("a count").parse().expect("a number");
            assert_eq!(buckets.len(), 18, "{name}");
            assert!(buckets.is_sorted(), "{name}: {buckets:?}");
            assert!(count > 0 && buckets.last() == Some(&count), "{name}");
        }
    }
}

/// The purposes of statements that were sent, in one text of metrics.
fn names(text: &str) -> BTreeSet<String> {
    let counted = text.lines().filter(|line| line.starts_with(COUNT));
    counted
        .map(|line| line.split('"').nth(1).expect("a label").to_owned())
        .collect()
}
