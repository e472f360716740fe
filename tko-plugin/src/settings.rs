//! How plugins are run: limits, and where they find things.

use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// How an executor runs its plugins.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where plugins reach the data API. Default: none.
    pub grpc: Option<Grpc>,
    /// How long one call may take.
    pub timeouts: Timeouts,
    /// How long a program may take to end after it was asked to (SIGTERM) because its time is
    /// over. Then its process group is killed. Default: 1 s.
    pub grace: Duration,
    /// Most bytes that one call may print to stdout; more is an error, and the program is killed
    /// at once. Default: 32 MiB, which is also the most that is read as one package.
    pub output: usize,
    /// Most bytes that one call may log, to stderr and to the log each; the rest is read, counted
    /// and dropped. A short line counts as 100 bytes. Default: 1 MiB.
    pub log: usize,
    /// Most processes of one plugin at once; more calls wait, and their time begins when they no
    /// longer do. A limit for each plugin, so that one that hangs holds back no other. Default:
    /// four for each core.
    pub concurrency: NonZeroUsize,
    /// A Python environment, whose `bin` is first in the `PATH` of `*.py` programs, if it is
    /// there. Default: `$PYTHON_ENV`, else `~/tko-python-env`.
    pub python_env: Option<PathBuf>,
    /// How log lines come from the program. Default: a FIFO.
    pub log_channel: LogChannel,
}

/// How long one call may take, by type of plugin, from the start of its process.
///
/// Whoever calls the part should wait a little longer than this: the error of a call whose time
/// is over says what the program wrote to stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Default: 30 s.
    pub prepare: Duration,
    /// Default: 30 s.
    pub validate: Duration,
    /// Default: 300 s.
    pub schedule: Duration,
}

/// Where plugins reach the data API, in the protocol's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Grpc {
    /// `tcp4` or `tcp6`; empty: there is none.
    #[serde(rename = "level2protocol")]
    pub level2_protocol: String,
    /// An IP address without zone and brackets, or a host name; no wildcard. Empty: there is none.
    pub address: String,
    /// 0: there is none.
    pub port: u16,
}

/// How log lines come from the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogChannel {
    /// Through a FIFO in a directory that only this user can enter; where none can be made,
    /// through TCP on the loopback address.
    #[default]
    Fifo,
    /// Through a TCP port of this address, open for as long as the call. Whoever reaches the port
    /// can write lines to the log.
    Tcp(IpAddr),
}

impl Default for Settings {
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

/// Of a listener: a wildcard becomes the loopback address, and a zone is left out.
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
    use super::{Grpc, Settings};
    use std::net::SocketAddr;

    #[test]
    fn plugins_are_given_an_address_that_they_can_reach() {
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
        let settings = Settings::default();
        assert_eq!(settings.grpc, None);
        assert_eq!(settings.timeouts.schedule.as_secs(), 300);
        assert_eq!(settings.concurrency.get() % 4, 0);
    }
}
