//! [`HttpServerSettings`]: limits and timeouts of the server, and its name.

use std::time::Duration;
use tko_core::Limits;

/// Limits and timeouts of an HTTP server, and its name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpServerSettings {
    /// The name of this instance, for people. Default: `tko`.
    pub name: String,
    /// A description of this instance, for people. Default: empty.
    pub description: String,
    /// Report the process as open to the network, although this server is not. Set it if another
    /// interface of the process accepts the network without TLS or without authentication. Default:
    /// false.
    pub reports_insecure: bool,
    /// Origins of other sites whose pages may call the API, such as `https://portal.example`.
    /// Default: none.
    pub origins: Vec<String>,
    /// Maximum size of a request body in bytes. Default: 64 MiB.
    pub max_body: usize,
    /// Maximum size of the header of a request in bytes. Default: 32 KiB.
    pub max_header: usize,
    /// Maximum number of requests of authenticated callers in progress at once, not counting
    /// watches; further ones are refused with 503. Default: 512.
    pub max_requests: usize,
    /// Maximum number of watches at once, including those of dashboards. Default: 2,000.
    pub max_watches: usize,
    /// Maximum number of lists at once that are streamed whole rather than page by page, each until
    /// its client has read it. Further ones are refused with 503. Default: 256.
    pub max_streamed_lists: usize,
    /// Maximum number of concurrent connections; further ones wait to be accepted. Default: 10,000.
    pub max_connections: usize,
    /// Maximum number of bytes of requests in flight on one connection. Default: 128 MiB.
    pub max_bytes_per_connection: usize,
    /// Maximum number of bytes of requests in flight on all connections together. Default: 512 MiB.
    pub max_bytes: usize,
    /// Maximum number of deployments in one batch. Default: 10,000.
    pub max_batch: usize,
    /// Maximum number of groups that a summary counts apart. The answer says if there are more.
    /// Default: 10,000.
    pub max_groups: usize,
    /// Longest time until the response to a request begins. Default: 60 s.
    pub timeout: Duration,
    /// Duration of a modification if the request does not specify it. Default: 5 minutes.
    pub modification: Duration,
    /// Longest modification. Default: 1 hour.
    pub max_modification: Duration,
    /// Interval of heartbeats on a quiet watch. Default: 15 s.
    pub heartbeat: Duration,
    /// Changes that are kept for watches that reconnect, for each kind of entity. A watch that is
    /// further behind is ended. Default: 4,096.
    pub backlog: usize,
    /// Maximum number of deployment ids that the compatible endpoints list with each template and
    /// site. Default: 1,000.
    pub max_deployment_ids: usize,
    /// Decoding limits for a package.
    pub limits: Limits,
    /// Grace period for requests in flight at shutdown. Default: 10 s.
    pub grace: Duration,
}

impl Default for HttpServerSettings {
    fn default() -> Self {
        Self {
            name: "tko".to_owned(),
            description: String::new(),
            reports_insecure: false,
            origins: Vec::new(),
            max_body: 64 << 20,
            max_header: 32 << 10,
            max_requests: 512,
            max_watches: 2_000,
            max_streamed_lists: 256,
            max_connections: 10_000,
            max_bytes_per_connection: 128 << 20,
            max_bytes: 512 << 20,
            max_batch: 10_000,
            max_groups: 10_000,
            timeout: Duration::from_mins(1),
            modification: Duration::from_mins(5),
            max_modification: Duration::from_hours(1),
            heartbeat: Duration::from_secs(15),
            backlog: 4_096,
            max_deployment_ids: 1_000,
            limits: Limits::default(),
            grace: Duration::from_secs(10),
        }
    }
}
