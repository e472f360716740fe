//! Rows as entities: what they need beside themselves is read, or remembered.

use crate::postgres::Shared;
use crate::row::Row;
use std::sync::Arc;
use tko_core::{Entity, Result};

/// What these rows stand for, in their order.
pub(crate) async fn entities(shared: &Shared, rows: Vec<Row>) -> Result<Vec<Arc<Entity>>> {
    let numbers = rows.iter().filter_map(|row| row.skeleton).collect();
    let skeletons = shared.skeletons.get(&shared.pool, numbers).await?;
    rows.into_iter()
        .map(|row| row.entity(&skeletons).map(Arc::new))
        .collect()
}
