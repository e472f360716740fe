//! [`HttpContext`], which all handlers share, and [`ApiCaller`], the API on behalf of one caller.

use crate::feed::Feeds;
use crate::plugin_calls::CallCounter;
use crate::problem::ProblemResponse;
use crate::settings::HttpServerSettings;
use axum::extract::FromRequestParts;
use http::request::Parts;
use std::net::SocketAddr;
use std::sync::Arc;
use tko_core::{Admission, Caller, DataApi, Error};
use tko_serve::{Authenticate, HeavyWork};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The parts of a server that all handlers share.
pub(crate) struct HttpContext {
    pub(crate) api: Arc<dyn DataApi>,
    /// Checks packages that are being edited, before they are saved.
    pub(crate) admission: Option<Arc<dyn Admission>>,
    /// Counts of plugin calls in this process, if it has any.
    pub(crate) plugin_calls: Option<CallCounter>,
    pub(crate) settings: HttpServerSettings,
    pub(crate) authentication: Arc<dyn Authenticate>,
    /// The addresses that the server listens on.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Whether this server is open to the network without TLS or authentication.
    pub(crate) insecure: bool,
    /// Whether connections use TLS, so that cookies can be restricted to it.
    pub(crate) tls: bool,
    /// Permits for requests of authenticated callers in progress.
    pub(crate) requests: Semaphore,
    /// Permits for requests without credentials that can wait.
    pub(crate) unauthenticated: Semaphore,
    /// Permits for watches.
    pub(crate) watches: Arc<Semaphore>,
    /// Permits for streamed lists, until their last byte.
    pub(crate) streamed_lists: Arc<Semaphore>,
    /// Permits for decoding large packages.
    pub(crate) heavy_work: HeavyWork,
    pub(crate) feeds: Arc<Feeds>,
    /// Ends watches when the server stops.
    pub(crate) ending: CancellationToken,
}

impl HttpContext {
    /// Whether this server or another interface of the process is open to the network, as shown to
    /// people.
    pub(crate) fn reports_insecure(&self) -> bool {
        self.insecure || self.settings.reports_insecure
    }
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

impl ApiCaller {
    /// Whether the caller may read everything. Counts that are shared by all callers must not be
    /// shown to others.
    pub(crate) fn reads_all(&self) -> bool {
        self.caller.reads_all()
    }

    /// Refuses a caller who may not read everything.
    ///
    /// # Errors
    /// [`Forbidden`](Error::Forbidden).
    pub(crate) fn require_all(&self) -> Result<(), Error> {
        if self.reads_all() {
            return Ok(());
        }
        Err(Error::Forbidden(format!(
            "{} may read a part of the data; this is about all of it",
            self.caller
        )))
    }
}
