//! Metrics of the cache of function results.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::sync::Arc;
use tko_preparer::ResultCache;

/// Reads the counts of a cache when metrics are requested.
#[derive(Debug)]
pub(super) struct ResultCollector(Arc<ResultCache>);

impl ResultCollector {
    pub(super) fn new(results: Arc<ResultCache>) -> Self {
        Self(results)
    }
}

impl Collector for ResultCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.0.counts();
        let mut metric = |name: &str, help: &str, metric: &dyn EncodeOne| {
            metric.encode_one(&mut encoder, name, help)
        };
        metric(
            "tko_preparer_results_hits",
            "Calls of functions that were answered with an earlier result",
            &ConstCounter::new(counts.hits),
        )?;
        metric(
            "tko_preparer_results_misses",
            "Calls of functions that ran",
            &ConstCounter::new(counts.misses),
        )?;
        metric(
            "tko_preparer_shared_results_hits",
            "Calls of functions that were answered with a result of another process",
            &ConstCounter::new(counts.shared_hits),
        )?;
        metric(
            "tko_preparer_shared_results_misses",
            "Calls of functions that found no result of another process",
            &ConstCounter::new(counts.shared_misses),
        )?;
        metric(
            "tko_preparer_shared_results_refused",
            "Shared results that were damaged or did not belong to the call",
            &ConstCounter::new(counts.shared_refused),
        )?;
        metric(
            "tko_preparer_shared_results_failures",
            "Shared results that could not be read or stored",
            &ConstCounter::new(counts.shared_failures),
        )?;
        metric(
            "tko_preparer_results_evictions",
            "Results that were dropped to make room",
            &ConstCounter::new(counts.evictions),
        )?;
        metric(
            "tko_preparer_results",
            "Results that are kept",
            &ConstGauge::new(i64::try_from(counts.results).unwrap_or(i64::MAX)),
        )?;
        metric(
            "tko_preparer_results_bytes",
            "Estimated size of the results that are kept",
            &ConstGauge::new(i64::try_from(counts.bytes).unwrap_or(i64::MAX)),
        )
    }
}

/// A metric of any type, as a trait object.
trait EncodeOne {
    fn encode_one(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
    ) -> fmt::Result;
}

impl<M: EncodeMetric> EncodeOne for M {
    fn encode_one(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
    ) -> fmt::Result {
        self.encode(encoder.encode_descriptor(name, help, None, self.metric_type())?)
    }
}
