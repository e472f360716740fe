//! Who gets in: TLS, client certificates, bearer tokens; and the rule that keeps an open server off
//! the network unless someone says that it shall be there.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Error, Result};
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

/// Largest file of certificates, keys or tokens.
const MAX_FILE: u64 = 1 << 20;

/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Who gets in. The default is everyone, in plaintext, which is for loopback alone.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Encrypts, and proves who the server is.
    pub tls: Option<Tls>,
    /// Callers prove themselves by one of these.
    pub tokens: Option<Tokens>,
    /// Listens to the network even without TLS or authentication.
    pub insecure: bool,
}

impl Access {
    /// Whether listening on these addresses leaves data open to the network.
    pub fn is_open(&self, addresses: &[SocketAddr]) -> bool {
        let authenticates =
            self.tokens.is_some() || self.tls.as_ref().is_some_and(|tls| tls.clients.is_some());
        let closed = self.tls.is_some() && authenticates;
        !closed && addresses.iter().any(|address| !is_loopback(*address))
    }

    /// The rule: what is not on loopback takes TLS and authentication, or an explicit
    /// `insecure`.
    ///
    /// # Errors
    /// `BadArgument`: it does not; says what to do.
    pub fn check(&self, addresses: &[SocketAddr]) -> Result<()> {
        if self.insecure || !self.is_open(addresses) {
            return Ok(());
        }
        let lacks = match (&self.tls, &self.tokens) {
            (None, None) => "TLS and authentication",
            (None, Some(_)) => "TLS",
            (Some(_), _) => "authentication",
        };
        let address = addresses
            .iter()
            .find(|address| !is_loopback(**address))
            .map_or_else(String::new, ToString::to_string);
        Err(Error::bad(
            "gRPC address",
            format!(
                "{address} is open to the network, and there is no {lacks}; give a certificate \
                 with its key, and a client CA or a file of bearer tokens; or leave out the \
                 address to listen on loopback; or say that it shall be insecure"
            ),
        ))
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// A server's certificate, and whose clients it trusts. `Debug` leaves out the key.
#[derive(Clone)]
pub struct Tls {
    identity: Identity,
    clients: Option<Certificate>,
}

impl Tls {
    /// From PEM: the certificate (with its chain) and its key; and the CA that signs clients'
    /// certificates, which all clients then need.
    pub fn new(certificate: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Self {
        Self {
            identity: Identity::from_pem(certificate, key),
            clients: client_ca.map(Certificate::from_pem),
        }
    }

    /// From PEM files.
    ///
    /// # Errors
    /// `BadArgument`: a file that cannot be read.
    pub fn read(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Self> {
        let client_ca = client_ca.map(read).transpose()?;
        Ok(Self::new(
            &read(certificate)?,
            &read(key)?,
            client_ca.as_deref(),
        ))
    }

    pub(super) fn config(&self) -> ServerTlsConfig {
        let config = ServerTlsConfig::new()
            .identity(self.identity.clone())
            .timeout(HANDSHAKE);
        match &self.clients {
            Some(ca) => config.client_ca_root(ca.clone()),
            None => config,
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("authenticates_clients", &self.clients.is_some())
            .finish_non_exhaustive()
    }
}

/// Bearer tokens, any of which lets a caller in. `Debug` leaves them out.
#[derive(Clone)]
pub struct Tokens(Arc<[String]>);

impl Tokens {
    /// One token a line; empty lines and those that start with `#` are passed over.
    ///
    /// # Errors
    /// `BadArgument`: none; or one that is shorter than 16 characters, or has others than visible
    /// ASCII.
    pub fn parse(text: &str) -> Result<Self> {
        let tokens: Arc<[String]> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect();
        if tokens.is_empty() {
            return Err(Error::bad(
                "bearer tokens",
                "there are none; give one a line",
            ));
        }
        let poor =
            |token: &String| token.len() < 16 || !token.bytes().all(|b| b.is_ascii_graphic());
        if let Some(at) = tokens.iter().position(poor) {
            return Err(Error::bad(
                "bearer tokens",
                format!(
                    "number {} is no good; a token has at least 16 characters, of visible ASCII",
                    at + 1
                ),
            ));
        }
        Ok(Self(tokens))
    }

    /// From a file.
    ///
    /// # Errors
    /// `BadArgument`: it cannot be read; as [`Tokens::parse`].
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read(path)?;
        let text = str::from_utf8(&bytes)
            .map_err(|error| Error::bad("bearer tokens", format!("{}: {error}", path.display())))?;
        Self::parse(text)
    }

    /// Whether a call has one of them as its `authorization`.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub(super) fn check(&self, metadata: &MetadataMap) -> Result<()> {
        let given = metadata
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let Some(given) = given else {
            return Err(Error::Unauthenticated(
                "this server takes a bearer token; send one as authorization".to_owned(),
            ));
        };
        // All are compared, so that time does not tell which is nearly right.
        let known = self
            .0
            .iter()
            .fold(false, |known, token| known | same(token, given));
        if known {
            return Ok(());
        }
        Err(Error::Unauthenticated(
            "this server does not know that bearer token".to_owned(),
        ))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

/// Takes the same time wherever two texts of one length differ.
fn same(one: &str, other: &str) -> bool {
    one.len() == other.len()
        && one
            .bytes()
            .zip(other.bytes())
            .fold(0, |differs, (a, b)| differs | (a ^ b))
            == 0
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let bad = |why: String| Error::bad("file", format!("{}: {why}", path.display()));
    let size = std::fs::metadata(path)
        .map_err(|error| bad(error.to_string()))?
        .len();
    if size > MAX_FILE {
        return Err(bad(format!(
            "has {size} bytes; at most {MAX_FILE} are read"
        )));
    }
    std::fs::read(path).map_err(|error| bad(error.to_string()))
}
