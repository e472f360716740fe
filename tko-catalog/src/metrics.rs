//! Metrics of catalogs and inventories.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

type Labels = Vec<(&'static str, String)>;

/// Metrics of the syncs of a process, by entry. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct CatalogMetrics {
    syncs: Family<Labels, Counter>,
    failures: Family<Labels, Counter>,
    writes: Family<Labels, Counter>,
    items: Family<Labels, Gauge>,
    problems: Family<Labels, Gauge>,
    seconds: Family<Labels, Gauge<f64, AtomicU64>>,
}

impl CatalogMetrics {
    /// Adds the metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "tko_catalog_syncs",
            "Syncs that ended, by type and name of the entry",
            self.syncs.clone(),
        );
        registry.register(
            "tko_catalog_failed_syncs",
            "Syncs that failed, or that a mass disappearance stopped",
            self.failures.clone(),
        );
        registry.register(
            "tko_catalog_writes",
            "Templates or sites that syncs created, changed, marked or removed",
            self.writes.clone(),
        );
        registry.register(
            "tko_catalog_items",
            "Templates or sites of the source that are registered, as of the last sync",
            self.items.clone(),
        );
        registry.register(
            "tko_catalog_problems",
            "Parts of the source that could not be registered at the last sync",
            self.problems.clone(),
        );
        registry.register(
            "tko_catalog_last_sync_seconds",
            "Duration of the last sync",
            self.seconds.clone(),
        );
    }

    /// Counts a finished sync.
    pub(crate) fn count(
        &self,
        key: (&'static str, &str),
        report: Option<&crate::SyncReport>,
        took: Duration,
    ) {
        let labels = vec![("type", key.0.to_owned()), ("name", key.1.to_owned())];
        self.syncs.get_or_create(&labels).inc();
        self.seconds.get_or_create(&labels).set(took.as_secs_f64());
        let Some(report) = report else {
            self.failures.get_or_create(&labels).inc();
            return;
        };
        if report.stopped.is_some() {
            self.failures.get_or_create(&labels).inc();
        }
        self.writes
            .get_or_create(&labels)
            .inc_by(report.writes() as u64);
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.items.get_or_create(&labels).set(gauge(report.total));
        self.problems
            .get_or_create(&labels)
            .set(gauge(report.problems.len()));
    }

    /// Drops the metrics of an entry that was removed.
    pub(crate) fn forget(&self, key: (&'static str, &str)) {
        let labels = vec![("type", key.0.to_owned()), ("name", key.1.to_owned())];
        self.syncs.remove(&labels);
        self.failures.remove(&labels);
        self.writes.remove(&labels);
        self.items.remove(&labels);
        self.problems.remove(&labels);
        self.seconds.remove(&labels);
    }
}
