//! [`Credentials`]: the data with which a request proves its caller.

use crate::certificate::CertificateSubject;
use crate::connection::Peer;
use std::fmt;

/// The credentials of one request: bearer token, client certificate, peer address and interface.
///
/// `Debug` leaves out the token.
#[derive(Clone)]
pub struct Credentials {
    interface: &'static str,
    bearer: Option<String>,
    peer: Option<Peer>,
}

impl Credentials {
    /// No credentials, through the interface with this name, such as `grpc`.
    pub fn new(interface: &'static str) -> Self {
        Self {
            interface,
            bearer: None,
            peer: None,
        }
    }

    /// Sets the bearer token, without the word `Bearer`.
    #[must_use]
    pub fn with_bearer(mut self, token: impl Into<String>) -> Self {
        self.bearer = Some(token.into());
        self
    }

    /// Takes the bearer token from the value of an `authorization` header. Other schemes are
    /// ignored.
    #[must_use]
    pub fn with_authorization(self, header: &str) -> Self {
        match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                self.with_bearer(token.trim())
            }
            _ => self,
        }
    }

    /// Sets the peer: its address and the certificate that it presented.
    #[must_use]
    pub fn with_peer(mut self, peer: Peer) -> Self {
        self.peer = Some(peer);
        self
    }

    /// The interface that the request came through, such as `grpc`.
    pub fn interface(&self) -> &'static str {
        self.interface
    }

    /// The bearer token, if there is one.
    pub fn bearer(&self) -> Option<&str> {
        self.bearer.as_deref()
    }

    /// The peer of the connection, if known.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// The client's certificate in DER, verified against the server's client CA.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.peer.as_ref()?.certificates().next()
    }

    /// The subject of the client's certificate.
    pub fn subject(&self) -> Option<CertificateSubject> {
        CertificateSubject::of(self.certificate()?)
    }

    /// The common name in the subject of the client's certificate.
    pub fn common_name(&self) -> Option<String> {
        self.subject()?.common_name().map(str::to_owned)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("interface", &self.interface)
            .field("has_bearer", &self.bearer.is_some())
            .field("peer", &self.peer)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Credentials;

    #[test]
    fn the_token_comes_from_the_bearer_scheme_only() {
        for (header, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("abc", None),
            ("", None),
        ] {
            let credentials = Credentials::new("grpc").with_authorization(header);
            assert_eq!(credentials.bearer(), token, "{header:?}");
        }
    }

    #[test]
    fn debug_leaves_out_the_token() {
        let credentials = Credentials::new("grpc").with_bearer("hunter2");
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
