//! Settings of the executor: limits and locations.

use crate::metrics::PluginMetrics;
use crate::policy::PluginPolicy;
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// Settings of [`CommandExecutor`](crate::CommandExecutor), and of the calls of other executors.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CommandSettings {
    /// Address of the data API for plugins. Default: none.
    pub grpc: Option<Grpc>,
    /// Time limits of a call.
    pub timeouts: Timeouts,
    /// Time between SIGTERM, sent when the time limit is reached, and SIGKILL for the process
    /// group. Default: 1 s.
    pub grace: Duration,
    /// Maximum bytes of stdout in one call. A program that prints more is killed at once. Default:
    /// 32 MiB, which is also the maximum size of one package.
    pub output: usize,
    /// Maximum bytes of log lines in one call, for stderr and for the log channel each. The rest is
    /// read, counted and dropped. A short line counts as 100 bytes. Default: 1 MiB.
    pub log: usize,
    /// Maximum concurrent processes of one plugin. Further calls wait for at most their time limit,
    /// which starts anew with their process. The limit is per plugin, so that a hanging plugin does
    /// not delay others. Default: four per core.
    pub concurrency: NonZeroUsize,
    /// A Python environment whose `bin` comes first in the `PATH` of `*.py` programs, if it exists.
    /// Default: `$PYTHON_ENV`, otherwise `~/tko-python-env`.
    pub python_env: Option<PathBuf>,
    /// Names of additional variables that plugins inherit, besides
    /// [`INHERITED`](crate::environment::INHERITED); a final `*` matches any ending. Default: none.
    pub environment: Vec<String>,
    /// Which programs may run. Default: any.
    pub policy: PluginPolicy,
    /// Measurements of calls, for metrics. Clones of the settings share them.
    pub metrics: PluginMetrics,
    /// Kind of log channel. Default: a FIFO.
    pub log_channel: LogChannel,
}

/// Time limits of a call by plugin type, from the start of its process.
///
/// Before its process starts, a call waits for at most the same time. Handlers [limit
/// themselves](tko_core::Preparer::limits_itself), so callers need no limit of their own. The
/// timeout error contains the end of the program's stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Default: 30 s.
    pub prepare: Duration,
    /// Default: 30 s.
    pub validate: Duration,
    /// Default: 300 s.
    pub schedule: Duration,
}

/// Address of the data API, with the protocol's field names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Grpc {
    /// `tcp4` or `tcp6`; empty if there is no data API.
    #[serde(rename = "level2protocol")]
    pub level2_protocol: String,
    /// An IP address without zone and brackets, or a host name; never a wildcard. Empty if there is
    /// no data API.
    pub address: String,
    /// Port number; 0 if there is no data API.
    pub port: u16,
}

/// Kind of log channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogChannel {
    /// A FIFO in a directory that only this user can enter. If no FIFO can be created, a TCP port
    /// on the loopback address.
    #[default]
    Fifo,
    /// A TCP port on this address, open during the call. Anyone who reaches the port can write
    /// lines to the log.
    Tcp(IpAddr),
    /// No channel: the program runs where it can reach neither of the others, such as in a pod, and
    /// logs to stderr.
    Stderr,
}

impl Default for CommandSettings {
    fn default() -> Self {
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            grpc: None,
            timeouts: Timeouts::default(),
            grace: Duration::from_secs(1),
            output: 32 << 20,
            log: 1 << 20,
            concurrency: cores.saturating_mul(NonZeroUsize::MIN.saturating_add(3)),
            python_env: python_env(),
            policy: PluginPolicy::default(),
            environment: Vec::new(),
            metrics: PluginMetrics::default(),
            log_channel: LogChannel::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            prepare: Duration::from_secs(30),
            validate: Duration::from_secs(30),
            schedule: Duration::from_mins(5),
        }
    }
}

/// Converts the address of a listener: a wildcard becomes the loopback address, and a zone is
/// dropped.
impl From<SocketAddr> for Grpc {
    fn from(listener: SocketAddr) -> Self {
        let (level2_protocol, address) = match listener.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => ("tcp4", Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => ("tcp6", Ipv6Addr::LOCALHOST.into()),
            ip @ IpAddr::V4(_) => ("tcp4", ip),
            ip @ IpAddr::V6(_) => ("tcp6", ip),
        };
        Self {
            level2_protocol: level2_protocol.to_owned(),
            address: address.to_string(),
            port: listener.port(),
        }
    }
}

fn python_env() -> Option<PathBuf> {
    match std::env::var_os("PYTHON_ENV") {
        Some(path) if !path.is_empty() => Some(path.into()),
        _ => Some(std::env::home_dir()?.join("tko-python-env")),
    }
}

#[cfg(test)]
mod tests {
    use super::{CommandSettings, Grpc};
    use std::net::SocketAddr;

    #[test]
    fn plugins_get_a_reachable_address() {
        for (listener, protocol, address) in [
            ("[::]:50050", "tcp6", "::1"),
            ("0.0.0.0:50050", "tcp4", "127.0.0.1"),
            ("[fe80::1%3]:50050", "tcp6", "fe80::1"),
            ("192.0.2.7:50050", "tcp4", "192.0.2.7"),
        ] {
            let listener: SocketAddr = listener.parse().expect("an address");
            let expected = Grpc {
                level2_protocol: protocol.to_owned(),
                address: address.to_owned(),
                port: 50050,
            };
            assert_eq!(Grpc::from(listener), expected);
        }
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let settings = CommandSettings::default();
        assert_eq!(settings.grpc, None);
        assert_eq!(settings.timeouts.schedule.as_secs(), 300);
        assert_eq!(settings.concurrency.get() % 4, 0);
    }
}
