//! The TCP connection of a client, with small writes joined.

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tonic::transport::Uri;
use tower_service::Service;

/// Maximum number of bytes that are held back.
const MAX_HELD: usize = 16 * 1024;

/// A TCP connection that delays each flush by one turn of the runtime.
///
/// The headers of a call and its message come from two tasks, one right after the other. Without
/// the delay, each is a separate write and segment, and each wakes the server.
pub(super) struct JoinedWrites {
    stream: TokioIo<TcpStream>,
    /// Bytes that were accepted but not yet written.
    held: Vec<u8>,
    /// How many bytes of `held` are already written.
    written: usize,
    is_delayed: bool,
}

/// Opens connections as `tonic` does.
#[derive(Clone)]
pub(super) struct JoinedConnector(HttpConnector);

impl JoinedConnector {
    pub(super) fn new(timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(timeout));
        Self(connector)
    }
}

impl Service<Uri> for JoinedConnector {
    type Response = JoinedWrites;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<JoinedWrites, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move { Ok(JoinedWrites::new(connecting.await?)) })
    }
}

impl JoinedWrites {
    fn new(stream: TokioIo<TcpStream>) -> Self {
        Self {
            stream,
            held: Vec::new(),
            written: 0,
            is_delayed: false,
        }
    }

    /// Writes the delayed bytes.
    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.held.len() {
            let rest = &self.held[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        self.held.clear();
        self.written = 0;
        self.is_delayed = false;
        Poll::Ready(Ok(()))
    }
}

impl Read for JoinedWrites {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for JoinedWrites {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if self.held.len() + length > MAX_HELD {
            ready!(self.poll_held(context))?;
            if length > MAX_HELD {
                return Pin::new(&mut self.stream).poll_write_vectored(context, slices);
            }
        }
        for slice in slices {
            self.held.extend_from_slice(slice);
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() && !self.is_delayed {
            self.is_delayed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_held(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::{JoinedWrites, MAX_HELD};
    use hyper::rt::Write;
    use hyper_util::rt::TokioIo;
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::Poll;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::runtime::Builder;

    fn run(test: impl Future<Output = ()>) {
        let runtime = Builder::new_current_thread().enable_io().build();
        runtime.expect("a runtime").block_on(test);
    }

    /// A connection, and its other end.
    async fn connect() -> (JoinedWrites, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stream = TcpStream::connect(address).await.expect("it connects");
        let (peer, _) = listener.accept().await.expect("it accepts");
        (JoinedWrites::new(TokioIo::new(stream)), peer)
    }

    async fn write(joined: &mut JoinedWrites, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let written = poll_fn(|context| Pin::new(&mut *joined).poll_write(context, bytes));
            bytes = &bytes[written.await.expect("it writes")..];
        }
    }

    #[test]
    fn a_flush_waits_one_turn_and_joins_what_comes_meanwhile() {
        run(async {
            let (mut joined, mut peer) = connect().await;
            write(&mut joined, b"headers").await;
            let first = poll_fn(|context| {
                Poll::Ready(Pin::new(&mut joined).poll_flush(context).is_pending())
            });
            assert!(first.await, "it is delayed");
            write(&mut joined, b", message").await;
            assert_eq!(joined.held, b"headers, message");
            let flushed = poll_fn(|context| Pin::new(&mut joined).poll_flush(context));
            flushed.await.expect("it flushes");
            assert!(joined.held.is_empty());
            let mut received = [0; 16];
            peer.read_exact(&mut received).await.expect("it reads");
            assert_eq!(&received, b"headers, message");
        });
    }

    #[test]
    fn all_bytes_arrive_in_order_before_the_end() {
        run(async {
            let (mut joined, mut peer) = connect().await;
            let sizes = [1, MAX_HELD - 1, 1, MAX_HELD, MAX_HELD + 1, 8 << 20, 7];
            let sent: Vec<u8> = (0..=250).cycle().take(sizes.iter().sum()).collect();
            let reading = tokio::spawn(async move {
                let mut received = Vec::new();
                peer.read_to_end(&mut received).await.expect("it reads");
                received
            });
            let mut rest = sent.as_slice();
            for size in sizes {
                let (part, next) = rest.split_at(size);
                write(&mut joined, part).await;
                rest = next;
            }
            let ended = poll_fn(|context| Pin::new(&mut joined).poll_shutdown(context));
            ended.await.expect("it ends");
            let received = reading.await.expect("no panic");
            assert!(received == sent, "{} bytes", received.len());
        });
    }
}
