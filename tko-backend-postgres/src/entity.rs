//! Entities from rows: adds the skeletons that rows refer to.

use crate::codes::broken;
use crate::row::{EntityRow, RowDecoder};
use crate::skeletons::Skeletons;
use std::collections::HashMap;
use std::sync::Arc;
use tko_core::{Entity, Facts, Resource, Result};

/// Returns the entities of these rows, in order.
pub(crate) async fn entities(
    skeletons: &Skeletons,
    rows: Vec<EntityRow<'_>>,
) -> Result<Vec<Arc<Entity>>> {
    let resources = SkeletonMap::read(skeletons, rows.iter().map(|row| row.skeleton)).await?;
    let mut decoder = RowDecoder::default();
    let entities = rows.into_iter().map(|row| {
        let number = row.skeleton;
        let (entity, _) = row.entity(&mut decoder)?;
        resources.complete(entity, number)
    });
    entities.collect()
}

/// Skeletons by number.
pub(crate) struct SkeletonMap(HashMap<i32, Arc<Resource>>);

impl SkeletonMap {
    /// Reads the skeletons with these numbers.
    pub(crate) async fn read(
        skeletons: &Skeletons,
        numbers: impl Iterator<Item = Option<i32>>,
    ) -> Result<Self> {
        Ok(Self(skeletons.get(numbers.flatten().collect()).await?))
    }

    /// Puts the skeleton with this number into a deployment. Other entities stay as they are.
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
