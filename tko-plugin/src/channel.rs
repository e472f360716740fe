//! The way that log lines take from a program: a FIFO or a TCP port.
//!
//! A program gets a [`Channel`] of its own for each call, so that its lines can be told from those
//! of any other call, and need say nothing but text.

use crate::log::Log;
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

/// Most TCP connections that one call has at once; more wait.
const MAX_CONNECTIONS: usize = 16;

/// Takes the log lines of one call. Gone when dropped, the FIFO and its directory too.
#[derive(Debug)]
pub struct Channel(End);

#[derive(Debug)]
enum End {
    Fifo {
        receiver: pipe::Receiver,
        /// Held open so that the program may close the FIFO and open it again.
        sender: pipe::Sender,
        path: PathBuf,
        /// Removed when dropped.
        directory: TempDir,
    },
    Tcp {
        listener: TcpListener,
        address: SocketAddr,
    },
}

impl Channel {
    /// Opens one of this kind.
    ///
    /// # Errors
    /// Neither a FIFO can be made in the system's directory of temporary files, nor a port opened.
    pub async fn open(kind: LogChannel) -> io::Result<Self> {
        match kind {
            LogChannel::Tcp(ip) => Self::tcp(ip).await,
            LogChannel::Fifo => match Self::fifo() {
                Ok(channel) => Ok(channel),
                Err(error) => {
                    tracing::debug!(%error, "no FIFO for log lines: using TCP");
                    match Self::tcp(Ipv6Addr::LOCALHOST.into()).await {
                        Ok(channel) => Ok(channel),
                        Err(_) => Self::tcp(Ipv4Addr::LOCALHOST.into()).await,
                    }
                }
            },
        }
    }

    fn fifo() -> io::Result<Self> {
        // Only its owner can enter it.
        let directory = tempfile::Builder::new().prefix("tko-plugin-").tempdir()?;
        let path = directory.path().join("log");
        make_fifo(&path)?;
        let receiver = pipe::OpenOptions::new().open_receiver(&path)?;
        let sender = pipe::OpenOptions::new().open_sender(&path)?;
        Ok(Self(End::Fifo {
            receiver,
            sender,
            path,
            directory,
        }))
    }

    async fn tcp(ip: IpAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self(End::Tcp { listener, address }))
    }

    /// The FIFO's path; empty if there is none.
    pub fn log_file(&self) -> String {
        match &self.0 {
            End::Fifo { path, .. } => path.display().to_string(),
            End::Tcp { .. } => String::new(),
        }
    }

    /// The address, as `host:port` or `[ipv6]:port`; empty if there is none.
    pub fn log_address_port(&self) -> String {
        match &self.0 {
            End::Fifo { .. } => String::new(),
            End::Tcp { address, .. } => address.to_string(),
        }
    }

    /// Reads lines. Ends once `closing` is ready (or its sender gone) and every writer has closed
    /// its end; what was written until then is read.
    pub async fn read(self, closing: oneshot::Receiver<()>, log: &Log<'_>) {
        match self.0 {
            End::Fifo {
                receiver,
                sender,
                directory,
                ..
            } => {
                let close = async {
                    // Either way it is time.
                    let _ = closing.await;
                    drop(sender);
                };
                tokio::join!(close, log.follow(receiver, |_| ()));
                drop(directory);
            }
            End::Tcp { listener, .. } => read_connections(listener, closing, log).await,
        }
    }
}

async fn read_connections(
    listener: TcpListener,
    mut closing: oneshot::Receiver<()>,
    log: &Log<'_>,
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
    // Asked directly, not through the reactor, which may not know yet what has just come.
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
