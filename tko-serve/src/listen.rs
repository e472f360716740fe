//! Listeners: dual-stack, IPv6 first, on loopback by default.

use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use tko_core::{Error, Result};
use tokio::net::TcpListener;

/// The error number of Linux for "address family not supported", which the standard library lacks.
const EAFNOSUPPORT: i32 = 97;

/// Maximum number of attempts to find a port that is free on every address.
const ATTEMPTS: u32 = 16;

/// Maximum number of connections that the operating system queues until they are accepted.
const BACKLOG: i32 = 1_024;

/// The versions of IP on which to listen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stack {
    /// IPv6 and IPv4.
    #[default]
    Dual,
    /// IPv6 only.
    Ipv6,
    /// IPv4 only.
    Ipv4,
}

impl Stack {
    fn includes(self, address: IpAddr) -> bool {
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
                format!("unknown stack {text:?}; expected dual, ipv6 or ipv4"),
            )),
        }
    }
}

/// The address, port and IP versions on which to listen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// The versions of IP.
    pub stack: Stack,
    /// An address or host name. Empty means loopback. `::` with [`Stack::Dual`]: every address of
    /// both versions.
    pub address: String,
    /// The port. 0: any free port, the same on every address.
    pub port: u16,
}

/// Bound listeners.
#[derive(Debug)]
pub struct Sockets(Vec<TcpListener>);

impl Sockets {
    /// Binds the listeners.
    ///
    /// On loopback with [`Stack::Dual`], one version of IP is enough if the machine lacks the other.
    ///
    /// # Errors
    /// [`BadArgument`](Error::BadArgument): the address does not resolve, has no address of this
    /// stack, or cannot be bound.
    pub async fn bind(listen: &Listen) -> Result<Self> {
        let addresses = resolve(listen).await?;
        let mut bound = Self::all(listen, &addresses);
        // A port that is free on the first address may be taken on the second.
        let mut attempts = ATTEMPTS * u32::from(listen.port == 0 && addresses.len() > 1);
        while bound.is_err() && attempts > 0 {
            attempts -= 1;
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
                // A machine may lack one version of IP. A port in use is an error.
                Err(error) if loopback && is_unsupported(&error) => {
                    tracing::info!(%address, %error, "skipping an unsupported loopback address");
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

    /// The bound addresses, IPv6 first.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0
            .iter()
            .filter_map(|socket| socket.local_addr().ok())
            .collect()
    }

    pub(crate) fn into_listeners(self) -> Vec<TcpListener> {
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
            .map_err(|error| {
                Error::bad("listen address", format!("{:?}: {error}", listen.address))
            })?
            .collect()
    };
    addresses.retain(|address| listen.stack.includes(address.ip()));
    addresses.sort_by_key(|address| !address.is_ipv6());
    addresses.dedup();
    if addresses.is_empty() {
        return Err(Error::bad(
            "listen address",
            format!(
                "{:?} has no address of the IP stack {}; choose another address or stack",
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
        // The wildcard address serves both versions with one socket; other addresses have one each.
        socket.set_only_v6(stack == Stack::Ipv6 || !v6.ip().is_unspecified())?;
    }
    // A restarted server can bind its port at once.
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
            "; another process listens there: stop it, or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges",
        _ => "",
    };
    Error::bad(
        "listen address",
        format!("cannot listen on {address}: {error}{advice}"),
    )
}
