//! [`serve_http`]: serves HTTP/1.1 and HTTP/2 over accepted connections.

use crate::accept::{AcceptSettings, accept};
use crate::listen::Sockets;
use futures_core::Stream;
use futures_util::StreamExt;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::io;
use std::time::Duration;
use tko_core::{BoxError, Result};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::connection::Connection;

/// Bytes that a client may send before the server reads them: for one request, and for one
/// connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Time that an HTTP/1 connection may take from one response to the next complete request head.
///
/// It exceeds the time that proxies keep unused connections, such as the 600 s of Google Cloud. A
/// proxy with a longer time could send a request while the server closes the connection.
/// Connections without an authenticated request end sooner:
/// [`AcceptSettings::first_request`](crate::AcceptSettings::first_request) limits their first
/// request, and each further one has a minute.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(620);

/// Time for aborted requests to end.
const ABORT_TIME: Duration = Duration::from_secs(1);

/// Limits and timeouts of [`serve_http`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpSettings {
    /// How connections are accepted. [`serve_http`] sets the protocols `h2` and `http/1.1` if there
    /// are none.
    pub accept: AcceptSettings,
    /// Maximum number of requests at once on one HTTP/2 connection. Default: 1,000.
    pub max_streams: u32,
    /// Time that an HTTP/1 connection may take from one response to the next complete request head.
    /// Default: [`IDLE_TIMEOUT`].
    pub idle_timeout: Duration,
    /// Interval of pings on HTTP/2 connections, and the time to wait for each answer. Default: 30 s.
    pub keepalive: Duration,
    /// Grace period for requests in flight at shutdown. Default: 10 s.
    pub grace: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            accept: AcceptSettings::default(),
            max_streams: 1_000,
            idle_timeout: IDLE_TIMEOUT,
            keepalive: Duration::from_secs(30),
            grace: Duration::from_secs(10),
        }
    }
}

/// Serves HTTP/1.1 and HTTP/2 until `shutdown`. Returns when all requests have ended, at most
/// [`HttpSettings::grace`] and a second later. From `shutdown` on, new connections are refused.
///
/// Each request has the [`Peer`](crate::Peer) of its connection in its extensions. The service does
/// not check [`Access`](crate::Access): call [`Access::check`](crate::Access::check) before, and
/// authenticate each request.
///
/// # Errors
/// [`BadArgument`](tko_core::Error::BadArgument): a certificate, key or CA is invalid.
pub async fn serve_http<S, B>(
    sockets: Sockets,
    settings: &HttpSettings,
    service: S,
    shutdown: CancellationToken,
) -> Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut accepting = settings.accept.clone();
    if accepting.protocols.is_empty() {
        accepting.protocols = vec!["h2", "http/1.1"];
    }
    let broken = CancellationToken::new();
    let tracker = TaskTracker::new();
    let connections = accept(sockets, &accepting, &broken)?;
    let (tasks, stop) = (tracker.clone(), shutdown.clone());
    let start = move |connection| {
        tasks.spawn(serve(connection, settings, service.clone(), stop.clone()));
    };
    each_connection(connections, &shutdown, start).await;
    drain(&tracker, settings.grace, &broken).await;
    Ok(())
}

/// Passes each connection to `serve`, until `shutdown`. Then it closes the listeners, so that new
/// clients are refused at once instead of waiting for the end of a [`drain`].
pub async fn each_connection(
    connections: impl Stream<Item = io::Result<Connection>>,
    shutdown: &CancellationToken,
    mut serve: impl FnMut(Connection),
) {
    let mut connections = std::pin::pin!(connections);
    loop {
        let connection = tokio::select! {
            () = shutdown.cancelled() => break,
            connection = connections.next() => connection,
        };
        match connection {
            Some(Ok(connection)) => serve(connection),
            Some(Err(error)) => tracing::debug!(%error, "could not accept a connection"),
            None => break,
        }
    }
}

/// Waits until the tasks of all connections have ended, at most for the grace period and a second.
/// After the grace period it cancels `broken`, the token with which they were
/// [accepted](crate::accept()).
///
/// [`HeavyWork`](crate::HeavyWork) cannot be aborted: it keeps its thread until it is done, and is
/// not waited for.
pub async fn drain(tasks: &TaskTracker, grace: Duration, broken: &CancellationToken) {
    tasks.close();
    if tokio::time::timeout(grace, tasks.wait()).await.is_ok() {
        return;
    }
    tracing::warn!(?grace, "aborting requests that exceeded the grace period");
    broken.cancel();
    let ended = tokio::time::timeout(ABORT_TIME, tasks.wait()).await;
    if ended.is_err() {
        tracing::warn!("some requests still compute and cannot be aborted; not waiting for them");
    }
}

/// Serves the requests of one connection. After the shutdown, those that have begun are finished.
fn serve<S, B>(
    connection: Connection,
    settings: &HttpSettings,
    service: S,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static + use<S, B>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper counts from the end of the previous response, so idle time is included.
        .header_read_timeout(settings.idle_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(settings.keepalive)
        .keep_alive_timeout(settings.keepalive);
    let peer = connection.peer().clone();
    let respond = service_fn(move |mut request: Request<Incoming>| {
        peer.note_request();
        request.extensions_mut().insert(peer.clone());
        let mut service = service.clone();
        async move {
            std::future::poll_fn(|context| service.poll_ready(context)).await?;
            service.call(request).await
        }
    });
    async move {
        let serving = builder.serve_connection(TokioIo::new(connection), respond);
        let mut serving = std::pin::pin!(serving);
        let served = tokio::select! {
            served = &mut serving => served,
            () = shutdown.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(
                error = tko_core::error::chain(&*error),
                "a connection failed"
            );
        }
    }
}

#[cfg(test)]
mod tests;
