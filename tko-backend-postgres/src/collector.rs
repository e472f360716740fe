//! The collector: metrics of a backend, in the data model of Prometheus.

use crate::database::Database;
use crate::metrics::{BOUNDS, FAILURES, Purpose, PurposeMetrics, StatementMetrics};
use crate::monitor::{DatabaseMonitor, DatabaseStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};
use sqlx::PgPool;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Adds the metrics of a backend to a registry. They disappear when the backend is dropped.
pub(crate) fn register(
    registry: &mut Registry,
    database: &Arc<Database>,
    monitor: &Arc<DatabaseMonitor>,
) {
    monitor.enable();
    registry.register_collector(Box::new(DatabaseCollector {
        database: Arc::downgrade(database),
        monitor: Arc::downgrade(monitor),
    }));
}

struct DatabaseCollector {
    database: Weak<Database>,
    monitor: Weak<DatabaseMonitor>,
}

impl fmt::Debug for DatabaseCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseCollector").finish_non_exhaustive()
    }
}

impl Collector for DatabaseCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (Some(database), Some(monitor)) = (self.database.upgrade(), self.monitor.upgrade())
        else {
            return Ok(());
        };
        let mut scrape = Scrape(encoder);
        scrape.durations(&database.metrics)?;
        scrape.failures(&database.metrics)?;
        scrape.connections(&database.pool)?;
        match monitor.status() {
            Some(status) => scrape.status(&status),
            None => Ok(()),
        }
    }
}

/// One scrape, in progress.
struct Scrape<'a>(DescriptorEncoder<'a>);

impl Scrape<'_> {
    fn durations(&mut self, metrics: &StatementMetrics) -> fmt::Result {
        let help = "Duration of statements by purpose, including failed ones";
        let name = "tko_postgres_statement";
        let unit = Some(&Unit::Seconds);
        let mut family = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Histogram)?;
        for (purpose, totals) in metrics.occurred() {
            let bounds = BOUNDS.map(|bound| Duration::from_micros(bound).as_secs_f64());
            let counts = totals.buckets.iter().map(read);
            let buckets: Vec<(f64, u64)> = bounds
                .into_iter()
                .chain([f64::INFINITY])
                .zip(counts)
                .collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let sum = Duration::from_nanos(read(&totals.nanoseconds)).as_secs_f64();
            family
                .encode_family(&[("statement", purpose.name())])?
                .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }

    fn failures(&mut self, metrics: &StatementMetrics) -> fmt::Result {
        let help = "Failed statements by purpose and kind of failure";
        let name = "tko_postgres_failed_statements";
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (purpose, totals) in metrics.occurred() {
            for (failure, count) in FAILURES.iter().zip(&totals.failures) {
                family
                    .encode_family(&[("statement", purpose.name()), ("failure", failure)])?
                    .encode_counter(&read(count), None::<&Exemplar<NoLabelSet, u64>>)?;
            }
        }
        Ok(())
    }

    fn connections(&mut self, pool: &PgPool) -> fmt::Result {
        let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
        let help = "Connections in the pool of this process";
        let name = "tko_postgres_connections";
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        let in_use = pool.size().saturating_sub(idle);
        for (state, count) in [("in_use", in_use), ("idle", idle)] {
            family
                .encode_family(&[("state", state)])?
                .encode_gauge(&count)?;
        }
        let most = pool.options().get_max_connections();
        self.gauge(
            "tko_postgres_connections_max",
            None,
            "Size limit of the connection pool",
            &most,
        )
    }

    fn status(&mut self, status: &DatabaseStatus) -> fmt::Result {
        self.gauge(
            "tko_postgres_revision",
            None,
            "Revision of the last change",
            &status.revision,
        )?;
        self.gauge(
            "tko_postgres_oldest_revision",
            None,
            "Oldest revision from which the feed can be watched",
            &status.oldest,
        )?;
        self.gauge(
            "tko_postgres_pending_changes",
            None,
            "Committed changes without a revision, counted up to 10000",
            &status.pending,
        )?;
        self.gauge(
            "tko_postgres_pending_age",
            Some(&Unit::Seconds),
            "Age of the oldest change without a revision",
            &Duration::from_micros(status.waited.unsigned_abs()).as_secs_f64(),
        )?;
        self.gauge(
            "tko_postgres_oldest_transaction",
            Some(&Unit::Seconds),
            "Age of the oldest visible transaction that holds back the vacuum",
            &status.transaction,
        )?;
        self.gauge(
            "tko_postgres_horizon_transactions",
            None,
            "Transactions since the oldest one that holds back the vacuum, of all roles",
            &status.horizon,
        )
    }

    fn gauge(
        &mut self,
        name: &str,
        unit: Option<&Unit>,
        help: &str,
        value: &impl EncodeGaugeValue,
    ) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, unit, MetricType::Gauge)?
            .encode_gauge(value)
    }
}

impl StatementMetrics {
    /// The totals of purposes that occurred.
    fn occurred(&self) -> impl Iterator<Item = (&Purpose, &PurposeMetrics)> {
        let has_occurred =
            |totals: &PurposeMetrics| totals.buckets.iter().any(|count| read(count) > 0);
        Purpose::ALL
            .iter()
            .zip(&self.purposes)
            .filter(move |(_, totals)| has_occurred(totals))
    }
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
