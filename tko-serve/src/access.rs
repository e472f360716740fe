//! [`Access`]: who may connect, and the rule that keeps open servers off the network.

use crate::authenticate::{Anyone, Authenticate};
use crate::client_certificates::ClientCertificates;
use crate::tls::ServerTls;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use tko_core::{Error, Result};

/// TLS, authentication, and whether the server may be open to the network.
///
/// The default admits every caller in plaintext, which [`Access::check`] permits on loopback only.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Access {
    /// The server's certificate, and the CA of its clients. `None`: plaintext.
    pub tls: Option<ServerTls>,
    /// How callers are authenticated. `None`: by client certificate if [`tls`](Self::tls) requires
    /// one, otherwise not at all.
    pub authentication: Option<Arc<dyn Authenticate>>,
    /// Permits listening on the network without TLS or without authentication.
    pub insecure: bool,
}

impl Access {
    /// Admits every caller in plaintext, on loopback only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves with TLS.
    #[must_use]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets how callers are authenticated.
    #[must_use]
    pub fn authentication(mut self, authentication: Arc<dyn Authenticate>) -> Self {
        self.authentication = Some(authentication);
        self
    }

    /// Permits listening on the network without TLS or without authentication.
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// The authentication that applies: the configured one, else client certificates if TLS
    /// requires them, else [`Anyone`].
    pub fn authenticator(&self) -> Arc<dyn Authenticate> {
        match (&self.authentication, &self.tls) {
            (Some(authentication), _) => authentication.clone(),
            (None, Some(tls)) if tls.requires_certificate() => Arc::new(ClientCertificates::new()),
            (None, _) => Arc::new(Anyone::new()),
        }
    }

    /// Whether requests without credentials are accepted.
    pub fn admits_anyone(&self) -> bool {
        let requires_certificate = self
            .tls
            .as_ref()
            .is_some_and(ServerTls::requires_certificate);
        !requires_certificate && self.authenticator().admits_anyone()
    }

    /// Whether listening on these addresses leaves the server open to the network.
    pub fn is_open(&self, addresses: &[SocketAddr]) -> bool {
        let closed = self.tls.is_some() && !self.admits_anyone();
        !closed && addresses.iter().any(|address| !is_loopback(*address))
    }

    /// Checks that the server is closed, or that every address is on loopback, or that
    /// [`insecure`](Self::insecure) is set.
    ///
    /// # Errors
    /// [`BadArgument`](Error::BadArgument): none of these is true; the error says what is missing.
    pub fn check(&self, addresses: &[SocketAddr]) -> Result<()> {
        if self.insecure || !self.is_open(addresses) {
            return Ok(());
        }
        let missing = match (self.tls.is_some(), self.admits_anyone()) {
            (false, true) => "TLS and authentication",
            (false, false) => "TLS",
            (true, _) => "authentication",
        };
        let address = addresses
            .iter()
            .find(|address| !is_loopback(**address))
            .map_or_else(String::new, ToString::to_string);
        Err(Error::bad(
            "listen address",
            format!(
                "{address} is open to the network without {missing}; configure a certificate \
                 with its key, and a client CA or bearer tokens; or remove the address to listen \
                 on loopback; or allow this with the insecure option"
            ),
        ))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("tls", &self.tls)
            .field("admits_anyone", &self.admits_anyone())
            .field("insecure", &self.insecure)
            .finish_non_exhaustive()
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
