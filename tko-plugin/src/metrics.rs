//! Measurements of plugin calls, for metrics: counts, times, failures, processes.
//!
//! A measurement is a few additions without locks. [`PluginMetrics::read`] reads the totals, for
//! example when metrics are scraped.

use crate::failure::Failure;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Upper bounds of the buckets of durations, in microseconds. One more bucket has no bound.
pub const CALL_BOUNDS: [u64; 12] = [
    250,
    1_000,
    2_500,
    10_000,
    25_000,
    100_000,
    250_000,
    1_000_000,
    2_500_000,
    10_000_000,
    30_000_000,
    100_000_000,
];

/// The measurements of all plugins of a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct PluginMetrics(Arc<Mutex<BTreeMap<String, Arc<PluginStats>>>>);

/// The measurements of one plugin since the process started.
#[derive(Debug, Default)]
pub struct PluginStats {
    buckets: [AtomicU64; CALL_BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    retried: AtomicU64,
    restarted: AtomicU64,
    recycled: AtomicU64,
    running: AtomicI64,
    processes: AtomicI64,
}

/// The totals of one plugin at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PluginTotals {
    /// The plugin's id, such as `prepare|gateway`.
    pub plugin: String,
    /// Finished calls by duration, failed ones included; see [`CALL_BOUNDS`].
    pub buckets: [u64; CALL_BOUNDS.len() + 1],
    /// Sum of the durations of finished calls.
    pub time: Duration,
    /// Calls that failed, other than by their time limit.
    pub failed: u64,
    /// Calls that reached their time limit.
    pub timed_out: u64,
    /// Calls that were made again because their process ended.
    pub retried: u64,
    /// Worker processes that ended unexpectedly, or were killed.
    pub restarted: u64,
    /// Worker processes that were replaced after their number of calls or their memory.
    pub recycled: u64,
    /// Calls in flight.
    pub running: u64,
    /// Number of worker processes.
    pub processes: u64,
}

impl PluginMetrics {
    /// The measurements of this plugin.
    pub fn plugin(&self, id: &str) -> Arc<PluginStats> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(id.to_owned()).or_default().clone()
    }

    /// Reads the totals of all plugins, in the order of their ids.
    pub fn read(&self) -> Vec<PluginTotals> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(id, stats)| stats.read(id)).collect()
    }
}

impl PluginStats {
    fn read(&self, id: &str) -> PluginTotals {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let level = |gauge: &AtomicI64| gauge.load(Ordering::Relaxed).try_into().unwrap_or(0);
        PluginTotals {
            plugin: id.to_owned(),
            buckets: std::array::from_fn(|at| get(&self.buckets[at])),
            time: Duration::from_nanos(get(&self.nanoseconds)),
            failed: get(&self.failed),
            timed_out: get(&self.timed_out),
            retried: get(&self.retried),
            restarted: get(&self.restarted),
            recycled: get(&self.recycled),
            running: level(&self.running),
            processes: level(&self.processes),
        }
    }

    /// Starts the clock of a call.
    pub(crate) fn start(self: &Arc<Self>) -> MeasuredCall {
        self.running.fetch_add(1, Ordering::Relaxed);
        MeasuredCall {
            stats: self.clone(),
            start: Instant::now(),
        }
    }

    /// Counts a failure that the plugin reported.
    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn restarted(&self) {
        self.restarted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn recycled(&self) {
        self.recycled.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a process until the guard is dropped.
    pub(crate) fn process(self: &Arc<Self>) -> MeasuredProcess {
        self.processes.fetch_add(1, Ordering::Relaxed);
        MeasuredProcess(self.clone())
    }
}

/// A call that is being measured. Dropped before its end, it counts as not made.
pub(crate) struct MeasuredCall {
    stats: Arc<PluginStats>,
    start: Instant,
}

impl MeasuredCall {
    /// Counts the call and returns its duration.
    pub(crate) fn end<T>(self, result: &Result<T, Failure>) -> Duration {
        let counter = match result {
            Ok(_) => None,
            Err(Failure::Timeout { .. } | Failure::Cancelled { .. }) => Some(&self.stats.timed_out),
            Err(_) => Some(&self.stats.failed),
        };
        self.count(counter)
    }

    /// Counts the call of a handler that is not a program, and returns its duration.
    pub(crate) fn end_of_handler(self, has_failed: bool) -> Duration {
        self.count(has_failed.then_some(&self.stats.failed))
    }

    fn count(&self, also: Option<&AtomicU64>) -> Duration {
        let took = self.start.elapsed();
        let stats = &self.stats;
        let micros = took.as_micros();
        let bucket = CALL_BOUNDS.partition_point(|bound| u128::from(*bound) < micros);
        stats.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = took.as_nanos().try_into().unwrap_or(u64::MAX);
        stats.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        if let Some(counter) = also {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        took
    }
}

impl Drop for MeasuredCall {
    fn drop(&mut self) {
        self.stats.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A process that is counted.
pub(crate) struct MeasuredProcess(Arc<PluginStats>);

impl Drop for MeasuredProcess {
    fn drop(&mut self) {
        self.0.processes.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::PluginMetrics;
    use crate::failure::Failure;

    #[test]
    fn calls_are_counted_by_plugin() {
        let metrics = PluginMetrics::default();
        let stats = metrics.plugin("prepare|a");
        metrics.plugin("prepare|b");
        let (first, second, third) = (stats.start(), stats.start(), stats.start());
        assert_eq!(metrics.read()[0].running, 3);
        first.end(&Ok(()));
        second.end::<()>(&Err(Failure::Said("no".to_owned())));
        drop(third);
        let [a, b] = &metrics.read()[..] else {
            panic!("two plugins");
        };
        assert_eq!(
            (a.plugin.as_str(), a.running, a.failed),
            ("prepare|a", 0, 1)
        );
        assert_eq!(a.buckets.iter().sum::<u64>(), 2);
        assert_eq!(b.buckets.iter().sum::<u64>(), 0);
    }
}
