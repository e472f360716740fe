//! Metrics of plugin calls and of worker processes, by plugin.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::time::Duration;
use tko_plugin::metrics::CALL_BOUNDS;
use tko_plugin::{PluginMetrics, PluginTotals};

/// Adds the metrics of plugins to a registry.
pub(super) fn register(registry: &mut Registry, metrics: &PluginMetrics) {
    registry.register_collector(Box::new(PluginCollector(metrics.clone())));
}

#[derive(Debug)]
struct PluginCollector(PluginMetrics);

/// A count of events by plugin.
type PluginCounter = (&'static str, &'static str, fn(&PluginTotals) -> u64);

const COUNTERS: [PluginCounter; 5] = [
    (
        "tko_plugin_failed_calls",
        "Calls that failed, other than by their time limit",
        |totals| totals.failed,
    ),
    (
        "tko_plugin_timed_out_calls",
        "Calls that reached their time limit",
        |totals| totals.timed_out,
    ),
    (
        "tko_plugin_retried_calls",
        "Calls that were made again because their process ended",
        |totals| totals.retried,
    ),
    (
        "tko_plugin_restarts",
        "Worker processes that ended unexpectedly, or were killed",
        |totals| totals.restarted,
    ),
    (
        "tko_plugin_recycled_processes",
        "Worker processes that were replaced after their number of calls or their memory",
        |totals| totals.recycled,
    ),
];

const GAUGES: [PluginCounter; 2] = [
    (
        "tko_plugin_calls_in_flight",
        "Calls that wait for a process or for their answer",
        |totals| totals.running,
    ),
    ("tko_plugin_processes", "Worker processes", |totals| {
        totals.processes
    }),
];

impl Collector for PluginCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.0.read();
        if all.is_empty() {
            return Ok(());
        }
        let mut family = encoder.encode_descriptor(
            "tko_plugin_call",
            "Duration of calls by plugin, including failed ones",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for totals in &all {
            let bounds = CALL_BOUNDS.map(|bound| Duration::from_micros(bound).as_secs_f64());
            let bounds = bounds.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(totals.buckets).collect();
            let count = totals.buckets.iter().sum();
            family
                .encode_family(&[("plugin", totals.plugin.as_str())])?
                .encode_histogram::<NoLabelSet>(totals.time.as_secs_f64(), count, &buckets, None)?;
        }
        for (name, help, read) in COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for totals in &all {
                family
                    .encode_family(&[("plugin", totals.plugin.as_str())])?
                    .encode_counter(&read(totals), None::<&Exemplar<NoLabelSet, u64>>)?;
            }
        }
        for (name, help, read) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for totals in &all {
                let level = i64::try_from(read(totals)).unwrap_or(i64::MAX);
                family
                    .encode_family(&[("plugin", totals.plugin.as_str())])?
                    .encode_gauge(&level)?;
            }
        }
        Ok(())
    }
}
