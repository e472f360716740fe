//! Settings of a backend.

use std::time::Duration;

/// The address of the database, and how a process uses it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PostgresSettings {
    /// The URL of the database, such as `postgresql://user@host/database?sslmode=verify-full`.
    /// Missing parts come from the `PG…` environment variables, as in every PostgreSQL client.
    pub url: String,
    /// URLs of streaming standbys of this database. Default: none.
    ///
    /// Reads that allow a stale state ([`allow_stale`](tko_core::Want::allow_stale)) use them in
    /// turn. While no standby is usable, they use the database itself.
    pub replicas: Vec<String>,
    /// The size of the connection pool, and of the pool to each replica; at least 2. Default: 16.
    ///
    /// One more connection listens for notifications.
    pub connections: u32,
    /// How long [`Postgres::connect`](crate::Postgres::connect) waits for an unreachable database,
    /// and a call for a free connection. Default: 30 seconds.
    pub connection_timeout: Duration,
    /// The server cancels statements that take longer; zero sets no limit. Default: 30 seconds.
    ///
    /// A deletion waits for older transactions for 10 seconds, or for this time if that is shorter.
    pub statement_timeout: Duration,
    /// Minimum number of recent changes to keep, for watchers and for history. Default: 100,000.
    pub history: u64,
    /// Younger changes are kept, regardless of their number. Default: 15 minutes, which is longer
    /// than Kubernetes clients go without receiving a revision.
    pub history_time: Duration,
    /// The name of this process in the server's list of sessions. Default: `tko`.
    pub application: String,
}

impl PostgresSettings {
    /// Returns the defaults for the database of this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            replicas: Vec::new(),
            connections: 16,
            connection_timeout: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(30),
            history: 100_000,
            history_time: Duration::from_mins(15),
            application: "tko".to_owned(),
        }
    }

    /// The size of a pool: a call may need two connections at once.
    pub(crate) fn pool_size(&self) -> u32 {
        self.connections.max(2)
    }
}
