//! [`Connection`]: an accepted connection that counts against the limit and can be ended.

use crate::byte_budget::ByteBudget;
use crate::unauthenticated::{ConnectionProgress, WaitingRefusal};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Maximum time between requests of a connection without an authenticated request.
const UNAUTHENTICATED_IDLE: Duration = Duration::from_mins(1);

/// The other end of a connection: its address, and the certificates that it presented.
#[derive(Clone, Debug)]
pub struct Peer {
    address: SocketAddr,
    certificates: Arc<[Vec<u8>]>,
    /// Certificates that were presented but not verified.
    presented: Arc<[Vec<u8>]>,
    /// `None` for a peer that did not come through [`accept`](crate::accept).
    link: Option<PeerLink>,
}

/// The state that a connection shares with its requests.
#[derive(Clone, Debug)]
struct PeerLink {
    progress: Arc<ConnectionProgress>,
    bytes: Arc<ByteBudget>,
}

impl Peer {
    /// A peer without certificates.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            certificates: Arc::new([]),
            presented: Arc::new([]),
            link: None,
        }
    }

    /// Sets the verified certificates in DER, the peer's own first.
    #[must_use]
    pub fn with_certificates(mut self, certificates: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.certificates = certificates.into_iter().collect();
        self
    }

    /// Sets certificates in DER that were not verified, the peer's own first. The handshake has
    /// proved that the peer has the key of its own certificate.
    #[must_use]
    pub fn with_presented(mut self, certificates: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.presented = certificates.into_iter().collect();
        self
    }

    /// The certificates in DER that the peer presented and that were not verified, its own first;
    /// see
    /// [`ServerTls::with_unverified_client_certificate`](crate::ServerTls::with_unverified_client_certificate).
    pub fn presented(&self) -> impl Iterator<Item = &[u8]> {
        self.presented.iter().map(Vec::as_slice)
    }

    /// The IP address and port of the peer.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Records that a complete request arrived, with or without credentials.
    ///
    /// A connection without any request is closed after
    /// [`AcceptSettings::first_request`](crate::AcceptSettings::first_request), and one without an
    /// authenticated request gives way to others. [`authenticate`](crate::authenticate()) records
    /// requests itself; call this for requests that need no credentials.
    pub fn note_request(&self) {
        if let Some(link) = &self.link {
            link.progress.request();
        }
    }

    /// Records that a request was authenticated.
    pub(crate) fn note_authenticated(&self) {
        if let Some(link) = &self.link {
            link.progress.authenticated();
        }
    }

    /// Records that a refused request waits for its answer, until the returned value is dropped.
    pub(crate) fn note_refused(&self) -> Option<WaitingRefusal> {
        self.link.as_ref().map(|link| link.progress.refuse())
    }

    /// Whether 16 requests of this connection were refused and wait for their answer, and none was
    /// ever authenticated. Refuse further requests at once, before
    /// [`authenticate`](crate::authenticate()): each that waits takes memory. `false` if the peer
    /// did not come through [`accept`](crate::accept).
    pub fn has_too_many_refusals(&self) -> bool {
        let link = self.link.as_ref();
        link.is_some_and(|link| link.progress.has_too_many_refusals())
    }

    /// The budget of the bytes of this connection's requests in flight; `None` if the peer did not
    /// come through [`accept`](crate::accept).
    pub fn byte_budget(&self) -> Option<&Arc<ByteBudget>> {
        self.link.as_ref().map(|link| &link.bytes)
    }

    /// The verified certificates in DER, the peer's own first.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(Vec::as_slice)
    }
}

/// Peers are equal if they have the same address and certificates.
impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
            && self.certificates == other.certificates
            && self.presented == other.presented
    }
}

impl Eq for Peer {}

/// An accepted connection, in plaintext or TLS.
#[derive(Debug)]
pub struct Connection {
    stream: PlainOrTls,
    peer: Peer,
}

#[derive(Debug)]
enum PlainOrTls {
    Plain(GuardedStream),
    Tls(Box<TlsStream<GuardedStream>>),
}

impl Connection {
    pub(crate) fn plain(stream: GuardedStream) -> Self {
        Self {
            peer: stream.peer(),
            stream: PlainOrTls::Plain(stream),
        }
    }

    pub(crate) fn tls(stream: TlsStream<GuardedStream>, verified: bool) -> Self {
        let (tcp, session) = stream.get_ref();
        let presented = session.peer_certificates().unwrap_or_default();
        let presented = presented.iter().map(|certificate| certificate.to_vec());
        let peer = if verified {
            tcp.peer().with_certificates(presented)
        } else {
            tcp.peer().with_presented(presented)
        };
        Self {
            stream: PlainOrTls::Tls(Box::new(stream)),
            peer,
        }
    }

