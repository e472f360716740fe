//! [`accept`]: turns listeners into a stream of connections.

use crate::connection::{Connection, GuardedStream};
use crate::listen::Sockets;
use crate::tls::ServerTls;
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

/// Longest TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(50);

/// How connections are accepted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AcceptSettings {
    /// TLS for all connections. `None`: plaintext. Default: `None`.
    pub tls: Option<ServerTls>,
    /// The application protocols that TLS offers, such as `h2`. Default: none.
    pub protocols: Vec<&'static str>,
    /// Most connections at once; further ones wait to be accepted. Default: 10,000.
    pub max_connections: usize,
}

impl Default for AcceptSettings {
    fn default() -> Self {
        Self {
            tls: None,
            protocols: Vec::new(),
            max_connections: 10_000,
        }
    }
}

/// Accepts connections until the stream is dropped.
///
/// TLS handshakes run concurrently and at most 10 s each; a failed one is logged and skipped.
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
        .map(|tls| tls.acceptor(&settings.protocols))
        .transpose()?;
    let max = settings.max_connections.clamp(1, Semaphore::MAX_PERMITS);
    let permits = Arc::new(Semaphore::new(max));
    let listeners = sockets.into_listeners().into_iter().map(|listener| {
        let (permits, broken) = (permits.clone(), broken.clone());
        let accepted = futures_util::stream::unfold(listener, move |listener| {
            let (permits, broken) = (permits.clone(), broken.clone());
            async move {
                let accepted = next(&listener, permits, broken).await;
                Some((accepted, listener))
            }
        });
        accepted.boxed()
    });
    let handshakes = select_all(listeners).map(move |stream| match &tls {
        Some(tls) => handshake(stream, tls.clone()).boxed(),
        None => std::future::ready(Some(Connection::plain(stream))).boxed(),
    });
    Ok(handshakes
        .buffer_unordered(max)
        .filter_map(|connection| std::future::ready(connection.map(Ok))))
}

/// The next connection of one listener.
async fn next(
    listener: &TcpListener,
    permits: Arc<Semaphore>,
    broken: CancellationToken,
) -> GuardedStream {
    let (stream, address) = loop {
        match listener.accept().await {
            Ok(accepted) => break accepted,
            // The peer is gone, or too many files are open: temporary.
            Err(error) => {
                tracing::debug!(%error, "could not accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not disable delayed sends");
    }
    // Acquired after accepting, so that an idle listener does not take another one's permit.
    let permit = permits
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    GuardedStream::new(stream, address, broken, permit)
}

/// Completes the handshake in a task of its own, because it takes processor time.
async fn handshake(stream: GuardedStream, tls: TlsAcceptor) -> Option<Connection> {
    let address = stream.address();
    let handshake = AbortOnDropHandle::new(tokio::spawn(tokio::time::timeout(
        HANDSHAKE_TIMEOUT,
        tls.accept(stream),
    )));
    match handshake.await {
        Ok(Ok(Ok(stream))) => Some(Connection::tls(address, stream)),
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
