//! [`ClientSettings`]: the server, and timeouts and limits of calls.

use std::fmt;
use std::path::Path;
use std::time::Duration;
use tko_core::{Error, Limits, Result};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// The server to call, the credentials, and timeouts and limits. `Debug` leaves out the token.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientSettings {
    /// `HOST:PORT`, or an `http://` or `https://` URL. Default: `[::1]:50050`.
    pub server: String,
    /// TLS with these certificates. `https://` without it trusts the CAs of the operating system.
    pub tls: Option<ClientTls>,
    /// The bearer token of the client.
    pub token: Option<String>,
    /// Timeout for connecting. Default: 5 s.
    pub connect_timeout: Duration,
    /// Timeout of a call; a claim may also take the time that it waits for work. Default: 30 s.
    pub timeout: Duration,
    /// Timeout of a call that may work on very many entities. An approval or a purge works on all
    /// that match, a deletion on all that refer to the entity. Default: 1 hour.
    pub bulk_timeout: Duration,
    /// Attempts to make an idempotent call while the server is unavailable. Default: 3.
    pub tries: u32,
    /// Largest message in bytes, in either direction. Default: 64 MiB.
    pub max_message: usize,
    /// Decoding limits for all packages of one message together.
    pub limits: Limits,
    /// Time without traffic during a call after which the server is probed. If it does not answer
    /// within the same time, the connection is closed. Default: 20 s.
    pub keepalive: Duration,
}

impl ClientSettings {
    /// Default settings for the server at `HOST:PORT`, or at an `http://` or `https://` URL.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            ..Self::default()
        }
    }
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            server: "[::1]:50050".to_owned(),
            tls: None,
            token: None,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            bulk_timeout: Duration::from_hours(1),
            tries: 3,
            max_message: 64 << 20,
            limits: Limits::default(),
            keepalive: Duration::from_secs(20),
        }
    }
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSettings")
            .field("server", &self.server)
            .field("tls", &self.tls.is_some())
            .field("token", &self.token.is_some())
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("bulk_timeout", &self.bulk_timeout)
            .field("tries", &self.tries)
            .field("max_message", &self.max_message)
            .finish_non_exhaustive()
    }
}

/// The CA that a client trusts, and its own certificate. `Debug` leaves out the key.
#[derive(Clone)]
pub struct ClientTls(ClientTlsConfig);

impl ClientTls {
    /// Trusts this CA, in PEM. `None`: trusts the CAs of the operating system.
    pub fn new(ca: Option<&[u8]>) -> Self {
        let config = ClientTlsConfig::new();
        Self(match ca {
            Some(ca) => config.ca_certificate(Certificate::from_pem(ca)),
            None => config.with_native_roots(),
        })
    }

    /// Presents this certificate chain with its key, in PEM.
    #[must_use]
    pub fn with_identity(self, certificate: &[u8], key: &[u8]) -> Self {
        Self(self.0.identity(Identity::from_pem(certificate, key)))
    }

    /// Expects this name in the server's certificate instead of the host name.
    #[must_use]
    pub fn with_name(self, name: &str) -> Self {
        Self(self.0.domain_name(name))
    }

    /// Reads PEM files: the CA, and the client's certificate with its key.
    ///
    /// # Errors
    /// [`BadArgument`](Error::BadArgument): a file cannot be read.
    pub fn read(ca: Option<&Path>, identity: Option<(&Path, &Path)>) -> Result<Self> {
        let ca = ca.map(read).transpose()?;
        let tls = Self::new(ca.as_deref());
        match identity {
            None => Ok(tls),
            Some((certificate, key)) => Ok(tls.with_identity(&read(certificate)?, &read(key)?)),
        }
    }

    pub(super) fn config(&self) -> ClientTlsConfig {
        self.0.clone()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::bad("file", format!("{}: {error}", path.display())))
}
