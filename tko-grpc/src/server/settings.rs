//! [`ServerSettings`]: limits and timeouts of a server.

use std::time::Duration;
use tko_core::Limits;

/// Limits and timeouts of a server, and its name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerSettings {
    /// The name of this instance, for people. Default: `tko`.
    pub name: String,
    /// A description of this instance, for people. Default: empty.
    pub description: String,
    /// Report the process as open to the network, although this server is not. Set it if another
    /// interface of the process accepts the network without TLS or without authentication. Default:
    /// false.
    pub reports_insecure: bool,
    /// Duration of a modification if the request does not specify it, as in existing clients.
    /// Default: 10 s.
    pub modification: Duration,
    /// Longest modification. Default: 1 hour.
    pub max_modification: Duration,
    /// Longest lease of a worker. Default: 1 day.
    pub max_lease: Duration,
    /// Longest wait for due work in one call. Default: 60 s.
    pub max_wait: Duration,
    /// Maximum number of deployment ids that the compatible service lists with each template and
    /// site. Default: 1,000.
    pub max_deployment_ids: usize,
    /// Largest message in bytes, in either direction. Default: 64 MiB.
    pub max_message: usize,
    /// Decoding limits for all packages of one message together.
    pub limits: Limits,
    /// Maximum number of concurrent calls on one connection. Default: 1,000.
    pub max_calls: u32,
    /// Maximum number of lists, histories and watches that are being sent, on all connections
    /// together; further ones are refused. Those of callers with the role `worker` do not count.
    /// At least 1. Default: 4,000.
    pub max_streams: usize,
    /// Maximum number of concurrent connections; further ones wait to be accepted. Default: 10,000,
    /// or fewer if the process may not open that many files.
    pub max_connections: usize,
    /// Maximum number of connections without an authenticated request; the oldest gives way to the
    /// next. Default: a quarter of the connections.
    pub max_unauthenticated: Option<usize>,
    /// Time to the first complete request, after which a connection is closed. Default: 15 s.
    pub first_request: Duration,
    /// Maximum number of bytes of requests in flight on one connection. Default: 128 MiB.
    pub max_bytes_per_connection: usize,
    /// Maximum number of bytes of requests in flight on all connections together. Default: 512 MiB.
    pub max_bytes: usize,
    /// Time without traffic after which a peer is probed. A peer that does not answer within the
    /// same time is disconnected. Default: 20 s.
    pub keepalive: Duration,
    /// Grace period for calls in flight at shutdown. Default: 10 s.
    pub grace: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            name: "tko".to_owned(),
            description: String::new(),
            reports_insecure: false,
            modification: Duration::from_secs(10),
            max_modification: Duration::from_hours(1),
            max_lease: Duration::from_hours(24),
            max_wait: Duration::from_mins(1),
            max_deployment_ids: 1_000,
            max_message: 64 << 20,
            limits: Limits::default(),
            max_calls: 1_000,
            max_streams: 4_000,
            max_connections: 10_000,
            max_unauthenticated: None,
            first_request: Duration::from_secs(15),
            max_bytes_per_connection: 128 << 20,
            max_bytes: 512 << 20,
            keepalive: Duration::from_secs(20),
            grace: Duration::from_secs(10),
        }
    }
}
