//! Metrics by HTTP, as flags and as a running part: what Prometheus and its like come for.
//!
//! Answered is `GET /metrics`, in the text form of OpenMetrics; nothing else is there. Whoever
//! comes is given little: few connections, short headers, short times, one request each.

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
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The text form, as its specification names it.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Most connections at once; others wait for one of them to end.
const MOST: usize = 16;

/// For the head of a request to come, and for all of the exchange.
const TIMES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(10));

/// Largest head of a request, and how many headers it may have.
const HEAD: (usize, usize) = (8_192, 64);

/// After a connection that could not be accepted, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Where to serve metrics. Without an address: nowhere
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Metrics")]
pub(crate) struct MetricsArgs {
    /// Serve metrics by HTTP at this address and port, such as 127.0.0.1:9464, under /metrics;
    /// port 0 is any that is free. Elsewhere than on loopback it takes --insecure
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
}

impl MetricsArgs {
    /// Listens, if it is said where.
    ///
    /// # Errors
    /// `BadArgument`: open to the network without being called insecure, or it cannot be had.
    pub(super) async fn open(&self, insecure: bool) -> Result<Option<Exporter>> {
        let Some(address) = self.metrics else {
            return Ok(None);
        };
        let is_open = !address.ip().to_canonical().is_loopback();
        if is_open && !insecure {
            return Err(Error::bad(
                "metrics address",
                format!(
                    "{address} is open to the network, and whoever asks is answered; listen on \
                     loopback, such as 127.0.0.1:{}, or say that it shall be so with --insecure",
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

fn refused(address: SocketAddr, error: &io::Error) -> Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; something listens there already: stop it, or give another port"
        }
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need the right to them",
        _ => "",
    };
    Error::bad(
        "metrics address",
        format!("cannot listen on {address}: {error}{advice}"),
    )
}

/// A socket that listens, and what is told there.
pub(super) struct Exporter {
    listener: TcpListener,
    address: SocketAddr,
    registry: Registry,
}

impl Exporter {
    /// For those who have metrics.
    pub(super) fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Tells which program this is, and what keeps its data.
    pub(super) fn name(&mut self, backend: &str) {
        let version = env!("CARGO_PKG_VERSION");
        let labels = [
            ("version", version.to_owned()),
            ("backend", backend.to_owned()),
        ];
        self.registry.register(
            "tko_build",
            "Which version this is, and what keeps its data",
            Info::new(labels),
        );
    }

    /// Answers until it is told to stop. A scrape that is under way then is cut short.
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
                    tracing::debug!(%error, "a connection for metrics was not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// One connection, one request.
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
        Ok(Err(error)) => tracing::debug!(%error, "a connection for metrics failed"),
        Err(_) => tracing::debug!("a connection for metrics took too long"),
    }
}

fn response(registry: &Registry, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let is_metrics = request.method() == Method::GET && request.uri().path() == "/metrics";
    let mut text = String::new();
    let (status, kind) = match is_metrics.then(|| encode(&mut text, registry)) {
        Some(Ok(())) => (StatusCode::OK, OPENMETRICS),
        Some(Err(error)) => {
            text = format!("cannot tell the metrics: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, "text/plain")
        }
        None => {
            "there is nothing but GET /metrics\n".clone_into(&mut text);
            (StatusCode::NOT_FOUND, "text/plain")
        }
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
