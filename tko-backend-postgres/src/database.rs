//! The database: the pool, and what every statement needs beside it.

use crate::metrics::StatementMetrics;
use crate::settings::PostgresSettings;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

/// A database that was connected to, checked, and migrated.
///
/// Every module stands on this; it knows none of them.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) pool: PgPool,
    /// How to open a connection outside the pool.
    pub(crate) options: PgConnectOptions,
    pub(crate) settings: PostgresSettings,
    pub(crate) metrics: StatementMetrics,
    /// Names this process in notifications.
    pub(crate) process: String,
}
