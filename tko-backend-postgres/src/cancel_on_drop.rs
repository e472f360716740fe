//! Connections for reads that a client may abandon.
//!
//! Dropping such a connection in the middle of a statement closes it. The server notices that the
//! client is gone (`client_connection_check_interval`, see [`SESSION`](crate::dialect::SESSION)),
//! and cancels the statement.

use crate::metrics::{Instrument, Purpose, StatementMetrics};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use std::ops::{Deref, DerefMut};
use tko_core::Result;

/// A connection from a pool that is closed when dropped, unless it was [released](Self::release).
pub(crate) struct CancelOnDrop {
    connection: PoolConnection<Postgres>,
    is_released: bool,
}

impl CancelOnDrop {
    /// Takes a connection from a pool: of the database, or of a replica.
    pub(crate) async fn acquire(metrics: &StatementMetrics, pool: &PgPool) -> Result<Self> {
        Ok(Self {
            connection: pool.acquire().sent(metrics, Purpose::Lend).await?,
            is_released: false,
        })
    }

    /// Returns the connection to its pool. No statement may be running on it.
    pub(crate) fn release(mut self) {
        self.is_released = true;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if !self.is_released {
            self.connection.close_on_drop();
        }
    }
}

impl Deref for CancelOnDrop {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for CancelOnDrop {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}
