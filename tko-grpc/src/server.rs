//! A server for any [`WorkerApi`].
//!
//! It serves `tko.Data` (for existing clients), `tko.v1alpha2.Data` and
//! `tko.v1alpha2.Controller`, `grpc.health.v1.Health`, and reflection (v1 and v1alpha).
//!
//! - Listings go from pages to the socket: what a slow client does not take is not read, and what a
//!   gone client asked for is dropped.
//! - A call's deadline (`grpc-timeout`) ends it, streams too.
//! - Told to stop, it says `NOT_SERVING`, takes no more connections, ends watches and waits for due
//!   work, and gives the rest [`Settings::grace`].
//! - It is closed by default: see [`Access`].

mod access;
mod batch;
mod call;
mod compatible;
mod connection;
mod controller;
mod data;
mod list;
mod listen;
mod pages;
mod settings;

pub use access::{Access, Tls, Tokens};
pub use listen::{Listen, Sockets, Stack};
pub use settings::Settings;

use crate::proto::data_server::DataServer as CompatibleServer;
use crate::proto::v1alpha2::controller_server::ControllerServer;
use crate::proto::v1alpha2::data_server::DataServer;
use crate::status::{self, Detail};
use call::Context;
use connection::Connection;
use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::select_all;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Error, Result, WorkerApi};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::service::{Interceptor, Routes};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Serves data to people, programs and workers.
pub struct Server {
    data: Arc<dyn WorkerApi>,
    settings: Settings,
    access: Access,
}

impl Server {
    /// Serves this data to everyone, on loopback.
    pub fn new(data: Arc<dyn WorkerApi>) -> Self {
        Self {
            data,
            settings: Settings::default(),
            access: Access::default(),
        }
    }

    /// Behaves like this.
    #[must_use]
    pub fn with_settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Lets in whom this says.
    #[must_use]
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// Serves on these sockets until `shutdown`, and ends when what was in flight has, at the
    /// latest [`Settings::grace`] later.
    ///
    /// # Errors
    /// - `BadArgument`: open to the network without TLS and authentication, and not said to be
    ///   insecure; a certificate or key that is none.
    /// - `Unavailable`: a socket broke.
    pub async fn serve(self, sockets: Sockets, shutdown: CancellationToken) -> Result<()> {
        let addresses = sockets.addresses();
        self.access.check(&addresses)?;
        let insecure = self.access.is_open(&addresses);
        if insecure {
            tracing::warn!(
                ?addresses,
                "gRPC is open to the network without TLS or without authentication"
            );
        }
        let mut transport = tonic::transport::Server::builder()
            .max_concurrent_streams(self.settings.max_calls)
            .http2_keepalive_interval(Some(self.settings.keepalive))
            .http2_keepalive_timeout(Some(self.settings.keepalive))
            .http2_adaptive_window(Some(true));
        if let Some(tls) = &self.access.tls {
            transport = transport.tls_config(tls.config()).map_err(|error| {
                Error::bad("TLS certificate and key", tko_core::error::chain(&error))
            })?;
        }
        let ending = CancellationToken::new();
        let broken = CancellationToken::new();
        let grace = self.settings.grace;
        let incoming = incoming(
            sockets.into_listeners(),
            self.settings.max_connections,
            &broken,
        );
        let (health, routes) = self
            .routes(addresses.clone(), insecure, ending.clone())
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
        let serving = transport
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming, stop);
        let late = async {
            ending.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        let mut serving = std::pin::pin!(serving);
        let served = tokio::select! {
            served = &mut serving => served,
            () = late => {
                tracing::warn!(?grace, "calls were still in flight after the time of grace");
                broken.cancel();
                serving.await
            }
        };
        served.map_err(|error| Error::unavailable("serve gRPC", error))
    }

    /// The services, for those who bring their own transport. `addresses` are told to clients;
    /// streams without end stop when `ending` is cancelled. Authentication by token is in them;
    /// TLS, and the rule that keeps open servers off the network, are the transport's.
    ///
    /// # Errors
    /// `Internal`: the protocol's description is broken.
    pub async fn routes(
        self,
        addresses: Vec<SocketAddr>,
        insecure: bool,
        ending: CancellationToken,
    ) -> Result<(HealthReporter, Routes)> {
        let most = self.settings.max_message;
        let gate = Gate(self.access.tokens);
        let context = Arc::new(Context {
            data: self.data,
            settings: self.settings,
            addresses,
            insecure,
            ending,
        });
        let compatible = CompatibleServer::new(compatible::Compatible(context.clone()))
            .max_decoding_message_size(most)
            .max_encoding_message_size(most);
        let data = DataServer::new(data::Data(context.clone()))
            .max_decoding_message_size(most)
            .max_encoding_message_size(most);
        let controller = ControllerServer::new(controller::Controller(context))
            .max_decoding_message_size(most)
            .max_encoding_message_size(most);
        let (reporter, health) = tonic_health::server::health_reporter();
        for service in SERVICES {
            reporter
                .set_service_status(service, ServingStatus::Serving)
                .await;
        }
        let broken = |error| Error::internal("describe the protocol", error);
        let mut routes = Routes::builder();
        routes
            .add_service(InterceptedService::new(compatible, gate.clone()))
            .add_service(InterceptedService::new(data, gate.clone()))
            .add_service(InterceptedService::new(controller, gate.clone()))
            .add_service(InterceptedService::new(
                reflection().build_v1().map_err(broken)?,
                gate.clone(),
            ))
            .add_service(InterceptedService::new(
                reflection().build_v1alpha().map_err(broken)?,
                gate,
            ))
            // Whoever watches over the process has no token, and learns nothing from this.
            .add_service(health);
        Ok((reporter, routes.routes()))
    }
}

/// Whose health is told; the empty name is the server's.
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

/// Lets in who has a token, if any is needed.
#[derive(Clone)]
struct Gate(Option<Tokens>);

impl Interceptor for Gate {
    fn call(&mut self, request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        if let Some(tokens) = &self.0 {
            tokens
                .check(request.metadata())
                .map_err(|error| status::from_error(&error, Detail::Short))?;
        }
        Ok(request)
    }
}

/// Connections as they come, no more at once than `most`.
fn incoming(
    listeners: Vec<TcpListener>,
    most: usize,
    broken: &CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> + Send + 'static {
    let room = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
    select_all(listeners.into_iter().map(|listener| {
        let (room, broken) = (room.clone(), broken.clone());
        let accepted = futures_util::stream::unfold(listener, move |listener| {
            let (room, broken) = (room.clone(), broken.clone());
            async move {
                let accepted = accept(&listener, room, broken).await;
                Some((accepted, listener))
            }
        });
        accepted.boxed()
    }))
}

async fn accept(
    listener: &TcpListener,
    room: Arc<Semaphore>,
    broken: CancellationToken,
) -> io::Result<Connection> {
    let stream = loop {
        match listener.accept().await {
            Ok((stream, _)) => break stream,
            // Of one connection, or of too many open files: it passes.
            Err(error) => {
                tracing::debug!(%error, "could not accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    stream.set_nodelay(true)?;
    // Only now: a socket where nobody calls must not keep the room that another needs.
    let permit = room
        .acquire_owned()
        .await
        .expect("nobody closes the semaphore");
    Ok(Connection::new(stream, broken, permit))
}

/// After a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(50);
