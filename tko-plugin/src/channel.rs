//! Log channels: a FIFO or a TCP port from a program to its caller.
//!
//! Each call has its own [`Channel`], so its lines need no prefix to distinguish them from those of
//! other calls.

use crate::log::LineLog;
use crate::settings::LogChannel;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Maximum TCP connections of one call at a time; further connections wait.
const MAX_CONNECTIONS: usize = 16;

/// Receives the log lines of one call. Dropping it removes the FIFO and its directory.
#[derive(Debug)]
pub struct Channel(Endpoint);

#[derive(Debug)]
enum Endpoint {
    Fifo {
        receiver: pipe::Receiver,
        /// Kept open so that the program can close and reopen the FIFO.
        sender: pipe::Sender,
        path: PathBuf,
        /// Removed when dropped.
        directory: TempDir,
    },
    Tcp {
        listener: TcpListener,
        address: SocketAddr,
    },
    Closed,
}

impl Channel {
    /// Opens a channel of this kind.
    ///
    /// # Errors
    /// No FIFO can be created in the system's temporary directory, and no port can be opened.
    pub async fn open(kind: LogChannel) -> io::Result<Self> {
        match kind {
            LogChannel::Tcp(ip) => Self::tcp(ip).await,
            LogChannel::Stderr => Ok(Self(Endpoint::Closed)),
            LogChannel::Fifo => match Self::fifo() {
                Ok(channel) => Ok(channel),
                Err(error) => {
                    tracing::debug!(%error, "cannot create a FIFO for log lines; using TCP");
                    match Self::tcp(Ipv6Addr::LOCALHOST.into()).await {
                        Ok(channel) => Ok(channel),
                        Err(_) => Self::tcp(Ipv4Addr::LOCALHOST.into()).await,
                    }
                }
            },
        }
    }

    fn fifo() -> io::Result<Self> {
        // The directory is accessible to its owner only.
        let directory = tempfile::Builder::new().prefix("tko-plugin-").tempdir()?;
        let path = directory.path().join("log");
        make_fifo(&path)?;
        let receiver = pipe::OpenOptions::new().open_receiver(&path)?;
        let sender = pipe::OpenOptions::new().open_sender(&path)?;
        Ok(Self(Endpoint::Fifo {
            receiver,
            sender,
            path,
            directory,
        }))
    }

    async fn tcp(ip: IpAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self(Endpoint::Tcp { listener, address }))
    }

    /// Returns the path of the FIFO; empty for another channel.
    pub fn log_file(&self) -> String {
        match &self.0 {
            Endpoint::Fifo { path, .. } => path.display().to_string(),
            Endpoint::Tcp { .. } | Endpoint::Closed => String::new(),
        }
    }

    /// Returns the address as `host:port` or `[ipv6]:port`; empty for another channel.
    pub fn log_address_port(&self) -> String {
        match &self.0 {
            Endpoint::Fifo { .. } | Endpoint::Closed => String::new(),
            Endpoint::Tcp { address, .. } => address.to_string(),
        }
    }

    /// Reads lines until every writer has closed its end.
    ///
    /// New writers are accepted until `closing` is ready or its sender is dropped. Everything
    /// written before that is read.
    pub async fn read(self, closing: oneshot::Receiver<()>, log: &LineLog<'_>) {
        match self.0 {
            Endpoint::Fifo {
                receiver,
                sender,
                directory,
                ..
            } => {
                let close = async {
                    // A dropped sender also means that it is time to close.
                    let _ = closing.await;
                    drop(sender);
                };
                tokio::join!(close, log.follow(receiver, |_| ()));
                drop(directory);
            }
            Endpoint::Tcp { listener, .. } => read_connections(listener, closing, log).await,
            Endpoint::Closed => {}
        }
    }
}

async fn read_connections(
    listener: TcpListener,
    mut closing: oneshot::Receiver<()>,
    log: &LineLog<'_>,
) {
    let read = |stream: TcpStream| log.follow(stream, |_| ());
    let mut readers = FuturesUnordered::new();
    let mut accepting = true;
    loop {
        tokio::select! {
            _ = &mut closing => break,
            Some(()) = readers.next() => {}
            accepted = listener.accept(), if accepting && readers.len() < MAX_CONNECTIONS => {
                match accepted {
                    Ok((stream, _)) => readers.push(read(stream)),
                    Err(_) => accepting = false,
                }
            }
        }
    }
    // Accept directly: the reactor may not have seen the latest connections yet.
    if let Ok(listener) = listener.into_std() {
        while readers.len() < MAX_CONNECTIONS
            && let Ok((stream, _)) = listener.accept()
        {
            if let Ok(stream) = stream
                .set_nonblocking(true)
                .and_then(|()| TcpStream::from_std(stream))
            {
                readers.push(read(stream));
            }
        }
    }
    while readers.next().await.is_some() {}
}

#[cfg(not(target_vendor = "apple"))]
fn make_fifo(path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, Mode, mkfifoat};
    Ok(mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR)?)
}

#[cfg(target_vendor = "apple")]
fn make_fifo(_: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
