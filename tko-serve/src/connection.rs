//! [`Connection`]: an accepted connection that counts against the limit and can be ended.

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

/// How long a new connection may send nothing.
const SILENCE: Duration = Duration::from_secs(10);

/// The other end of a connection: its address, and the certificates that it presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    address: SocketAddr,
    certificates: Arc<[Vec<u8>]>,
}

impl Peer {
    /// A peer without certificates.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            certificates: Arc::new([]),
        }
    }

    /// Sets the verified certificates in DER, the peer's own first.
    #[must_use]
    pub fn with_certificates(mut self, certificates: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.certificates = certificates.into_iter().collect();
        self
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The verified certificates in DER, the peer's own first.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(Vec::as_slice)
    }
}

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
            peer: Peer::new(stream.address),
            stream: PlainOrTls::Plain(stream),
        }
    }

    pub(crate) fn tls(address: SocketAddr, stream: TlsStream<GuardedStream>) -> Self {
        let presented = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let peer = Peer::new(address)
            .with_certificates(presented.iter().map(|certificate| certificate.to_vec()));
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

/// A TCP stream that breaks when it is cancelled, or when the peer sends nothing at first.
#[derive(Debug)]
pub(crate) struct GuardedStream {
    stream: TcpStream,
    address: SocketAddr,
    /// Runs until the first bytes arrive.
    silence: Option<Pin<Box<Sleep>>>,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
    _permit: OwnedSemaphorePermit,
}

impl GuardedStream {
    pub(crate) fn new(
        stream: TcpStream,
        address: SocketAddr,
        end: CancellationToken,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            stream,
            address,
            silence: Some(Box::pin(tokio::time::sleep(SILENCE))),
            end: Box::pin(end.cancelled_owned()),
            _permit: permit,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
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
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if read.is_ready() {
            self.silence = None;
        } else if let Some(silence) = &mut self.silence
            && silence.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
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
    use std::io::ErrorKind;
    use std::sync::Arc;
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
        let stream = GuardedStream::new(stream, from, end.clone(), permit);
        (peer, Connection::plain(stream))
    }

    #[tokio::test]
    async fn a_peer_that_sends_nothing_at_first_is_disconnected() {
        let (_peer, mut connection) = connection(&CancellationToken::new()).await;
        tokio::time::pause();
        let error = connection.read_u8().await.expect_err("silence");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
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
