//! [`accept`]: turns listeners into a stream of connections.

use crate::byte_budget::ByteBudget;
use crate::connection::{Connection, GuardedStream};
use crate::listen::Sockets;
use crate::tls::ServerTls;
use crate::unauthenticated::UnauthenticatedLimit;
use futures_core::Stream;
use futures_util::stream::select_all;
use futures_util::{FutureExt, StreamExt};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tko_core::Result;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Time limit of a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(50);

/// The error numbers of too many open files, in the system and in the process, which the standard
/// library lacks.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// How connections are accepted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AcceptSettings {
    /// TLS for all connections. `None`: plaintext. Default: `None`.
    pub tls: Option<ServerTls>,
    /// The application protocols that TLS offers, such as `h2`. Default: none.
    pub protocols: Vec<&'static str>,
    /// Maximum number of connections at once; further ones wait to be accepted. Default: 10,000, or
    /// fewer if the process may not open that many files.
    pub max_connections: usize,
    /// Maximum number of connections without an authenticated request; the oldest gives way to the
    /// next. Default: a quarter of [`max_connections`](Self::max_connections).
    pub max_unauthenticated: Option<usize>,
    /// Time to the first complete request, after which a connection is closed. Default: 15 s.
    pub first_request: Duration,
    /// Maximum number of bytes of requests in flight on one connection. Default: 128 MiB.
    pub max_bytes_per_connection: usize,
    /// Maximum number of bytes of requests in flight on all connections together. Default: 512 MiB.
    pub max_bytes: usize,
}

impl Default for AcceptSettings {
    fn default() -> Self {
        Self {
            tls: None,
            protocols: Vec::new(),
            max_connections: 10_000,
            max_unauthenticated: None,
            first_request: Duration::from_secs(15),
            max_bytes_per_connection: 128 << 20,
            max_bytes: 512 << 20,
        }
    }
}

/// Accepts connections until the stream is dropped.
///
/// TLS handshakes run concurrently and at most 10 s each; a failed one is logged and skipped.
/// Certificates are read again when their files change. If the process has no free file descriptor,
/// the oldest connection without an authenticated request gives way.
/// Cancelling `broken` ends all connections at once.
///
/// # Errors
/// [`BadArgument`](tko_core::Error::BadArgument): a certificate, key or CA is invalid.
pub fn accept(
    sockets: Sockets,
    settings: &AcceptSettings,
    broken: &CancellationToken,
) -> Result<impl Stream<Item = io::Result<Connection>> + Send + 'static> {
    let tls = settings
        .tls
        .as_ref()
        .map(|tls| tls.acceptors(&settings.protocols))
        .transpose()?;
    let max = settings
        .max_connections
        .min(max_open_files())
        .clamp(1, Semaphore::MAX_PERMITS);
    let admission = Arc::new(ConnectionLimits {
        permits: Arc::new(Semaphore::new(max)),
        unauthenticated: UnauthenticatedLimit::new(settings.max_unauthenticated.unwrap_or(max / 4)),
        bytes: ByteBudget::new(settings.max_bytes),
        max_bytes: settings.max_bytes_per_connection,
        first_request: settings.first_request,
        broken: broken.clone(),
    });
    let listeners = sockets.into_listeners().into_iter().map(|listener| {
        let admission = admission.clone();
        let accepted = futures_util::stream::unfold(listener, move |listener| {
            let admission = admission.clone();
            async move {
                let accepted = admission.next(&listener).await;
                Some((accepted, listener))
            }
        });
        accepted.boxed()
    });
    let handshakes = select_all(listeners).map(move |stream| match &tls {
        Some(tls) => handshake(stream, tls.current(), tls.verifies()).boxed(),
        None => std::future::ready(Some(Connection::plain(stream))).boxed(),
    });
    Ok(handshakes
        .buffer_unordered(max)
        .filter_map(|connection| std::future::ready(connection.map(Ok))))
}

/// The limits that the connections of a server share.
struct ConnectionLimits {
    permits: Arc<Semaphore>,
    unauthenticated: Arc<UnauthenticatedLimit>,
    bytes: Arc<ByteBudget>,
    max_bytes: usize,
    first_request: Duration,
    broken: CancellationToken,
}

impl ConnectionLimits {
    /// The next connection of one listener.
    async fn next(&self, listener: &TcpListener) -> GuardedStream {
        let (stream, address) = loop {
            match listener.accept().await {
                Ok(accepted) => break accepted,
                // The peer is gone, or too many files are open: temporary.
                Err(error) => {
                    tracing::debug!(%error, "could not accept a connection");
                    if is_exhaustion(&error) {
                        self.unauthenticated.evict();
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "could not disable delayed sends");
        }
        let end = self.broken.child_token();
        // This may close the oldest unauthenticated connection, whose permit this connection then
        // gets.
        let progress = self.unauthenticated.enter(end.clone());
        // Acquired after accepting, so that an idle listener does not hold a permit that another
        // listener needs.
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let bytes = self.bytes.child(self.max_bytes);
        GuardedStream::new(
            stream,
            address,
            end,
            permit,
            progress,
            bytes,
            self.first_request,
        )
    }
}

/// Whether accepting failed because too many files are open.
fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// Maximum number of connections that leave enough file descriptors for everything else.
#[cfg(unix)]
fn max_open_files() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    (limit / 8).saturating_mul(5).max(1)
}

#[cfg(not(unix))]
fn max_open_files() -> usize {
    usize::MAX
}

/// Completes the handshake in a separate task, because it takes processor time.
async fn handshake(stream: GuardedStream, tls: TlsAcceptor, verifies: bool) -> Option<Connection> {
    let address = stream.address();
    let handshake = AbortOnDropHandle::new(tokio::spawn(tokio::time::timeout(
        HANDSHAKE_TIMEOUT,
        tls.accept(stream),
    )));
    match handshake.await {
        Ok(Ok(Ok(stream))) => Some(Connection::tls(stream, verifies)),
        Ok(Ok(Err(error))) => {
            tracing::debug!(%address, %error, "TLS handshake failed");
            None
        }
        Ok(Err(_)) => {
            tracing::debug!(%address, "TLS handshake timed out");
            None
        }
        Err(error) => {
            tracing::debug!(%address, %error, "TLS handshake was aborted");
            None
        }
    }
}
