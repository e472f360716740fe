//! [`HttpContext`]: what all handlers share, and [`ApiCaller`], the API on behalf of one caller.

use crate::feed::Feeds;
use crate::problem::ProblemResponse;
use crate::settings::HttpSettings;
use axum::extract::FromRequestParts;
use http::request::Parts;
use std::net::SocketAddr;
use std::sync::Arc;
use tko_core::{Caller, DataApi, Error};
use tko_serve::Authenticate;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The parts of a server that all handlers share.
pub(crate) struct HttpContext {
    pub(crate) api: Arc<dyn DataApi>,
    pub(crate) settings: HttpSettings,
    pub(crate) authentication: Arc<dyn Authenticate>,
    /// The addresses that the server listens on.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Whether the server is open to the network without TLS or authentication.
    pub(crate) insecure: bool,
    /// Whether connections use TLS, so that cookies can be restricted to it.
    pub(crate) tls: bool,
    /// Permits of requests that are worked on.
    pub(crate) requests: Arc<Semaphore>,
    /// Permits of watches.
    pub(crate) watches: Arc<Semaphore>,
    pub(crate) feeds: Arc<Feeds>,
    /// Ends watches when the server stops.
    pub(crate) ending: CancellationToken,
}

/// The shared state of the routes.
pub(crate) type SharedContext = Arc<HttpContext>;

/// The API on behalf of the caller of a request.
pub(crate) struct ApiCaller {
    pub(crate) api: Arc<dyn DataApi>,
    pub(crate) caller: Caller,
}

impl FromRequestParts<SharedContext> for ApiCaller {
    type Rejection = ProblemResponse;

    async fn from_request_parts(
        parts: &mut Parts,
        context: &SharedContext,
    ) -> Result<Self, Self::Rejection> {
        let caller = parts.extensions.get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| {
            Error::Unauthenticated("the request has no caller; sign in first".to_owned())
        })?;
        Ok(Self {
            api: context.api.clone().with_caller(caller.clone()),
            caller,
        })
    }
}
