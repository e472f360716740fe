//! [`KrmServer`]: serves the API on sockets.

use crate::delegation::{ClusterReviews, Delegation};
use crate::reply::NeverCompressed;
use crate::service::{Gate, KrmService};
use crate::settings::KrmSettings;
use axum::body::Body;
use http::{Extensions, HeaderMap, Request, StatusCode, Version};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::sync::Arc;
use tko_core::{Clock, DataApi, Ids, Result};
use tko_serve::{Access, HttpSettings, ServerTls, Sockets, serve_http};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tower_http::CompressionLevel;
use tower_http::compression::Compression;
use tower_http::compression::predicate::{Predicate, SizeAbove};

/// The smallest response that is compressed, in bytes: that of Kubernetes. Responses of unknown
/// length, such as lists that are sent in several parts, are compressed whatever their size.
const MIN_COMPRESSED: u64 = 128 << 10;

/// Serves an API of TKO as a Kubernetes API.
pub struct KrmServer {
    data: Arc<dyn DataApi>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    settings: KrmSettings,
    access: Access,
    cluster: Option<Arc<dyn ClusterReviews>>,
}

impl KrmServer {
    /// A server that admits anyone, on loopback only. `ids` completes names.
    pub fn new(data: Arc<dyn DataApi>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self {
            data,
            clock,
            ids,
            settings: KrmSettings::default(),
            access: Access::default(),
            cluster: None,
        }
    }

    /// Sets limits and timeouts.
    #[must_use]
    pub fn with_settings(self, settings: KrmSettings) -> Self {
        Self { settings, ..self }
    }

    /// Sets TLS, authentication and the permission to be open to the network.
    #[must_use]
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// Authenticates and authorizes every request by a cluster, as an aggregated API server behind
    /// it. This replaces the authentication of [`with_access`](Self::with_access). Its TLS then
    /// requests client certificates and leaves their verification to the server.
    #[must_use]
    pub fn with_cluster(self, reviews: Arc<dyn ClusterReviews>) -> Self {
        Self {
            cluster: Some(reviews),
            ..self
        }
    }

    /// Serves on these sockets until `shutdown`. Returns when all requests have ended, at most
    /// [`KrmSettings::grace`] later.
    ///
    /// # Errors
    /// - [`BadArgument`](tko_core::Error::BadArgument): the server would be open to the network; or a
    ///   certificate or key is invalid.
    /// - [`Unavailable`](tko_core::Error::Unavailable): the cluster does not answer.
    pub async fn serve(self, sockets: Sockets, shutdown: CancellationToken) -> Result<()> {
        let addresses = sockets.addresses();
        let is_delegated = self.cluster.is_some() && self.access.tls.is_some();
        if !is_delegated {
            self.access.check(&addresses)?;
        }
        let is_open = self.access.is_open(&addresses);
        if !is_delegated && is_open {
            tracing::warn!(
                ?addresses,
                "serving the Kubernetes API to the network without TLS or without authentication"
            );
        }
        let mut http = HttpSettings::default();
        http.accept.tls.clone_from(&self.access.tls);
        if self.cluster.is_some() {
            let tls = http.accept.tls.take();
            http.accept.tls = tls.map(ServerTls::with_unverified_client_certificate);
        }
        http.accept.max_connections = self.settings.max_connections;
        http.accept.max_bytes_per_connection = self.settings.max_bytes_per_connection;
        http.accept.max_bytes = self.settings.max_bytes;
        http.grace = self.settings.grace;
        let (gate, _following) = match self.cluster {
            None => {
                let authentication = self.access.authenticator();
                let gate = Gate::Local {
                    authentication,
                    is_open,
                };
                (gate, None)
            }
            Some(reviews) => {
                let delegation = Arc::new(Delegation::new(reviews, self.clock.clone()));
                let following = tokio::spawn(delegation.start().await?);
                let following = AbortOnDropHandle::new(following);
                (Gate::Cluster(delegation), Some(following))
            }
        };
        let service = Arc::new(KrmService::new(
            self.data,
            self.clock,
            self.ids,
            self.settings,
            gate,
            shutdown.clone(),
        ));
        tracing::info!(?addresses, "serving the Kubernetes API");
        let respond = tower::service_fn(move |request: Request<Incoming>| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(service.respond(request.map(Body::new)).await) }
        });
        let respond = Compression::new(respond)
            .quality(CompressionLevel::Fastest)
            .compress_when(SizeAbove::new(MIN_COMPRESSED).and(may_be_compressed));
        serve_http(sockets, &http, respond, shutdown).await
    }
}

/// Whether a response is not one to a watch.
fn may_be_compressed(_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions) -> bool {
    extensions.get::<NeverCompressed>().is_none()
}
