//! What is counted and seen, as metrics.

use super::watch::Seen;
use super::{BOUNDS, ENDS, Measure, Measures, Purpose};
use crate::postgres::Shared;
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

/// From now on a scrape of this registry tells of this backend, as long as there is one.
pub(crate) fn register(shared: &Arc<Shared>, registry: &mut Registry) {
    shared.watch.want();
    registry.register_collector(Box::new(Collected(Arc::downgrade(shared))));
}

/// A backend, which may be gone.
struct Collected(Weak<Shared>);

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collected").finish_non_exhaustive()
    }
}

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(shared) = self.0.upgrade() else {
            return Ok(());
        };
        let mut told = Told(encoder);
        told.durations(&shared.measures)?;
        told.failures(&shared.measures)?;
        told.connections(&shared.pool)?;
        match shared.watch.seen() {
            Some(seen) => told.seen(&seen),
            None => Ok(()),
        }
    }
}

/// A scrape that is being answered.
struct Told<'a>(DescriptorEncoder<'a>);

impl Told<'_> {
    fn durations(&mut self, measures: &Measures) -> fmt::Result {
        let help = "How long statements took, by what they are for, however they ended";
        let name = "tko_postgres_statement";
        let unit = Some(&Unit::Seconds);
        let mut family = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Histogram)?;
        for (purpose, measure) in measures.sent() {
            let bounds = BOUNDS.map(|bound| Duration::from_micros(bound).as_secs_f64());
            let counts = measure.buckets.iter().map(read);
            let buckets: Vec<(f64, u64)> = bounds
                .into_iter()
                .chain([f64::INFINITY])
                .zip(counts)
                .collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let sum = Duration::from_nanos(read(&measure.nanoseconds)).as_secs_f64();
            family
                .encode_family(&[("statement", purpose.name())])?
                .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }

    fn failures(&mut self, measures: &Measures) -> fmt::Result {
        let help = "Statements that did not end well, by what they are for and what became of them";
        let name = "tko_postgres_failed_statements";
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (purpose, measure) in measures.sent() {
            for (end, count) in ENDS.iter().zip(&measure.failures) {
                family
                    .encode_family(&[("statement", purpose.name()), ("failure", end)])?
                    .encode_counter(&read(count), None::<&Exemplar<NoLabelSet, u64>>)?;
            }
        }
        Ok(())
    }

    fn connections(&mut self, pool: &PgPool) -> fmt::Result {
        let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
        let help = "Connections of this process, without the one that listens";
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
            "Most connections that may be in use at once",
            &most,
        )
    }

    fn seen(&mut self, seen: &Seen) -> fmt::Result {
        self.gauge(
            "tko_postgres_revision",
            None,
            "Revision of the last change",
            &seen.revision,
        )?;
        self.gauge(
            "tko_postgres_oldest_revision",
            None,
            "Oldest revision that can be watched from",
            &seen.oldest,
        )?;
        self.gauge(
            "tko_postgres_pending_changes",
            None,
            "Committed changes that have no revision yet; 10000 is that many or more",
            &seen.pending,
        )?;
        self.gauge(
            "tko_postgres_pending_age",
            Some(&Unit::Seconds),
            "How long the oldest of them has waited",
            &Duration::from_micros(seen.waited.unsigned_abs()).as_secs_f64(),
        )?;
        self.gauge(
            "tko_postgres_oldest_transaction",
            Some(&Unit::Seconds),
            "How long the oldest transaction has run that holds back the vacuum, of those that \
             this role may see",
            &seen.transaction,
        )?;
        self.gauge(
            "tko_postgres_horizon_transactions",
            None,
            "Transactions that have begun since the oldest that holds back the vacuum, whoever's",
            &seen.horizon,
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

impl Measures {
    /// Those that were sent at all.
    fn sent(&self) -> impl Iterator<Item = (&Purpose, &Measure)> {
        let were_sent = |measure: &Measure| measure.buckets.iter().any(|count| read(count) > 0);
        Purpose::ALL
            .iter()
            .zip(&self.0)
            .filter(move |(_, measure)| were_sent(measure))
    }
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
