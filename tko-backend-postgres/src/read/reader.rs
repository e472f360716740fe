//! The context of every read: the sources of entities.

use crate::cancel_on_drop::CancelOnDrop;
use crate::content::Content;
use crate::database::Database;
use crate::replica::Replicas;
use sqlx::PgPool;
use std::sync::Arc;
use tko_core::Result;

/// Begins a transaction that reads one snapshot.
pub(crate) const ONE_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The sources of entities.
pub(crate) struct EntityReader {
    pub(crate) database: Arc<Database>,
    pub(crate) content: Arc<Content>,
    pub(crate) replicas: Replicas,
}

impl EntityReader {
    /// Takes a connection from the pool of the database, or of a replica.
    pub(super) async fn acquire(&self, pool: &PgPool) -> Result<CancelOnDrop> {
        CancelOnDrop::acquire(&self.database.metrics, pool).await
    }
}
