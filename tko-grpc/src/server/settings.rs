//! How a server behaves.

use std::time::Duration;
use tko_core::Limits;

/// How a server behaves. All but the name has a default that suits most.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// What this instance is called, for people. Default: `tko`.
    pub name: String,
    /// More about it, for people. Default: empty.
    pub description: String,
    /// How long a modification may take that says nothing of it, as those of existing clients.
    /// Default: 10 s.
    pub modification: Duration,
    /// How long a modification may take that asks for more. Default: 1 hour.
    pub max_modification: Duration,
    /// Longest lease that a worker gets. Default: 1 day.
    pub max_lease: Duration,
    /// Longest wait for due work in one call. Default: 60 s.
    pub max_wait: Duration,
    /// Most ids of deployments that answers of the compatible service list with each template and
    /// site. Default: 1,000.
    pub max_deployment_ids: usize,
    /// Largest message, in bytes, in and out. Default: 64 MiB.
    pub max_message: usize,
    /// What one message's packages may ask of their reader.
    pub limits: Limits,
    /// Most calls at once on one connection. Default: 1,000.
    pub max_calls: u32,
    /// Most connections at once; more wait to be accepted. Default: 10,000.
    pub max_connections: usize,
    /// Peers that are silent for so long are asked whether they are there, and given up if they
    /// do not answer in the same time. Default: 20 s.
    pub keepalive: Duration,
    /// How long calls in flight may go on after shutdown is asked for. Default: 10 s.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "tko".to_owned(),
            description: String::new(),
            modification: Duration::from_secs(10),
            max_modification: Duration::from_hours(1),
            max_lease: Duration::from_hours(24),
            max_wait: Duration::from_mins(1),
            max_deployment_ids: 1_000,
            max_message: 64 << 20,
            limits: Limits::default(),
            max_calls: 1_000,
            max_connections: 10_000,
            keepalive: Duration::from_secs(20),
            grace: Duration::from_secs(10),
        }
    }
}
