//! What a backend is made with.

use std::time::Duration;

/// Where the database is, and how it is used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Such as `postgresql://user@host/database?sslmode=verify-full`; what it leaves out comes
    /// from the `PG…` environment variables, as with every PostgreSQL client.
    pub url: String,
    /// Streaming standbys of this database, as `url`: what may show an older state
    /// ([`any_revision`](tko_core::Want::any_revision)) is read from them in turn, and from the
    /// database itself as long as none can be used. Default: none.
    pub replicas: Vec<String>,
    /// Most connections of this process, and as many to each replica. One more listens, and one numbers. Default: 16.
    pub connections: u32,
    /// How long [`Postgres::connect`](crate::Postgres::connect) waits for a database that cannot
    /// be reached, and a call for a free connection. Default: 30 seconds.
    pub connection_timeout: Duration,
    /// A statement that takes longer is stopped by the server. Default: 30 seconds.
    pub statement_timeout: Duration,
    /// At least this many of the last changes are kept, to watch from and as history.
    /// Default: 100,000.
    pub history: u64,
    /// Changes younger than this are kept, however many. Default: 15 minutes, which is longer
    /// than Kubernetes clients go without hearing of a revision.
    pub history_time: Duration,
    /// What this process is called in the server's list of sessions. Default: `tko`.
    pub application: String,
}

impl Settings {
    /// The defaults, for this database.
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
}
