//! The database: the pool, and everything else that every statement needs.

use crate::metrics::StatementMetrics;
use crate::settings::PostgresSettings;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

/// A database that was connected to, checked, and migrated.
///
/// Every module uses this type; it depends on none of them.
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
