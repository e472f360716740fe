//! Where a server listens: dual-stack, IPv6 first, on loopback unless told otherwise.

use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use tko_core::{Error, Result};
use tokio::net::TcpListener;

/// Linux's number of "address family not supported", for which the standard library has no kind.
const EAFNOSUPPORT: i32 = 97;

/// How often another free port is tried.
const TRIES: u32 = 16;

/// Connections that the system keeps waiting to be accepted.
const BACKLOG: i32 = 1_024;

/// Which versions of IP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stack {
    /// Both.
    #[default]
    Dual,
    /// IPv6 alone.
    Ipv6,
    /// IPv4 alone.
    Ipv4,
}

impl Stack {
    fn has(self, address: IpAddr) -> bool {
        match self {
            Self::Dual => true,
            Self::Ipv6 => address.is_ipv6(),
            Self::Ipv4 => address.is_ipv4(),
        }
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dual => "dual",
            Self::Ipv6 => "ipv6",
            Self::Ipv4 => "ipv4",
        })
    }
}

impl FromStr for Stack {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "dual" => Ok(Self::Dual),
            "ipv6" => Ok(Self::Ipv6),
            "ipv4" => Ok(Self::Ipv4),
            _ => Err(Error::bad(
                "IP stack",
                format!("{text:?} is none; it is one of dual, ipv6, ipv4"),
            )),
        }
    }
}

/// Where to listen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// Which versions of IP.
    pub stack: Stack,
    /// An address or a host's name; empty: loopback. `::` with both versions is all of either.
    pub address: String,
    /// 0: any that is free, one for all addresses.
    pub port: u16,
}

/// Sockets that listen.
#[derive(Debug)]
pub struct Sockets(Vec<TcpListener>);

impl Sockets {
    /// Listens. On loopback without IPv6 or without IPv4, both being asked for, the other does.
    ///
    /// # Errors
    /// `BadArgument`: no such address, none of this stack, or one that cannot be had; says which.
    pub async fn bind(listen: &Listen) -> Result<Self> {
        let addresses = resolve(listen).await?;
        let mut bound = Self::all(listen, &addresses);
        // What is free at the first address may be taken at the second.
        let mut luck = TRIES * u32::from(listen.port == 0 && addresses.len() > 1);
        while bound.is_err() && luck > 0 {
            luck -= 1;
            bound = Self::all(listen, &addresses);
        }
        bound
    }

    fn all(listen: &Listen, addresses: &[SocketAddr]) -> Result<Self> {
        let loopback = listen.address.is_empty();
        let mut port = listen.port;
        let mut sockets = Vec::with_capacity(addresses.len());
        let mut failure = None;
        for &address in addresses {
            match open(SocketAddr::new(address.ip(), port), listen.stack) {
                Ok(socket) => {
                    port = socket.local_addr().map_or(port, |address| address.port());
                    sockets.push(socket);
                }
                // A machine may lack one version of IP; a port that is taken is another matter.
                Err(error) if loopback && is_unsupported(&error) => {
                    tracing::info!(%address, %error, "not listening there");
                    failure = Some(refused(address, &error));
                }
                Err(error) => return Err(refused(address, &error)),
            }
        }
        match failure {
            Some(error) if sockets.is_empty() => Err(error),
            _ => Ok(Self(sockets)),
        }
    }

    /// Where they listen, IPv6 first.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0
            .iter()
            .filter_map(|socket| socket.local_addr().ok())
            .collect()
    }

    pub(super) fn into_listeners(self) -> Vec<TcpListener> {
        self.0
    }
}

async fn resolve(listen: &Listen) -> Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = if listen.address.is_empty() {
        let both = [
            IpAddr::V6(Ipv6Addr::LOCALHOST),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
        ];
        both.map(|ip| SocketAddr::new(ip, listen.port)).into()
    } else {
        let host = listen.address.trim_matches(['[', ']']);
        tokio::net::lookup_host((host, listen.port))
            .await
            .map_err(|error| Error::bad("gRPC address", format!("{:?}: {error}", listen.address)))?
            .collect()
    };
    addresses.retain(|address| listen.stack.has(address.ip()));
    addresses.sort_by_key(|address| !address.is_ipv6());
    addresses.dedup();
    if addresses.is_empty() {
        return Err(Error::bad(
            "gRPC address",
            format!(
                "{:?} has no address of the IP stack {}; give another, or another stack",
                listen.address, listen.stack
            ),
        ));
    }
    Ok(addresses)
}

fn open(address: SocketAddr, stack: Stack) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if let SocketAddr::V6(v6) = address {
        // One socket for all addresses of either version; several for particular ones.
        socket.set_only_v6(stack == Stack::Ipv6 || !v6.ip().is_unspecified())?;
    }
    // A restarted server gets its port at once.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.kind() == io::ErrorKind::Unsupported
        || error.raw_os_error() == Some(EAFNOSUPPORT)
}

fn refused(address: SocketAddr, error: &io::Error) -> Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; something listens there already: stop it, or give another port"
        }
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need the right to them",
        _ => "",
    };
    Error::bad(
        "gRPC address",
        format!("cannot listen on {address}: {error}{advice}"),
    )
}
