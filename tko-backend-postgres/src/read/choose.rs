//! The choice among drivers with one exact value each.

use super::plan::{IndexDriver, ListPlan, ValueIndex};
use crate::metrics::{Instrument, Purpose, StatementMetrics};
use sqlx::PgConnection;
use tko_core::Result;

/// The position of the entry by whose id lists are compared.
const STRIDE: i64 = 256;

/// Moves the most selective of the drivers with one value to the end.
///
/// That is the driver whose list ends soonest, or whose next entries reach the highest id: its list
/// is the thinnest where the page begins.
pub(super) async fn choose(
    metrics: &StatementMetrics,
    connection: &mut PgConnection,
    plan: &mut ListPlan,
) -> Result<()> {
    let best = plan.drivers.len();
    let first = plan
        .drivers
        .iter()
        .position(IndexDriver::is_one_value)
        .unwrap_or(best);
    let named = &mut plan.drivers[first..];
    if named.len() < 2 || !named.iter().all(IndexDriver::is_one_value) {
        return Ok(());
    }
    let (mut columns, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for driver in named.iter() {
        if let IndexDriver::Exactly(index, value) = driver {
            let (column, key) = match index {
                ValueIndex::Metadata(key) => (0_i16, key.as_str()),
                ValueIndex::Template => (1, ""),
                ValueIndex::Site => (2, ""),
            };
            columns.push(column);
            keys.push(key);
            values.push(value.as_str());
        }
    }
    let reaches: Vec<Option<String>> = sqlx::query_scalar(
        "SELECT CASE n.which \
         WHEN 0 THEN (SELECT f.id FROM facet f WHERE f.kind = $1 AND f.key = n.key \
             AND f.value = n.value AND f.id >= $6 ORDER BY f.id OFFSET $2 LIMIT 1) \
         WHEN 1 THEN (SELECT e.id FROM entity e WHERE e.kind = $1 AND e.template = n.value \
             AND e.id >= $6 ORDER BY e.id OFFSET $2 LIMIT 1) \
         ELSE (SELECT e.id FROM entity e WHERE e.site = n.value AND e.id >= $6 \
             ORDER BY e.id OFFSET $2 LIMIT 1) \
         END FROM unnest($3::smallint[], $4::text[], $5::text[]) \
         WITH ORDINALITY n(which, key, value, place) ORDER BY n.place",
    )
    .bind(plan.kind)
    .bind(STRIDE)
    .bind(columns)
    .bind(keys)
    .bind(values)
    .bind(plan.low.as_str())
    .fetch_all(connection)
    .sent(metrics, Purpose::ChooseDriver)
    .await?;
    // Among equals, the last one stays the best.
    let fewest = reaches.iter().enumerate().max_by_key(|(_, reach)| {
        let ends = reach.is_none();
        (ends, reach.as_deref())
    });
    if let Some((at, _)) = fewest {
        named[at..].rotate_left(1);
    }
    Ok(())
}
