//! A gRPC server for any [`WorkerApi`].
//!
//! It serves `tko.Data` (for existing clients), `tko.v1alpha2.Data` and
//! `tko.v1alpha2.Controller`, `grpc.health.v1.Health`, and reflection (v1 and v1alpha).
//!
//! - Listings are streamed page by page. A slow client slows the listing; a disconnected client
//!   stops it.
//! - A call's deadline (`grpc-timeout`) ends it, streams included.
//! - On shutdown the server reports `NOT_SERVING`, accepts no more connections, and ends watches
//!   and waiting claims. Other calls have [`ServerSettings::grace`] to finish.
//! - Every request but a health check is authenticated, and the API sees its
//!   [`Caller`](tko_core::Caller).
//! - The server is closed by default: see [`Access`].

mod authenticated;
mod batch;
mod call;
mod compatible;
mod data;
mod incoming;
mod list;
mod oversize;
mod pages;
mod request_body;
mod settings;
mod steps;
mod windows;
mod worker;

pub use oversize::skipped_entities;
pub use settings::ServerSettings;
pub use tko_serve::{
    Access, Anyone, Authenticate, BearerTokens, CallerFile, ClientCertificates, Credentials,
    FirstOf, Listen, Peer, ServerTls, Sockets, Stack, caller_line, new_token, refused_credentials,
};

use crate::proto::data_server::DataServer as CompatibleServer;
use crate::proto::v1alpha2::controller_server::ControllerServer;
use crate::proto::v1alpha2::data_server::DataServer;
use authenticated::{Authenticated, Unauthenticated};
use call::ServiceContext;
use futures_util::StreamExt;
use incoming::GrpcConnection;
use std::net::SocketAddr;
use std::sync::Arc;
use tko_core::{Error, Result, WorkerApi};
use tko_serve::{AcceptSettings, ByteBudget, HeavyWork};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Bytes that a client may send before the server reads them: for one call, and for one connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// The name of this interface in credentials and in the causes of changes.
pub const INTERFACE: &str = "grpc";

/// Serves an API to people, programs and workers.
pub struct Server {
    api: Arc<dyn WorkerApi>,
    settings: ServerSettings,
    access: Access,
}

impl Server {
    /// A server that admits anyone, on loopback only.
    pub fn new(api: Arc<dyn WorkerApi>) -> Self {
        Self {
            api,
            settings: ServerSettings::default(),
            access: Access::default(),
        }
    }

    /// Sets limits and timeouts.
    #[must_use]
    pub fn with_settings(self, settings: ServerSettings) -> Self {
        Self { settings, ..self }
    }

    /// Sets TLS, authentication and the permission to be open to the network.
    #[must_use]
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// Sets how callers are authenticated. Keeps the rest of [`with_access`](Self::with_access).
    #[must_use]
    pub fn with_authentication(self, authentication: Arc<dyn Authenticate>) -> Self {
        let access = self.access.authentication(authentication);
        Self { access, ..self }
    }

