//! Resolves filters by metadata of templates and sites before deployments are read.

use super::join::{RelationFilter, RelationFilters};
use super::plan::{IndexDriver, IndexValues, ListPlan, MAX_VALUES, ValueIndex};
use super::walk::SelectionWalk;
use crate::metrics::StatementMetrics;
use sqlx::PgConnection;
use tko_core::{Kind, Result, Select};

/// The limit of matching templates or sites. With more, each page matches those of its deployments.
const MAX_RESOLVED: usize = 4_096;

/// Finds the matching templates and sites. Few matches become drivers of the plan.
pub(super) async fn resolve(
    filters: &mut RelationFilters<'_>,
    metrics: &StatementMetrics,
    connection: &mut PgConnection,
    plan: &mut ListPlan,
) -> Result<()> {
    for filter in &mut filters.0 {
        resolve_one(filter, metrics, connection).await?;
        let is_few = i64::try_from(filter.known.len()).is_ok_and(|count| count <= MAX_VALUES);
        if filter.is_complete && is_few {
            let index = match filter.kind {
                Kind::Template => ValueIndex::Template,
                _ => ValueIndex::Site,
            };
            let ids = filter.known.keys().cloned().collect();
            let position = plan
                .drivers
                .iter()
                .position(IndexDriver::is_one_value)
                .unwrap_or(plan.drivers.len());
            let driver = IndexDriver::Merged(index, IndexValues::Given(ids));
            plan.drivers.insert(position, driver);
        }
    }
    Ok(())
}

async fn resolve_one(
    filter: &mut RelationFilter<'_>,
    metrics: &StatementMetrics,
    connection: &mut PgConnection,
) -> Result<()> {
    let select = Select::all(filter.kind)
        .metadata_patterns(filter.patterns.clone())
        .deleting(true);
    let mut walk = SelectionWalk::new(metrics, &select, MAX_RESOLVED + 1);
    let found = walk
        .collect(connection, &mut RelationFilters::none())
        .await?;
    if walk.is_at_end() && found.len() <= MAX_RESOLVED {
        filter.known = found
            .into_iter()
            .map(|found| (found.id().to_owned(), true))
            .collect();
        filter.is_complete = true;
    }
    Ok(())
}
