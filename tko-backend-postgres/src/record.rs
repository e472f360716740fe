//! Rows as entities: what they need beside themselves is read, or remembered.

use crate::postgres::Shared;
use crate::row::{Row, broken};
use std::sync::Arc;
use tko_core::{Entity, Facts, Result};

/// What these rows stand for, in their order.
pub(crate) async fn entities(shared: &Shared, rows: Vec<Row<'_>>) -> Result<Vec<Arc<Entity>>> {
    let mut drafts = Vec::with_capacity(rows.len());
    for row in rows {
        let skeleton = row.skeleton;
        drafts.push((row.entity()?, skeleton));
    }
    complete(shared, drafts).await
}

/// Puts in Deployment resources, by their numbers.
pub(crate) async fn complete(
    shared: &Shared,
    drafts: Vec<(Entity, Option<i32>)>,
) -> Result<Vec<Arc<Entity>>> {
    let numbers = drafts.iter().filter_map(|(_, number)| *number).collect();
    let skeletons = shared.skeletons.get(shared, numbers).await?;
    let completed = drafts.into_iter().map(|(mut entity, number)| {
        if let Facts::Deployment(deployment) = &mut entity.facts {
            deployment.head.skeleton = number
                .and_then(|number| skeletons.get(&number))
                .ok_or_else(|| broken(format!("{} has no Deployment resource", entity.key)))?
                .clone();
        }
        Ok(Arc::new(entity))
    });
    completed.collect()
}
