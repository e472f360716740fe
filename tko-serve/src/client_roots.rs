//! Client certificates that a server verifies itself, against CAs that may change.

use rustls::RootCertStore;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Error, Result, Timestamp};

/// The CAs of one sort of clients.
#[derive(Clone)]
pub struct ClientRoots(Arc<dyn ClientCertVerifier>);

impl ClientRoots {
    /// Reads the certificates of CAs in PEM.
    ///
    /// # Errors
    /// [`BadArgument`](Error::BadArgument): there is none, or one is invalid.
    pub fn parse(pem: &[u8]) -> Result<Self> {
        let bad = |error: String| Error::bad("client CA", error);
        let mut roots = RootCertStore::empty();
        for ca in CertificateDer::pem_slice_iter(pem) {
            let ca = ca.map_err(|error| bad(error.to_string()))?;
            roots.add(ca).map_err(|error| bad(error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map(Self)
            .map_err(|error| bad(error.to_string()))
    }

    /// Whether a chain of DER certificates, the client's own first, leads to one of the CAs, is
    /// valid at this time, and is for clients.
    pub fn verifies(&self, chain: &[&[u8]], at: Timestamp) -> bool {
        let Some((own, rest)) = chain.split_first() else {
            return false;
        };
        let micros = u64::try_from(at.0).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_micros(micros));
        let rest: Vec<_> = rest.iter().map(|der| CertificateDer::from(*der)).collect();
        self.0
            .verify_client_cert(&CertificateDer::from(*own), &rest, now)
            .is_ok()
    }
}

impl fmt::Debug for ClientRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRoots").finish_non_exhaustive()
    }
}

/// Requests client certificates and leaves their verification to the server. The handshake proves
/// only that the client has the key.
#[derive(Debug)]
pub(crate) struct AnyClientCertificate(pub(crate) Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClientCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
