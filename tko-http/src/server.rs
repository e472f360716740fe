//! [`HttpServer`]: routes, connections, and a graceful shutdown.

use crate::context::{HttpContext, SharedContext};
use crate::feed::Feeds;
use crate::plugin_calls::{CallCounter, PluginCalls};
use crate::problem::ProblemResponse;
use crate::settings::HttpServerSettings;
use crate::{access, api, compatible, dashboard, security};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Admission, Caller, DataApi, PluginId, Result};
use tko_serve::{AcceptSettings, Access, Connection, HeavyWork, IDLE_TIMEOUT, Sockets};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};

/// Time without traffic after which the peer of an HTTP/2 connection is probed.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Maximum number of headers of one request.
const MAX_HEADERS: usize = 100;

/// Maximum number of requests without credentials that wait at once. Their bodies have at most
/// 16 KiB, so that together they use a small part of the bytes of requests in flight.
const MAX_UNAUTHENTICATED: usize = 1_024;

/// Serves an API as JSON over HTTP, and as a web dashboard.
pub struct HttpServer {
    api: Arc<dyn DataApi>,
    settings: HttpServerSettings,
    access: Access,
    admission: Option<Arc<dyn Admission>>,
    plugin_calls: Option<CallCounter>,
}

impl HttpServer {
    /// A server that admits anyone, on loopback only.
    pub fn new(api: Arc<dyn DataApi>) -> Self {
        Self {
            api,
            settings: HttpServerSettings::default(),
            access: Access::default(),
            admission: None,
            plugin_calls: None,
        }
    }

    /// Sets limits and timeouts.
    #[must_use]
    pub fn with_settings(self, settings: HttpServerSettings) -> Self {
        Self { settings, ..self }
    }

    /// Sets TLS, authentication and the permission to be open to the network.
    #[must_use]
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// Checks packages while they are edited, without storing them. Pass the admission of the store
    /// behind the API; without it, only the syntax is checked until they are saved.
    #[must_use]
    pub fn with_admission(self, admission: Arc<dyn Admission>) -> Self {
        Self {
            admission: Some(admission),
            ..self
        }
    }

    /// Shows how often plugins were called in this process. `calls` returns `None` for a plugin
    /// that nothing in this process has called.
    #[must_use]
    pub fn with_plugin_calls(
        self,
        calls: impl Fn(&PluginId) -> Option<PluginCalls> + Send + Sync + 'static,
    ) -> Self {
        Self {
            plugin_calls: Some(Box::new(calls)),
            ..self
        }
    }

    /// Serves on these sockets until `shutdown`. Returns when all requests have ended, at most
    /// [`HttpServerSettings::grace`] and a second later. From `shutdown` on, new connections are
    /// refused. Watches end at once.
    ///
    /// # Errors
    /// [`BadArgument`](tko_core::Error::BadArgument): the server would be open to the network; or a
    /// certificate or key is invalid.
    pub async fn serve(self, sockets: Sockets, shutdown: CancellationToken) -> Result<()> {
        let addresses = sockets.addresses();
        self.access.check(&addresses)?;
        let insecure = self.access.is_open(&addresses);
        if insecure {
            tracing::warn!(
                ?addresses,
                "serving HTTP to the network without TLS or without authentication"
            );
        }
        let ending = CancellationToken::new();
        let broken = CancellationToken::new();
        let grace = self.settings.grace;
        let mut accept = AcceptSettings::default();
        accept.tls.clone_from(&self.access.tls);
        accept.protocols = vec!["h2", "http/1.1"];
        accept.max_connections = self.settings.max_connections;
        accept.max_bytes_per_connection = self.settings.max_bytes_per_connection;
        accept.max_bytes = self.settings.max_bytes;
        let connections = tko_serve::accept(sockets, &accept, &broken)?;
        let protocol = protocol(&self.settings);
        let routes = self.into_routes(addresses.clone(), insecure, ending.clone());
        tracing::info!(?addresses, "serving HTTP");
        let tasks = TaskTracker::new();
        let (tracker, end) = (tasks.clone(), ending.clone());
        let start = move |connection| {
            let (routes, protocol) = (routes.clone(), protocol.clone());
            tracker.spawn(serve(connection, routes, protocol, end.clone()));
        };
        tko_serve::each_connection(connections, &shutdown, start).await;
        ending.cancel();
        tko_serve::drain(&tasks, grace, &broken).await;
        Ok(())
    }

