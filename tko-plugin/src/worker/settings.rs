//! Settings of worker pools, and the properties of plugins that change them.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::thread;
use std::time::Duration;
use tko_core::{Error, Result};

/// Settings of the pool of one plugin.
///
/// A plugin changes them by properties whose names start with `_worker.`; see
/// [`with_properties`](Self::with_properties).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerPoolSettings {
    /// Maximum number of processes. They start when calls need them. Default: one per core, at
    /// least two, so that one hanging call does not block the others.
    pub size: NonZeroUsize,
    /// Maximum number of calls in flight in one process; a worker may accept fewer. Default: 16.
    pub in_flight: NonZeroUsize,
    /// Number of calls after which a process is replaced. Default: 10,000.
    pub calls: u64,
    /// Resident memory in MiB above which a process is replaced after a call. Needs `/proc`; without
    /// it, memory is not limited. Default: 512.
    pub memory: u64,
    /// Time limit from the start of a process to its hello. Default: 30 s.
    pub start: Duration,
    /// Interval of health checks of an idle process, and the time that it has to answer one.
    /// Default: 10 s.
    pub health: Duration,
    /// Time without calls after which a process is stopped. Default: 10 min.
    pub idle: Duration,
}

impl Default for WorkerPoolSettings {
    fn default() -> Self {
        let least = NonZeroUsize::MIN.saturating_add(1);
        let cores = thread::available_parallelism().unwrap_or(least);
        Self {
            size: cores.max(least),
            in_flight: NonZeroUsize::MIN.saturating_add(15),
            calls: 10_000,
            memory: 512,
            start: Duration::from_secs(30),
            health: Duration::from_secs(10),
            idle: Duration::from_mins(10),
        }
    }
}

/// The properties that plugins may set, with their ranges.
const PROPERTIES: &str =
    "_worker.size (1 to 64), _worker.in-flight (1 to 1024), _worker.calls and _worker.memory (MiB)";

impl WorkerPoolSettings {
    /// Applies the properties of a plugin to the settings.
    ///
    /// `_worker.size` and `_worker.in-flight` are [`size`](Self::size), 1 to 64, and
    /// [`in_flight`](Self::in_flight), 1 to 1024. `_worker.calls` and `_worker.memory` are
    /// [`calls`](Self::calls) and [`memory`](Self::memory), at least 1.
    ///
    /// # Errors
    /// `BadArgument`: an unknown property that begins with `_`, or a value out of range.
    pub fn with_properties(mut self, properties: &BTreeMap<String, String>) -> Result<Self> {
        for (name, value) in properties.iter().filter(|(name, _)| name.starts_with('_')) {
            match name.as_str() {
                "_worker.size" => self.size = ranged(name, value, 64)?,
                "_worker.in-flight" => self.in_flight = ranged(name, value, 1024)?,
                "_worker.calls" => self.calls = large(name, value)?,
                "_worker.memory" => self.memory = large(name, value)?,
                _ => {
                    let message = format!(
                        "unknown property {name:?} for the worker executor; it knows {PROPERTIES}"
                    );
                    return Err(Error::bad("properties", message));
                }
            }
        }
        Ok(self)
    }
}

fn ranged(name: &str, value: &str, most: usize) -> Result<NonZeroUsize> {
    let number = parsed::<NonZeroUsize>(value).filter(|number| number.get() <= most);
    number.ok_or_else(|| wrong(name, value, &format!("a number from 1 to {most}")))
}

fn large(name: &str, value: &str) -> Result<u64> {
    let number = parsed::<u64>(value).filter(|number| *number > 0);
    number.ok_or_else(|| wrong(name, value, "a number that is at least 1"))
}

fn parsed<T: FromStr>(value: &str) -> Option<T> {
    value.trim().parse().ok()
}

fn wrong(name: &str, value: &str, expected: &str) -> Error {
    let message = format!("{name} is {value:?}; expected {expected}");
    Error::bad("properties", message)
}

#[cfg(test)]
mod tests {
    use super::WorkerPoolSettings;

    #[test]
    fn properties_change_the_settings_within_ranges() {
        let with = |name: &str, value: &str| {
            let properties = [
                (name.to_owned(), value.to_owned()),
                ("own".to_owned(), "x".to_owned()),
            ];
            WorkerPoolSettings::default().with_properties(&properties.into())
        };
        assert_eq!(with("_worker.size", "3").expect("valid").size.get(), 3);
        assert_eq!(
            with("_worker.in-flight", " 9 ")
                .expect("valid")
                .in_flight
                .get(),
            9
        );
        assert_eq!(with("_worker.calls", "7").expect("valid").calls, 7);
        assert_eq!(with("_worker.memory", "7").expect("valid").memory, 7);
        for (name, value) in [
            ("_worker.size", "0"),
            ("_worker.size", "65"),
            ("_worker.in-flight", "-1"),
            ("_worker.calls", "many"),
            ("_worker.memory", "0"),
            ("_worker.speed", "1"),
            ("_kubernetes.pod", "x"),
        ] {
            let error = with(name, value).expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
