//! [`ClientCertificates`]: authentication by the certificate of a TLS client.

use crate::authenticate::Authenticate;
use crate::credentials::Credentials;
use async_trait::async_trait;
use tko_core::caller::ADMIN;
use tko_core::{Caller, Error, Result};

/// Names the caller by the common name in the subject of its client certificate, and gives it the
/// role [`ADMIN`]. To assign other roles, or to accept only some callers, use a
/// [`CallerFile`](crate::CallerFile).
///
/// The TLS handshake has verified the certificate against
/// [`ServerTls`](crate::ServerTls)'s client CA.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ClientCertificates;

impl ClientCertificates {
    /// Accepts requests on connections with a client certificate.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Authenticate for ClientCertificates {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Caller> {
        if credentials.certificate().is_none() {
            return Err(Error::Unauthenticated(
                "this server requires a client certificate".to_owned(),
            ));
        }
        let Some(name) = credentials.common_name() else {
            return Err(Error::Unauthenticated(
                "the subject of the client certificate has no common name".to_owned(),
            ));
        };
        let caller = Caller::new(&name).and_then(|caller| caller.role(ADMIN));
        caller.map_err(|error| {
            Error::Unauthenticated(format!("the client certificate's common name: {error}"))
        })
    }
}