    /// The other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            PlainOrTls::Plain(stream) => Pin::new(stream).poll_read(context, into),
            PlainOrTls::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            PlainOrTls::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            PlainOrTls::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            PlainOrTls::Plain(stream) => Pin::new(stream).poll_flush(context),
            PlainOrTls::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            PlainOrTls::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            PlainOrTls::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            PlainOrTls::Plain(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            PlainOrTls::Tls(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            PlainOrTls::Plain(stream) => stream.is_write_vectored(),
            PlainOrTls::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

/// A TCP stream that breaks when it is cancelled, or when the peer makes no request.
#[derive(Debug)]
pub(crate) struct GuardedStream {
    stream: TcpStream,
    address: SocketAddr,
    link: PeerLink,
    /// The deadline until a request is authenticated: first for the first request, then for the
    /// next one.
    deadline: Option<Pin<Box<Sleep>>>,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
    _permit: OwnedSemaphorePermit,
}

impl GuardedStream {
    pub(crate) fn new(
        stream: TcpStream,
        address: SocketAddr,
        end: CancellationToken,
        permit: OwnedSemaphorePermit,
        progress: ConnectionProgress,
        bytes: Arc<ByteBudget>,
        first_request: Duration,
    ) -> Self {
        let progress = Arc::new(progress);
        Self {
            stream,
            address,
            link: PeerLink { progress, bytes },
            deadline: Some(Box::pin(tokio::time::sleep(first_request))),
            end: Box::pin(end.cancelled_owned()),
            _permit: permit,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The peer, without certificates.
    fn peer(&self) -> Peer {
        Peer {
            link: Some(self.link.clone()),
            ..Peer::new(self.address)
        }
    }

    /// Fails if no request came in time. Authenticated connections have no deadline.
    fn poll_deadline(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some(deadline) = &mut self.deadline else {
            return Ok(());
        };
        while deadline.as_mut().poll(context).is_ready() {
            if self.link.progress.is_known() {
                self.deadline = None;
                return Ok(());
            }
            if !self.link.progress.take_requested() {
                tracing::debug!(address = %self.address, "a connection made no request in time");
                return Err(io::ErrorKind::TimedOut.into());
            }
            deadline
                .as_mut()
                .reset(tokio::time::Instant::now() + UNAUTHENTICATED_IDLE);
        }
        Ok(())
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_end(context)?;
        self.poll_deadline(context)?;
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_end(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_end(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::{Connection, GuardedStream};
    use crate::byte_budget::ByteBudget;
    use crate::unauthenticated::{MAX_WAITING_REFUSALS, UnauthenticatedLimit};
    use crate::{BearerTokens, Credentials, authenticate};
    use std::io::ErrorKind;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Semaphore;
    use tokio_util::sync::CancellationToken;

    async fn connection(end: &CancellationToken) -> (TcpStream, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("it listens");
        let peer = TcpStream::connect(address).await.expect("it listens");
        let (stream, from) = listener.accept().await.expect("the peer connected");
        let permits = Arc::new(Semaphore::new(1));
        let permit = permits.acquire_owned().await.expect("a permit");
        let progress = UnauthenticatedLimit::new(1).enter(end.clone());
        let bytes = ByteBudget::new(0);
        let first = Duration::from_secs(15);
        let stream = GuardedStream::new(stream, from, end.clone(), permit, progress, bytes, first);
        (peer, Connection::plain(stream))
    }

    #[tokio::test]
    async fn s3_a_peer_that_makes_no_request_is_disconnected_though_it_sends_bytes() {
        for sent in [&b""[..], b"x"] {
            let (mut peer, mut connection) = connection(&CancellationToken::new()).await;
            peer.write_all(sent).await.expect("it is open");
            let mut buffer = [0];
            connection
                .read_exact(&mut buffer[..sent.len()])
                .await
                .expect("what was sent");
            tokio::time::pause();
            let error = connection.read_u8().await.expect_err("no request");
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            tokio::time::resume();
        }
    }

    #[tokio::test]
    async fn s3_requests_without_credentials_must_go_on_and_others_need_not() {
        let (_peer, mut unauthenticated) = connection(&CancellationToken::new()).await;
        let (_other, mut known) = connection(&CancellationToken::new()).await;
        tokio::time::pause();
        let start = tokio::time::Instant::now();
        unauthenticated.peer().note_request();
        let error = unauthenticated
            .read_u8()
            .await
            .expect_err("no further request");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 75);
        known.peer().note_authenticated();
        let read = tokio::time::timeout(Duration::from_hours(1), known.read_u8()).await;
        assert!(read.is_err(), "{read:?}");
    }

    #[tokio::test]
    async fn refusals_that_wait_are_counted_until_a_request_is_authenticated() {
        let (_other, connection) = connection(&CancellationToken::new()).await;
        let peer = connection.peer();
        let tokens = BearerTokens::parse("0123456789abcdef").expect("a token");
        let credentials = Credentials::new("test").with_peer(peer.clone());
        tokio::time::pause();
        let mut refused = Vec::new();
        for _ in 0..MAX_WAITING_REFUSALS {
            assert!(!peer.has_too_many_refusals());
            let mut waiting = Box::pin(authenticate(&tokens, &credentials));
            assert!(futures_util::poll!(&mut waiting).is_pending());
            refused.push(waiting);
        }
        assert!(peer.has_too_many_refusals());
        drop(refused.pop());
        assert!(!peer.has_too_many_refusals());
        let _waiting = peer.note_refused();
        assert!(peer.has_too_many_refusals());
        // Callers may share a connection, as behind a proxy: one must not keep the others out.
        peer.note_authenticated();
        assert!(!peer.has_too_many_refusals());
    }

    #[tokio::test]
    async fn cancellation_ends_reads_and_writes() {
        let end = CancellationToken::new();
        let (mut peer, mut connection) = connection(&end).await;
        peer.write_all(b"x").await.expect("it is open");
        assert_eq!(connection.read_u8().await.expect("a byte"), b'x');
        connection.write_all(b"y").await.expect("it is open");
        end.cancel();
        let read = connection.read_u8().await.expect_err("ended");
        assert_eq!(read.kind(), ErrorKind::ConnectionAborted);
        let write = connection.write_all(b"z").await.expect_err("ended");
        assert_eq!(write.kind(), ErrorKind::ConnectionAborted);
    }
}
