//! [`KrmSettings`]: limits and timeouts of the server.

use std::time::Duration;

/// The name of this interface in credentials and in the causes of changes.
pub const INTERFACE: &str = "kubernetes";

/// Limits and timeouts of a [`KrmServer`](crate::KrmServer).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KrmSettings {
    /// Maximum size of the body of a request, in bytes. Default: 16 MiB.
    pub max_body: usize,
    /// Maximum number of requests in flight, not counting watches and the sending of answers; further
    /// ones are answered with 429. Default: 400.
    pub max_requests: usize,
    /// Maximum number of watches, and of lists without a limit that are being sent; further ones are
    /// answered with 429. Each takes about 1 MiB of memory while its client does not read, more if a
    /// single object is larger. While the server reads the next page for one, it holds up to 100
    /// objects of any size, and those deleted since the list began. Default: 2,000.
    pub max_watches: usize,
    /// Maximum number of connections. Default: 10,000.
    pub max_connections: usize,
    /// Maximum number of bytes of requests in flight on one connection. Default: 128 MiB.
    pub max_bytes_per_connection: usize,
    /// Maximum number of bytes of requests in flight on all connections together. Default: 512 MiB.
    pub max_bytes: usize,
    /// Longest time for a request, not counting watches and the sending of its answer.
    /// Default: 60 s.
    pub timeout: Duration,
    /// Grace period for requests in flight at shutdown. Default: 10 s.
    pub grace: Duration,
    /// Minimum default duration of a watch; a random time of up to the same length is added.
    /// Default: 30 min.
    pub watch: Duration,
    /// Interval of bookmarks. Default: 60 s.
    pub bookmark: Duration,
    /// How many changes are kept in memory for watches to resume from. Default: 10,000.
    pub kept_changes: usize,
    /// How many bytes of changes, by estimate, are kept in memory for watches to resume from:
    /// packages, objects that were sent, and the states before. Default: 256 MiB.
    pub kept_bytes: usize,
}

impl Default for KrmSettings {
    fn default() -> Self {
        Self {
            max_body: 16 << 20,
            max_requests: 400,
            max_watches: 2_000,
            max_connections: 10_000,
            max_bytes_per_connection: 128 << 20,
            max_bytes: 512 << 20,
            timeout: Duration::from_mins(1),
            grace: Duration::from_secs(10),
            watch: Duration::from_mins(30),
            bookmark: Duration::from_mins(1),
            kept_changes: 10_000,
            kept_bytes: 256 << 20,
        }
    }
}
