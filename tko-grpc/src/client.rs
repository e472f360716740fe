//! A client that is a [`DataApi`](tko_core::Data) and a [`WorkerApi`](tko_core::Controller):
//! whatever works with those in process works remotely.
//!
//! It connects when it is first used, and again whenever the connection breaks. What only reads,
//! and creations with a `once` key, are tried [`Settings::tries`] times while the server is
//! unavailable; whatever else fails so may have been done: read before repeating it. A watch ends
//! with `Unavailable` when the connection or the server does: watch again, after the last revision.

mod batch;
mod call;
mod controller;
mod data;
mod pages;
mod reading;
mod settings;

pub use settings::{Settings, Tls};

use crate::proto::v1alpha2 as wire;
use crate::proto::v1alpha2::controller_client::ControllerClient;
use crate::proto::v1alpha2::data_client::DataClient;
use crate::status;
use std::sync::Arc;
use tko_core::{Error, Result};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Longest status, in bytes, that is taken: of a package with very many violations.
const MAX_STATUS: u32 = 4 << 20;

type Connection = InterceptedService<Channel, Outgoing>;

/// A remote [`DataApi`](tko_core::Data) and [`WorkerApi`](tko_core::Controller). Cloning shares the
/// connection.
#[derive(Clone)]
pub struct Client {
    data: DataClient<Connection>,
    controller: ControllerClient<Connection>,
    settings: Arc<Settings>,
}

impl Client {
    /// For the server that the settings name; does not connect yet. Needs a tokio runtime.
    ///
    /// # Errors
    /// `BadArgument`: no proper server, token, CA, certificate or key.
    pub fn new(settings: Settings) -> Result<Self> {
        let endpoint = endpoint(&settings)?;
        let authorization = settings.token.as_deref().map(authorization).transpose()?;
        let connection = InterceptedService::new(endpoint.connect_lazy(), Outgoing(authorization));
        let most = settings.max_message;
        Ok(Self {
            data: DataClient::new(connection.clone())
                .max_decoding_message_size(most)
                .max_encoding_message_size(most),
            controller: ControllerClient::new(connection)
                .max_decoding_message_size(most)
                .max_encoding_message_size(most),
            settings: Arc::new(settings),
        })
    }

    /// What the server says of itself.
    ///
    /// # Errors
    /// `Unavailable` and `Internal`; `Unauthenticated` and `Forbidden`.
    pub async fn server(&self) -> Result<ServerAbout> {
        let answer = self
            .read(
                "ask the server about itself",
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
        })
    }
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerAbout {
    /// What this instance is called.
    pub name: String,
    /// More about it.
    pub description: String,
    /// Of TKO.
    pub version: String,
    /// What keeps the data, such as `memory`.
    pub backend: String,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// It is open to the network without TLS or without authentication.
    pub insecure: bool,
}

fn endpoint(settings: &Settings) -> Result<Endpoint> {
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
        return Err(bad("it has no host; give HOST:PORT".to_owned()));
    }
    let tls = match (uri.scheme_str(), &settings.tls) {
        (Some("https"), Some(tls)) => Some(tls.config()),
        (Some("https"), None) => Some(Tls::new(None).config()),
        (Some("http"), None) => None,
        (Some("http"), Some(_)) => {
            return Err(bad(
                "http is in plaintext; write https to use TLS".to_owned()
            ));
        }
        _ => return Err(bad("give HOST:PORT, or an http or https URL".to_owned())),
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
    let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.trim())
        .parse()
        .map_err(|_| Error::bad("bearer token", "has characters other than visible ASCII"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Says who calls, and that long statuses are welcome.
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
