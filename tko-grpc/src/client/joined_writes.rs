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
/// The headers of a call and its message come from two tasks, one right after the other. Without the
/// delay each is a write and a segment of its own, and wakes the server.
pub(super) struct JoinedWrites {
    stream: TokioIo<TcpStream>,
    /// Bytes that were accepted and are not written.
    held: Vec<u8>,
    /// Bytes of `held` that are written.
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
        Box::pin(async move {
            Ok(JoinedWrites {
                stream: connecting.await?,
                held: Vec::new(),
                written: 0,
                is_delayed: false,
            })
        })
    }
}

impl JoinedWrites {
    /// Writes what is held back.
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
