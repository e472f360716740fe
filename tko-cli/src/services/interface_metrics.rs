//! Metrics of the interfaces: refused credentials, and entities that are too large to send.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use std::fmt;
use tko_grpc::server::{refused_credentials, skipped_entities};

/// Adds the metrics of the interfaces to a registry.
pub(super) fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(InterfaceCollector));
}

#[derive(Debug)]
struct InterfaceCollector;

impl Collector for InterfaceCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, value) in [
            (
                "tko_refused_credentials",
                "Requests refused because of their credentials",
                refused_credentials(),
            ),
            (
                "tko_skipped_entities",
                "Entities left out of responses because they are larger than a message",
                skipped_entities(),
            ),
        ] {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}
