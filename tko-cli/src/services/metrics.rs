//! Metrics over HTTP in the OpenMetrics format, for Prometheus and compatible tools.
//!
//! Serves only `GET /metrics`. Clients are not trusted: connections, headers and times are limited,
//! and each connection serves one request.

use clap::Args;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Error, Result};
use tko_grpc::server::Access;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The content type of OpenMetrics.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Maximum number of connections at the same time; others wait.
const MOST: usize = 16;

/// Timeouts for the request's headers, and for the whole exchange.
const TIMES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(10));

/// Maximum size of the request headers in bytes, and maximum number of headers.
const HEAD: (usize, usize) = (8_192, 64);

/// The pause after a failed accept, for example without free file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Flags of the listener for metrics. Without an address, there is none
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Metrics")]
pub(crate) struct MetricsArgs {
    /// Serve metrics at http://ADDRESS/metrics, such as 127.0.0.1:9464; port 0 chooses a free port.
    /// An address that is not loopback requires --insecure
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
}

impl MetricsArgs {
    /// Binds the socket, if an address is given.
    ///
    /// # Errors
    /// `BadArgument`: the address is not loopback and `insecure` is false, or cannot be bound.
    pub(super) async fn open(&self, insecure: bool) -> Result<Option<Exporter>> {
        let Some(address) = self.metrics else {
            return Ok(None);
        };
        let is_open = is_open(address);
        if is_open && !insecure {
            return Err(Error::bad(
                "metrics address",
                format!(
                    "{address} is open to the network, and metrics have no authentication; listen on \
                     loopback, such as 127.0.0.1:{}, or allow this with --insecure",
                    address.port()
                ),
            ));
        }
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| refused(address, &error))?;
        let address = listener
            .local_addr()
            .map_err(|error| refused(address, &error))?;
        if is_open {
            tracing::warn!(%address, "metrics are open to the network");
        }
        Ok(Some(Exporter {
            listener,
            address,
            registry: Registry::default(),
        }))
    }
}

/// Flags of the listener for metrics in a process without a data service. Without an address, there
/// is none
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct WorkerMetricsArgs {
    #[command(flatten)]
    metrics: MetricsArgs,
    /// Allow metrics without TLS and authentication on the network
    #[arg(long)]
    insecure: bool,
}

impl WorkerMetricsArgs {
    /// Serves the version and the metrics that `register` adds, until the handle is dropped.
    ///
    /// # Errors
    /// `BadArgument`: the address is not loopback and `--insecure` is missing, or it cannot be bound.
    pub(super) async fn serve(
        &self,
        register: impl FnOnce(&mut Registry),
    ) -> Result<Option<AbortOnDropHandle<()>>> {
        let Some(mut exporter) = self.metrics.open(self.insecure).await? else {
            return Ok(None);
        };
        exporter.name(None);
        register(exporter.registry());
        let serve = tokio::spawn(exporter.serve(CancellationToken::new()));
        Ok(Some(AbortOnDropHandle::new(serve)))
    }
}

/// Whether metrics at this address are open: they have neither TLS nor authentication.
fn is_open(address: SocketAddr) -> bool {
    Access::new().is_open(&[address])
}

fn refused(address: SocketAddr, error: &io::Error) -> Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "; stop the program that listens there, or choose another port",
        io::ErrorKind::AddrNotAvailable => "; choose an address of this machine",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need special rights: choose a higher one"
        }
        _ => "",
    };
    Error::bad(
        "metrics address",
        format!("cannot listen on {address}: {error}{advice}"),
    )
}

/// A bound socket and the metrics that it serves.
pub(super) struct Exporter {
    listener: TcpListener,
    address: SocketAddr,
    registry: Registry,
}

impl Exporter {
    /// Whether it is open to the network. It has neither TLS nor authentication.
    pub(super) fn is_open(&self) -> bool {
        is_open(self.address)
    }

    /// The registry that parts add their metrics to.
    pub(super) fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Adds the metric with the program's version and, of a data service, the backend's name.
    pub(super) fn name(&mut self, backend: Option<&str>) {
        let version = Some(("version", env!("CARGO_PKG_VERSION").to_owned()));
        let backend = backend.map(|name| ("backend", name.to_owned()));
        let labels: Vec<_> = version.into_iter().chain(backend).collect();
        self.registry.register(
            "tko_build",
            "Version of the program and, of a data service, name of its backend",
            Info::new(labels),
        );
    }

    /// Serves until `stop` is cancelled. A scrape in progress is aborted.
    pub(super) async fn serve(self, stop: CancellationToken) {
        tracing::info!(address = %self.address, "serving metrics");
        let registry = Arc::new(self.registry);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept(), if connections.len() < MOST => accepted,
            };
            match accepted {
                Ok((stream, _)) => _ = connections.spawn(answer(stream, registry.clone())),
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection for metrics");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Serves one request on one connection.
async fn answer(stream: TcpStream, registry: Arc<Registry>) {
    let service = service_fn(|request| ready(Ok::<_, Infallible>(response(&registry, &request))));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TIMES.0)
        .max_buf_size(HEAD.0)
        .max_headers(HEAD.1)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(TIMES.1, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "connection for metrics failed"),
        Err(_) => tracing::debug!("connection for metrics timed out"),
    }
}

fn response(registry: &Registry, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let is_metrics = request.method() == Method::GET && request.uri().path() == "/metrics";
    let mut text = String::new();
    let (status, kind) = match is_metrics.then(|| encode(&mut text, registry)) {
        Some(Ok(())) => (StatusCode::OK, OPENMETRICS),
        Some(Err(error)) => {
            text = format!("cannot encode the metrics: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, "text/plain")
        }
        None => {
            "not found; metrics are at GET /metrics\n".clone_into(&mut text);
            (StatusCode::NOT_FOUND, "text/plain")
        }
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