    /// Serves on these sockets until `shutdown`. Returns when all calls have ended, at most
    /// [`ServerSettings::grace`] later.
    ///
    /// # Errors
    /// - [`BadArgument`](Error::BadArgument): the server would be open to the network; or a
    ///   certificate or key is invalid.
    /// - [`Unavailable`](Error::Unavailable): the transport failed.
    pub async fn serve(self, sockets: Sockets, shutdown: CancellationToken) -> Result<()> {
        let addresses = sockets.addresses();
        self.access.check(&addresses)?;
        let insecure = self.access.is_open(&addresses);
        if insecure {
            tracing::warn!(
                ?addresses,
                "serving gRPC to the network without TLS or without authentication"
            );
        }
        let transport = tonic::transport::Server::builder()
            .max_concurrent_streams(self.settings.max_calls)
            .http2_keepalive_interval(Some(self.settings.keepalive))
            .http2_keepalive_timeout(Some(self.settings.keepalive))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let ending = CancellationToken::new();
        let broken = CancellationToken::new();
        let grace = self.settings.grace;
        let mut accept = AcceptSettings::default();
        accept.tls.clone_from(&self.access.tls);
        accept.protocols = vec!["h2"];
        accept.max_connections = self.settings.max_connections;
        accept.max_unauthenticated = self.settings.max_unauthenticated;
        accept.first_request = self.settings.first_request;
        accept.max_bytes_per_connection = self.settings.max_bytes_per_connection;
        accept.max_bytes = self.settings.max_bytes;
        let connections = tko_serve::accept(sockets, &accept, &broken)?
            .map(|connection| connection.map(GrpcConnection::new));
        let (health, routes) = self
            .into_routes(addresses.clone(), insecure, ending.clone())
            .await?;
        tracing::info!(?addresses, "serving gRPC");
        let stop = {
            let ending = ending.clone();
            async move {
                shutdown.cancelled().await;
                for service in SERVICES {
                    health
                        .set_service_status(service, ServingStatus::NotServing)
                        .await;
                }
                ending.cancel();
            }
        };
        let serving = { transport }
            .add_routes(routes)
            .serve_with_incoming_shutdown(connections, stop);
        let late = async {
            ending.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        let mut serving = std::pin::pin!(serving);
        let served = tokio::select! {
            served = &mut serving => served,
            () = late => {
                tracing::warn!(?grace, "aborting calls that exceeded the grace period");
                broken.cancel();
                serving.await
            }
        };
        served.map_err(|error| Error::unavailable("serve gRPC", error))
    }

    /// The services without a transport, for callers that provide their own.
    ///
    /// `About` reports `addresses`, and `insecure` or [`ServerSettings::reports_insecure`]. Watches
    /// and waiting claims end when `ending` is cancelled. Authentication is included; for client
    /// certificates the transport inserts a [`Peer`] into the extensions of each request. The
    /// transport is responsible for TLS, and for keeping open servers off the network.
    ///
    /// # Errors
    /// [`Internal`](Error::Internal): the description of the protocol is corrupt.
    pub async fn into_routes(
        self,
        addresses: Vec<SocketAddr>,
        insecure: bool,
        ending: CancellationToken,
    ) -> Result<(HealthReporter, Routes)> {
        let insecure = insecure || self.settings.reports_insecure;
        let max = self.settings.max_message;
        let max_bytes = self.settings.max_bytes;
        let max_streams = self.settings.max_streams;
        let authentication = self.access.authenticator();
        let open = self.access.admits_anyone();
        let heavy_work = HeavyWork::default();
        let context = Arc::new(ServiceContext {
            api: self.api,
            settings: self.settings,
            addresses,
            insecure,
            open,
            ending,
            heavy_work: heavy_work.clone(),
            window_ends: Arc::default(),
            streams: Arc::new(Semaphore::new(max_streams.clamp(1, Semaphore::MAX_PERMITS))),
        });
        let compatible = CompatibleServer::new(compatible::CompatibleService(context.clone()))
            .max_decoding_message_size(max)
            .max_encoding_message_size(max);
        let data = DataServer::new(data::DataService(context.clone()))
            .max_decoding_message_size(max)
            .max_encoding_message_size(max);
        let worker = ControllerServer::new(worker::WorkerService(context))
            .max_decoding_message_size(max)
            .max_encoding_message_size(max);
        let (reporter, health) = tonic_health::server::health_reporter();
        for service in SERVICES {
            reporter
                .set_service_status(service, ServingStatus::Serving)
                .await;
        }
        let corrupt = |error| Error::internal("describe the protocol", error);
        let reflection_v1 = reflection().build_v1().map_err(corrupt)?;
        let reflection_v1alpha = reflection().build_v1alpha().map_err(corrupt)?;
        let bytes = ByteBudget::new(max_bytes);
        macro_rules! authenticated {
            ($service:expr) => {
                Authenticated::new($service, &authentication, &bytes, &heavy_work, max)
            };
        }
        let mut routes = Routes::builder();
        routes
            .add_service(authenticated!(compatible))
            .add_service(authenticated!(data))
            .add_service(authenticated!(worker))
            .add_service(authenticated!(reflection_v1))
            .add_service(authenticated!(reflection_v1alpha))
            // Probes have no credentials, and health reveals nothing else.
            .add_service(Unauthenticated::new(health));
        Ok((reporter, routes.routes()))
    }
}

/// The services whose health is reported. The empty name stands for the server.
const SERVICES: [&str; 4] = [
    "",
    "tko.Data",
    "tko.v1alpha2.Data",
    "tko.v1alpha2.Controller",
];

fn reflection<'a>() -> tonic_reflection::server::Builder<'a> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(crate::proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