    /// The routes without a transport, for callers that provide their own. Call it within a
    /// runtime.
    ///
    /// `insecure` says whether `addresses` are open to the network. It is shown to people, and a
    /// server that is not open answers only to names of its own machine. Watches end when `ending`
    /// is cancelled. Authentication is included; for client certificates the transport inserts a
    /// [`Peer`](tko_serve::Peer) into the extensions of each request. The transport is responsible
    /// for TLS, and for keeping open servers off the network.
    pub fn into_routes(
        self,
        addresses: Vec<SocketAddr>,
        insecure: bool,
        ending: CancellationToken,
    ) -> Router {
        let feeds = Feeds::follow(
            &self.api.clone().with_caller(Caller::process()),
            self.settings.backlog,
            &ending,
        );
        let context: SharedContext = Arc::new(HttpContext {
            authentication: self.access.authenticator(),
            tls: self.access.tls.is_some(),
            requests: Semaphore::new(self.settings.max_requests),
            unauthenticated: Semaphore::new(MAX_UNAUTHENTICATED),
            watches: Arc::new(Semaphore::new(self.settings.max_watches)),
            streamed_lists: Arc::new(Semaphore::new(self.settings.max_streamed_lists)),
            heavy_work: HeavyWork::default(),
            api: self.api,
            admission: self.admission,
            plugin_calls: self.plugin_calls,
            settings: self.settings,
            addresses,
            insecure,
            feeds,
            ending,
        });
        let compressed = DefaultPredicate::new()
            .and(NotForContentType::const_new("text/event-stream"))
            .and(NotForContentType::const_new(crate::media::NDJSON));
        let public = dashboard::public_routes().layer(from_fn_with_state(
            context.clone(),
            access::limit_unauthenticated,
        ));
        // The last layer sees a request first.
        Router::new()
            .merge(compatible::routes())
            .merge(api::routes())
            .merge(dashboard::routes())
            .method_not_allowed_fallback(wrong_method)
            .layer(from_fn_with_state(context.clone(), access::admit))
            .merge(public)
            .fallback(not_found)
            .layer(DefaultBodyLimit::max(context.settings.max_body))
            .layer(from_fn_with_state(context.clone(), access::limit))
            .layer(from_fn_with_state(context.clone(), security::guard))
            .layer(CompressionLayer::new().compress_when(compressed))
            .layer(from_fn(security::headers))
            .with_state(context)
    }
}

/// The protocols HTTP/1 and HTTP/2 with limits.
fn protocol(settings: &HttpServerSettings) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper counts from the end of the previous response, so idle time is included.
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(settings.max_header.max(8_192))
        .max_headers(MAX_HEADERS);
    let header = u32::try_from(settings.max_header).unwrap_or(u32::MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .max_concurrent_streams(100)
        .max_header_list_size(header)
        .adaptive_window(true);
    builder
}

/// Serves one connection until it ends, or until `ending`.
async fn serve(
    connection: Connection,
    routes: Router,
    protocol: auto::Builder<TokioExecutor>,
    ending: CancellationToken,
) {
    let peer = connection.peer().clone();
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        routes.clone().oneshot(request)
    });
    let mut serving = pin!(protocol.serve_connection(TokioIo::new(connection), service));
    let served = tokio::select! {
        served = &mut serving => served,
        () = ending.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = &*error, "a connection ended with an error");
    }
}

/// The answer for a method that a path does not have.
async fn wrong_method() -> ProblemResponse {
    ProblemResponse::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "this path does not have this method; the header Allow lists its methods, and \
         /api/v1/openapi.json describes them",
    )
}

/// The answer for paths that do not exist.
async fn not_found(request: Request) -> Response {
    if crate::media::accepts(request.headers(), "text/html") {
        return crate::dashboard::missing_page();
    }
    ProblemResponse::new(
        StatusCode::NOT_FOUND,
        "not-found",
        "there is nothing at this path; see /api/v1/openapi.json",
    )
    .into_response()
}
