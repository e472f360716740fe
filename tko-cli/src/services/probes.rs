//! Probes over HTTP, without credentials, on a separate port: `GET /livez` while the process runs,
//! `GET /readyz` while the data can be read.

use clap::Args;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{DataApi, Error, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Maximum number of connections at the same time; others wait.
const MOST: usize = 32;

/// Timeouts for the head of a request, for the data, and for the whole exchange.
const HEAD_TIME: Duration = Duration::from_secs(2);
const DATA_TIME: Duration = Duration::from_secs(3);
const WHOLE_TIME: Duration = Duration::from_secs(8);

/// The pause after a failed accept, for example without free file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Flags of the listener for probes. Without an address, there is none
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Probes")]
pub(crate) struct ProbeArgs {
    /// Answer probes without credentials at http://ADDRESS/livez and /readyz, such as 0.0.0.0:8086;
    /// port 0 chooses a free port
    #[arg(long, value_name = "ADDRESS")]
    probe_address: Option<SocketAddr>,
}

impl ProbeArgs {
    /// Binds the socket, if an address is given. Any address is permitted: answers only reveal
    /// whether the service is ready.
    ///
    /// # Errors
    /// `BadArgument`: the address cannot be bound.
    pub(super) async fn open(&self) -> Result<Option<ProbeServer>> {
        let Some(address) = self.probe_address else {
            return Ok(None);
        };
        let refused = |error: std::io::Error| {
            Error::bad(
                "probe address",
                format!("cannot listen on {address}: {error}"),
            )
        };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Some(ProbeServer { listener, address }))
    }

    /// Answers probes until `stop` is cancelled, if an address is given.
    ///
    /// # Errors
    /// `BadArgument`: the address cannot be bound.
    pub(super) async fn answer(
        &self,
        data: Arc<dyn DataApi>,
        stop: &CancellationToken,
    ) -> Result<()> {
        if let Some(server) = self.open().await? {
            tokio::spawn(server.serve(data, stop.clone()));
        }
        Ok(())
    }
}

/// A bound socket that answers probes.
pub(super) struct ProbeServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl ProbeServer {
    /// Answers probes until `stop` is cancelled. From then on the service is not ready.
    pub(super) async fn serve(self, data: Arc<dyn DataApi>, stop: CancellationToken) {
        tracing::info!(address = %self.address, "serving probes");
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept(), if connections.len() < MOST => accepted,
            };
            match accepted {
                Ok((stream, _)) => _ = connections.spawn(answer(stream, data.clone())),
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection for probes");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Serves one request on one connection.
async fn answer(stream: TcpStream, data: Arc<dyn DataApi>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let data = data.clone();
        async move { Ok::<_, Infallible>(response(&*data, &request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(8_192)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(WHOLE_TIME, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "connection for probes failed"),
        Err(_) => tracing::debug!("connection for probes timed out"),
    }
}

async fn response(data: &dyn DataApi, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/livez" | "/healthz") => (StatusCode::OK, "ok\n"),
        (&Method::GET | &Method::HEAD, "/readyz") => {
            match tokio::time::timeout(DATA_TIME, data.feed_position()).await {
                Ok(Ok(_)) => (StatusCode::OK, "ok\n"),
                _ => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the data cannot be read now\n",
                ),
            }
        }
        _ => (
            StatusCode::NOT_FOUND,
            "not found; probes are at /livez and /readyz\n",
        ),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}
