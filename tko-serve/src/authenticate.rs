//! [`Authenticate`]: decides who makes a request.

use crate::credentials::Credentials;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tko_core::caller::ADMIN;
use tko_core::{Caller, Error, Result};

/// Longest time that the authentication of one request may take.
pub const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Decides who makes a request, from the credentials that came with it.
///
/// Called once for each request, so it must be fast or cache its answers. It must not log or
/// return secrets.
#[async_trait]
pub trait Authenticate: Send + Sync + 'static {
    /// Returns the caller of a request.
    ///
    /// # Errors
    /// - [`Unauthenticated`](Error::Unauthenticated): credentials are missing, unknown or expired.
    /// - [`Forbidden`](Error::Forbidden): the caller is known but may not use this server.
    /// - [`Unavailable`](Error::Unavailable): the identity provider cannot be reached.
    async fn authenticate(&self, credentials: &Credentials) -> Result<Caller>;

    /// Whether requests without credentials are accepted. Such a server may listen on loopback
    /// only. Default: no.
    fn admits_anyone(&self) -> bool {
        false
    }
}

/// Authenticates a request within [`AUTHENTICATION_TIMEOUT`], and records the interface in the
/// caller.
///
/// Every interface calls this. A refusal is logged with the peer's address, counted, and answered
/// after a delay that grows with each refusal of that address. Pass the
/// [peer](Credentials::with_peer), so that the connection counts as authenticated.
///
/// # Errors
/// As [`Authenticate::authenticate`]; [`Unavailable`](Error::Unavailable) also after the timeout.
pub async fn authenticate(
    authentication: &dyn Authenticate,
    credentials: &Credentials,
) -> Result<Caller> {
    let caller = tokio::time::timeout(
        AUTHENTICATION_TIMEOUT,
        authentication.authenticate(credentials),
    )
    .await
    .unwrap_or_else(|elapsed| Err(Error::unavailable("authenticate the caller", elapsed)));
    if let Some(peer) = credentials.peer() {
        peer.note_request();
    }
    let caller = match caller {
        Err(error @ (Error::Unauthenticated(_) | Error::Forbidden(_))) => {
            let _waiting = credentials.peer().and_then(crate::Peer::note_refused);
            tokio::time::sleep(crate::refusals::record(credentials, &error)).await;
            return Err(error);
        }
        decided => decided?,
    };
    if let Some(peer) = credentials.peer() {
        peer.note_authenticated();
        crate::refusals::forget(peer);
    }
    match caller.via() {
        Some(_) => Ok(caller),
        None => caller.interface(credentials.interface()),
    }
}

/// Accepts every request as the caller `anonymous`, with the role [`ADMIN`]. For loopback only.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Anyone;

impl Anyone {
    /// Accepts every request.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Authenticate for Anyone {
    async fn authenticate(&self, _: &Credentials) -> Result<Caller> {
        Caller::new("anonymous")?.role(ADMIN)
    }

    fn admits_anyone(&self) -> bool {
        true
    }
}

/// Tries several implementations in order; the first that accepts the request names the caller.
///
/// Any error other than [`Unauthenticated`](Error::Unauthenticated) ends the attempt. If all refuse,
/// the error is that of the last one.
#[derive(Clone)]
pub struct FirstOf(Vec<Arc<dyn Authenticate>>);

impl FirstOf {
    /// Tries these in order.
    pub fn new(all: impl IntoIterator<Item = Arc<dyn Authenticate>>) -> Self {
        Self(all.into_iter().collect())
    }
}

#[async_trait]
impl Authenticate for FirstOf {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Caller> {
        let mut refused = Error::Unauthenticated("this server accepts no credentials".to_owned());
        for authentication in &self.0 {
            match authentication.authenticate(credentials).await {
                Err(error @ Error::Unauthenticated(_)) => refused = error,
                decided => return decided,
            }
        }
        Err(refused)
    }

    fn admits_anyone(&self) -> bool {
        self.0.iter().any(|one| one.admits_anyone())
    }
}
