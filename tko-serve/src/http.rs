//! [`serve_http`]: serves HTTP/1.1 and HTTP/2 over accepted connections.

use crate::accept::{AcceptSettings, accept};
use crate::listen::Sockets;
use futures_util::StreamExt;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
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
    /// Time limit for a client to send the head of a request. Default: 10 s.
    pub head_timeout: Duration,
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
            head_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(30),
            grace: Duration::from_secs(10),
        }
    }
}

/// Serves HTTP/1.1 and HTTP/2 until `shutdown`. Returns when all requests have ended, at most
/// [`HttpSettings::grace`] and a second later.
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
    let mut connections = std::pin::pin!(accept(sockets, &accepting, &broken)?);
    let tracker = TaskTracker::new();
    loop {
        let connection = tokio::select! {
            () = shutdown.cancelled() => break,
            connection = connections.next() => connection,
        };
        match connection {
            Some(Ok(connection)) => {
                let serving = serve(connection, settings, service.clone(), shutdown.clone());
                tracker.spawn(serving);
            }
            Some(Err(error)) => tracing::debug!(%error, "could not accept a connection"),
            None => break,
        }
    }
    drain(&tracker, settings.grace, &broken).await;
    Ok(())
}

/// Waits until the tasks of all connections have ended, at most for the grace period and a second.
/// After the grace period it cancels `broken`, the token with which they were
/// [accepted](crate::accept()).
///
/// Heavy work of a [`Workshop`](crate::Workshop) cannot be aborted: it keeps its thread until it is
/// done, and is not waited for.
pub async fn drain(tasks: &TaskTracker, grace: Duration, broken: &CancellationToken) {
    tasks.close();
    if tokio::time::timeout(grace, tasks.wait()).await.is_ok() {
        return;
    }
    tracing::warn!(?grace, "aborting requests that exceeded the grace period");
    broken.cancel();
    let ended = tokio::time::timeout(ABORT_TIME, tasks.wait()).await;
    if ended.is_err() {
        tracing::warn!("leaving requests whose work cannot be aborted");
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
        .header_read_timeout(settings.head_timeout);
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
mod tests {
    use super::{HttpSettings, serve_http};
    use crate::{Listen, Sockets, Workshop};
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use http::{Request, Response};
    use hyper::body::Incoming;
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::task::{Context, Poll};
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;
    use tokio::sync::{Notify, watch};
    use tokio_util::sync::CancellationToken;
    use tower_service::Service;

    /// Works on each request in a workshop until the test sets `end`, and then answers it.
    #[derive(Clone)]
    struct HeavyService {
        workshop: Workshop,
        begun: Arc<Notify>,
        end: watch::Receiver<bool>,
    }

    impl Service<Request<Incoming>> for HeavyService {
        type Response = Response<String>;
        type Error = Infallible;
        type Future = BoxFuture<'static, Result<Response<String>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Incoming>) -> Self::Future {
            let Self {
                workshop,
                begun,
                mut end,
            } = self.clone();
            let answer = async move {
                let work = async {
                    begun.notify_one();
                    // A sender that is gone ends it, too.
                    let _ = end.wait_for(|end| *end).await;
                };
                workshop.run(usize::MAX, work).await;
                Ok(Response::new(String::new()))
            };
            answer.boxed()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_that_cannot_be_aborted_does_not_delay_the_end() {
        let sockets = Sockets::bind(&Listen::default()).await.expect("loopback");
        let address = sockets.addresses()[0];
        let (end, ended) = watch::channel(false);
        let service = HeavyService {
            workshop: Workshop::default(),
            begun: Arc::default(),
            end: ended,
        };
        let begun = service.begun.clone();
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let serving = tokio::spawn(async move {
            let settings = HttpSettings {
                grace: Duration::ZERO,
                ..HttpSettings::default()
            };
            serve_http(sockets, &settings, service, stop).await
        });
        let mut client = TcpStream::connect(address).await.expect("connected");
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        client.write_all(request).await.expect("sent");
        begun.notified().await;
        shutdown.cancel();
        let served = tokio::time::timeout(Duration::from_mins(1), serving).await;
        let served = served.expect("it ends although the work does not");
        served.expect("no panic").expect("it served");
        end.send_replace(true);
    }
}
