//! Rows as entities: what they need beside themselves is read, or remembered.

use crate::postgres::Shared;
use crate::row::{Before, Row, broken};
use std::collections::HashMap;
use std::sync::Arc;
use tko_core::{Entity, Facts, Resource, Result};

/// What these rows stand for, in their order.
pub(crate) async fn entities(shared: &Shared, rows: Vec<Row<'_>>) -> Result<Vec<Arc<Entity>>> {
    let resources = Resources::of(shared, rows.iter().map(|row| row.skeleton)).await?;
    let mut before = Before::default();
    let entities = rows.into_iter().map(|row| {
        let number = row.skeleton;
        let (entity, _) = row.entity(&mut before)?;
        resources.complete(entity, number)
    });
    entities.collect()
}

/// Deployment resources by their numbers.
pub(crate) struct Resources(HashMap<i32, Arc<Resource>>);

impl Resources {
    /// Those of rows with these numbers.
    pub(crate) async fn of(
        shared: &Shared,
        numbers: impl Iterator<Item = Option<i32>>,
    ) -> Result<Self> {
        let skeletons = shared.skeletons.get(shared, numbers.flatten().collect());
        Ok(Self(skeletons.await?))
    }

    /// The entity of a row with this number, whole.
    pub(crate) fn complete(
        &self,
        mut entity: Arc<Entity>,
        number: Option<i32>,
    ) -> Result<Arc<Entity>> {
        let Entity { key, facts, .. } = Arc::make_mut(&mut entity);
        if let Facts::Deployment(deployment) = facts {
            let resource = number.and_then(|number| self.0.get(&number));
            let resource =
                resource.ok_or_else(|| broken(format!("{key} has no Deployment resource")))?;
            deployment.resource.skeleton = resource.clone();
        }
        Ok(entity)
    }
}
