//! [`ServerTls`]: the server's certificate, and the CA that signs client certificates.

use crate::certificate::valid_until;
use crate::client_roots::AnyClientCertificate;
use crate::file::read;
use crate::reload::Reloaded;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tko_core::{BoxError, Error, Result};
use tokio_rustls::TlsAcceptor;

/// A server's certificate and key, and the CA of its clients. `Debug` leaves out the key.
#[derive(Clone)]
pub struct ServerTls {
    certificate: Arc<[u8]>,
    key: Arc<[u8]>,
    client_ca: Option<Arc<[u8]>>,
    client_certificate_optional: bool,
    client_certificate_unverified: bool,
    /// The files that the PEM was read from: certificate, key and CA. Empty if the PEM was passed
    /// directly.
    files: Vec<PathBuf>,
}

/// How many days before a certificate expires its use is logged as a warning.
const EXPIRY_WARNING_DAYS: i64 = 14;

impl ServerTls {
    /// Takes PEM: the certificate chain, its key, and optionally the CA that signs client
    /// certificates. With a CA, every client must present a certificate.
    ///
    /// The PEM is parsed when the server starts.
    pub fn new(certificate: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            client_ca: client_ca.map(Into::into),
            client_certificate_optional: false,
            client_certificate_unverified: false,
            files: Vec::new(),
        }
    }

    /// Reads PEM files. A running server reads them again within a second after they changed. If
    /// the new ones are invalid, the old ones stay in use and an error is logged.
    ///
    /// # Errors
    /// [`BadArgument`](Error::BadArgument): a file cannot be read.
    pub fn read(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Self> {
        let client_ca_pem = client_ca.map(read).transpose()?;
        let mut tls = Self::new(&read(certificate)?, &read(key)?, client_ca_pem.as_deref());
        let files = [Some(certificate), Some(key), client_ca];
        tls.files = files.into_iter().flatten().map(Path::to_owned).collect();
        Ok(tls)
    }

    /// Also completes the handshake with clients that present no certificate, so that they can
    /// authenticate in another way.
    #[must_use]
    pub fn with_optional_client_certificate(mut self) -> Self {
        self.client_certificate_optional = true;
        self
    }

    /// Requests a certificate from clients, and accepts any or none: the server verifies it itself.
    /// It finds the certificate in [`Peer::presented`](crate::Peer::presented).
    #[must_use]
    pub fn with_unverified_client_certificate(mut self) -> Self {
        self.client_certificate_unverified = true;
        self
    }

    /// Whether the handshake fails without a client certificate.
    pub fn requires_certificate(&self) -> bool {
        self.client_ca.is_some()
            && !self.client_certificate_optional
            && !self.client_certificate_unverified
    }

    /// The acceptor, which changes with the files.
    pub(crate) fn acceptors(&self, protocols: &[&'static str]) -> Result<TlsAcceptors> {
        let (tls, protocols) = (self.clone(), protocols.to_vec());
        let load = move || tls.reread()?.acceptor(&protocols);
        let acceptor = Reloaded::new("the certificates", self.files.clone(), load)?;
        Ok(TlsAcceptors {
            acceptor: Arc::new(acceptor),
            verifies: !self.client_certificate_unverified,
        })
    }

    /// The same with the current content of the files.
    fn reread(&self) -> Result<Self> {
        let [certificate, key, rest @ ..] = self.files.as_slice() else {
            return Ok(self.clone());
        };
        let mut tls = Self::read(certificate, key, rest.first().map(PathBuf::as_path))?;
        tls.client_certificate_optional = self.client_certificate_optional;
        tls.client_certificate_unverified = self.client_certificate_unverified;
        Ok(tls)
    }

    /// Builds the acceptor, which offers these application protocols, such as `h2`.
    pub(crate) fn acceptor(&self, protocols: &[&str]) -> Result<TlsAcceptor> {
        let invalid = |source: BoxError| {
            Error::bad("TLS certificate and key", tko_core::error::chain(&*source))
        };
        let chain = certificates(&self.certificate).map_err(invalid)?;
        warn_of_expiry(chain.first());
        let key =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| invalid(error.into()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid(error.into()))?;
        let builder = match &self.client_ca {
            _ if self.client_certificate_unverified => {
                builder.with_client_cert_verifier(Arc::new(AnyClientCertificate(provider)))
            }
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                for ca in certificates(ca).map_err(invalid)? {
                    roots.add(ca).map_err(|error| invalid(error.into()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = if self.client_certificate_optional {
                    verifier.allow_unauthenticated()
                } else {
                    verifier
                };
                let verifier = verifier.build().map_err(|error| invalid(error.into()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| invalid(error.into()))?;
        config.alpn_protocols = protocols
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// The acceptor of a server, which changes with its files.
#[derive(Clone)]
pub(crate) struct TlsAcceptors {
    acceptor: Arc<Reloaded<TlsAcceptor>>,
    /// Whether the handshake verifies client certificates.
    verifies: bool,
}

impl TlsAcceptors {
    /// The acceptor for the next connection.
    pub(crate) fn current(&self) -> TlsAcceptor {
        TlsAcceptor::clone(&self.acceptor.current())
    }

    /// Whether the handshake verifies client certificates.
    pub(crate) fn verifies(&self) -> bool {
        self.verifies
    }
}

/// Logs that a certificate has expired, or will soon.
#[allow(clippy::disallowed_methods)] // Certificates end by the time of day, which no clock of tests is.
fn warn_of_expiry(certificate: Option<&CertificateDer<'_>>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let Some(days) = certificate
        .and_then(|der| valid_until(der))
        .map(|end| (end - now).div_euclid(86_400))
    else {
        return;
    };
    if days < 0 {
        tracing::error!(
            days_ago = -days,
            "the server's certificate has expired: clients refuse it; replace its file"
        );
    } else if days < EXPIRY_WARNING_DAYS {
        tracing::warn!(
            days,
            "the server's certificate expires soon; replace its file"
        );
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BoxError> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() {
        return Err("there is no certificate in the PEM".into());
    }
    Ok(all)
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("requires_certificate", &self.requires_certificate())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{ServerTls, TlsAcceptors};
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use std::path::Path;
    use std::sync::Arc;
    use tokio_rustls::TlsConnector;

    /// Writes a new certificate and its key. Returns the certificate.
    fn renew(folder: &Path) -> CertificateDer<'static> {
        let new = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a key");
        std::fs::write(folder.join("certificate"), new.cert.pem()).expect("written");
        std::fs::write(folder.join("key"), new.signing_key.serialize_pem()).expect("written");
        new.cert.der().clone()
    }

    /// Whether a client that trusts only this certificate completes a handshake.
    async fn trusts(acceptors: &TlsAcceptors, certificate: &CertificateDer<'static>) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (client, server) = tokio::io::duplex(1 << 16);
        acceptors.acceptor.check_now();
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        let (client, _) = tokio::join!(
            connector.connect(name, client),
            acceptors.current().accept(server)
        );
        client.is_ok()
    }

    #[tokio::test]
    async fn s13_a_changed_certificate_is_used_and_an_invalid_one_is_not() {
        let folder = std::env::temp_dir().join(format!("tko-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let first = renew(&folder);
        let tls = ServerTls::read(&folder.join("certificate"), &folder.join("key"), None);
        let acceptors = tls.expect("read").acceptors(&[]).expect("valid");
        assert!(trusts(&acceptors, &first).await);
        let second = renew(&folder);
        assert!(trusts(&acceptors, &second).await);
        assert!(!trusts(&acceptors, &first).await);
        std::fs::write(folder.join("certificate"), "cut o").expect("written");
        assert!(trusts(&acceptors, &second).await, "the former one is kept");
        std::fs::remove_dir_all(&folder).expect("it exists");
    }
}
