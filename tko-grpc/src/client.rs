//! A client that implements [`DataApi`](tko_core::DataApi) and [`WorkerApi`](tko_core::WorkerApi),
//! so that everything that uses them in process also works remotely.
//!
//! It connects on first use, and reconnects when the connection breaks. Reads, and creations with
//! an idempotency key, are retried while the server is unavailable, up to
//! [`ClientSettings::tries`] attempts. Other calls that fail with `Unavailable` may have been
//! applied: read before you repeat them. A watch ends with `Unavailable` when the connection breaks
//! or the server stops: watch again after the last revision.

mod batch;
mod call;
mod data;
mod joined_writes;
mod pages;
mod settings;
mod steps;
mod streams;
mod worker;

pub use settings::{ClientSettings, ClientTls};

use crate::proto::v1alpha2 as wire;
use crate::proto::v1alpha2::controller_client::ControllerClient;
use crate::proto::v1alpha2::data_client::DataClient;
use crate::status;
use joined_writes::JoinedConnector;
use std::sync::Arc;
use steps::StepQueue;
use tko_core::{Error, Result};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Maximum accepted size of a status, in bytes. Packages with many violations cause large statuses.
const MAX_STATUS: u32 = 4 << 20;

type ClientChannel = InterceptedService<Channel, Outgoing>;

/// A connection to a server, as a [`DataApi`](tko_core::DataApi) and
/// [`WorkerApi`](tko_core::WorkerApi). Clones share the connection.
#[derive(Clone)]
pub struct Client {
    data: DataClient<ClientChannel>,
    controller: ControllerClient<ClientChannel>,
    settings: Arc<ClientSettings>,
    steps: Arc<StepQueue>,
}

impl Client {
    /// Creates a client that connects on first use. Requires a tokio runtime.
    ///
    /// # Errors
    /// [`BadArgument`](Error::BadArgument): the server, token, CA, certificate or key is invalid.
    pub fn new(settings: ClientSettings) -> Result<Self> {
        let endpoint = endpoint(&settings)?;
        let authorization = settings.token.as_deref().map(authorization).transpose()?;
        let connector = JoinedConnector::new(settings.connect_timeout);
        let channel = endpoint.connect_with_connector_lazy(connector);
        let connection = InterceptedService::new(channel, Outgoing(authorization));
        let max = settings.max_message;
        Ok(Self {
            data: DataClient::new(connection.clone())
                .max_decoding_message_size(max)
                .max_encoding_message_size(max),
            controller: ControllerClient::new(connection)
                .max_decoding_message_size(max)
                .max_encoding_message_size(max),
            settings: Arc::new(settings),
            steps: Arc::default(),
        })
    }

    /// Asks the server for its name, version and addresses.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`, `Unauthenticated` and `Forbidden`.
    pub async fn server(&self) -> Result<ServerAbout> {
        let answer = self
            .read(
                "read the description of the server",
                wire::AboutRequest {},
                |mut data, request| async move { data.about(request).await },
            )
            .await?;
        Ok(ServerAbout {
            name: answer.name,
            description: answer.description,
            version: answer.version,
            backend: answer.backend,
            addresses: answer.addresses,
            insecure: answer.insecure,
            open: answer.open,
        })
    }
}

/// A server's name, version, backend and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerAbout {
    /// The name that the operator gave the instance.
    pub name: String,
    /// The description of the instance.
    pub description: String,
    /// The version of the server's program, such as `0.1.0`.
    pub version: String,
    /// The storage backend, such as `memory`.
    pub backend: String,
    /// Addresses on which the server listens.
    pub addresses: Vec<String>,
    /// Whether an interface of its process is open to the network without TLS or without
    /// authentication.
    pub insecure: bool,
    /// Whether it accepts requests without credentials, with all rights.
    pub open: bool,
}

fn endpoint(settings: &ClientSettings) -> Result<Endpoint> {
    let bad = |why: String| Error::bad("gRPC server", format!("{:?}: {why}", settings.server));
    let scheme = if settings.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let url = if settings.server.contains("://") {
        settings.server.clone()
    } else {
        format!("{scheme}://{}", settings.server)
    };
    let endpoint =
        Endpoint::from_shared(url).map_err(|error| bad(tko_core::error::chain(&error)))?;
    let uri = endpoint.uri().clone();
    if uri.host().is_none_or(str::is_empty) {
        return Err(bad("there is no host; write HOST:PORT".to_owned()));
    }
    let tls = match (uri.scheme_str(), &settings.tls) {
        (Some("https"), Some(tls)) => Some(tls.config()),
        (Some("https"), None) => Some(ClientTls::new(None).config()),
        (Some("http"), None) => None,
        (Some("http"), Some(_)) => {
            return Err(bad(
                "http means plaintext; write https to use TLS".to_owned()
            ));
        }
        _ => {
            return Err(bad(
                "unknown scheme; write HOST:PORT, or an http or https URL".to_owned(),
            ));
        }
    };
    let endpoint = endpoint
        .connect_timeout(settings.connect_timeout)
        .http2_keep_alive_interval(settings.keepalive)
        .keep_alive_timeout(settings.keepalive)
        .http2_adaptive_window(true)
        .http2_max_header_list_size(MAX_STATUS)
        .tcp_nodelay(true);
    match tls {
        None => Ok(endpoint),
        Some(tls) => endpoint
            .tls_config(tls)
            .map_err(|error| Error::bad("TLS", tko_core::error::chain(&error))),
    }
}

fn authorization(token: &str) -> Result<MetadataValue<Ascii>> {
    let mut value: MetadataValue<Ascii> =
        format!("Bearer {}", token.trim()).parse().map_err(|_| {
            Error::bad(
                "bearer token",
                "the token has a character outside visible ASCII",
            )
        })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Adds the bearer token and the request for full error details to each call.
#[derive(Clone)]
struct Outgoing(Option<MetadataValue<Ascii>>);

impl Interceptor for Outgoing {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert(status::DETAILS, MetadataValue::from_static(status::FULL));
        if let Some(authorization) = &self.0 {
            metadata.insert("authorization", authorization.clone());
        }
        Ok(request)
    }
}
