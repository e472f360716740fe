//! Which server, and how to speak with it.

use std::fmt;
use std::path::Path;
use std::time::Duration;
use tko_core::{Error, Limits, Result};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// Which server, and how to speak with it. `Debug` leaves out the token.
#[derive(Clone)]
#[non_exhaustive]
pub struct Settings {
    /// `HOST:PORT`, or an `http://` or `https://` URL. Default: `[::1]:50050`.
    pub server: String,
    /// Encrypts, and proves who the server is. `https://` without it trusts what the system does.
    pub tls: Option<Tls>,
    /// Proves who the client is.
    pub token: Option<String>,
    /// Time for a connection to be made. Default: 5 s.
    pub connect_timeout: Duration,
    /// Time for a call; for due work, beyond what it waits. Default: 30 s.
    pub timeout: Duration,
    /// Time for a call that works on all that match. Default: 1 hour.
    pub bulk_timeout: Duration,
    /// How often a call that can be repeated without harm is made before the caller is told that
    /// the server is unavailable. Default: 3.
    pub tries: u32,
    /// Largest message, in bytes, in and out. Default: 64 MiB.
    pub max_message: usize,
    /// What one message's packages may ask of their reader.
    pub limits: Limits,
    /// A server that is silent for so long during a call is asked whether it is there, and given
    /// up if it does not answer in the same time. Default: 20 s.
    pub keepalive: Duration,
}

impl Settings {
    /// For the server at `HOST:PORT`, or at an `http://` or `https://` URL.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            ..Self::default()
        }
    }
}

impl Default for Settings {
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

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
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

/// Whom a client trusts, and who it is. `Debug` leaves out the key.
#[derive(Clone)]
pub struct Tls(ClientTlsConfig);

impl Tls {
    /// From PEM: the CA that signed the server's certificate (none: those that the system trusts).
    pub fn new(ca: Option<&[u8]>) -> Self {
        let config = ClientTlsConfig::new();
        Self(match ca {
            Some(ca) => config.ca_certificate(Certificate::from_pem(ca)),
            None => config.with_native_roots(),
        })
    }

    /// From PEM: the client's own certificate (with its chain) and its key.
    #[must_use]
    pub fn with_identity(self, certificate: &[u8], key: &[u8]) -> Self {
        Self(self.0.identity(Identity::from_pem(certificate, key)))
    }

    /// Expects this name in the server's certificate, not the host that is connected to.
    #[must_use]
    pub fn with_name(self, name: &str) -> Self {
        Self(self.0.domain_name(name))
    }

    /// From PEM files: a CA; and a certificate and key, if the client has them.
    ///
    /// # Errors
    /// `BadArgument`: a file that cannot be read.
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

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::bad("file", format!("{}: {error}", path.display())))
}
