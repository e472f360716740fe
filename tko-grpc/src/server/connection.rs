//! Connections that are counted, and that can be ended from outside.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Time for a new connection to say something.
const SILENCE: Duration = Duration::from_secs(10);

/// A connection; broken once `end` is, or if it stays silent from the start.
pub(super) struct Connection {
    stream: TcpStream,
    /// Until something was read.
    silence: Option<Pin<Box<Sleep>>>,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        end: CancellationToken,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            stream,
            silence: Some(Box::pin(tokio::time::sleep(SILENCE))),
            end: Box::pin(end.cancelled_owned()),
            _permit: permit,
        }
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
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

impl AsyncWrite for Connection {
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
    use super::Connection;
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
        let (stream, _) = listener.accept().await.expect("the peer is there");
        let room = Arc::new(Semaphore::new(1));
        let permit = room.acquire_owned().await.expect("there is room");
        (peer, Connection::new(stream, end.clone(), permit))
    }

    #[tokio::test]
    async fn who_says_nothing_from_the_start_is_given_up() {
        let (_peer, mut connection) = connection(&CancellationToken::new()).await;
        tokio::time::pause();
        let error = connection.read_u8().await.expect_err("silence");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_connection_ends_when_it_is_told_to() {
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
