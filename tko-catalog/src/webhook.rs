//! Webhooks: a signed POST of a git server or registry wakes a catalog or inventory.
//!
//! `POST /api/v1/catalogs/NAME:sync` and `POST /api/v1/inventories/NAME:sync`. The request is signed
//! with the secret that the property `secret` of the entry refers to: as GitHub does
//! (`X-Hub-Signature-256`), as Gitea and Forgejo do (`X-Gitea-Signature`), or with the secret itself as
//! GitLab does (`X-Gitlab-Token`). The content of the request is not read: a sync looks at the source.

use crate::properties::Properties;
use crate::provenance::SYNC_REQUESTED;
use crate::settings::CatalogSettings;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{DataApi, EntityUpdate, Error, Key, PluginId, PluginType, Result, Want};
use tko_worker::CancellationToken;
use tokio::net::TcpListener;

/// Most bytes of a request: more than GitHub sends.
const MAX_BODY: usize = 26 << 20;

/// How often a request is written again after a conflict.
const TRIES: usize = 5;

/// Longest time for one request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Serves webhooks for the catalogs and inventories of a data service.
#[derive(Clone)]
pub struct WebhookServer {
    data: Arc<dyn DataApi>,
    settings: Arc<CatalogSettings>,
}

impl WebhookServer {
    /// A server that reads secrets as the controller with these settings does.
    pub fn new(data: Arc<dyn DataApi>, settings: CatalogSettings) -> Self {
        Self {
            data,
            settings: Arc::new(settings),
        }
    }

    /// Serves until `shutdown`.
    ///
    /// # Errors
    /// `Internal`: the socket fails.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
        let router = Router::new()
            .route("/api/v1/catalogs/{*name}", post(catalog))
            .route("/api/v1/inventories/{*name}", post(inventory))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(self);
        axum::serve(listener, router)
            .with_graceful_shutdown(async move { shutdown.cancelled().await })
            .await
            .map_err(|error| Error::internal("serve webhooks", error))
    }

    /// Wakes an entry. Returns the status of the answer.
    async fn wake(
        &self,
        plugin_type: PluginType,
        path: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> StatusCode {
        let woken = tokio::time::timeout(TIMEOUT, self.woken(plugin_type, path, headers, body));
        match woken.await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => {
                tracing::warn!(path, error = %error.chain(), "webhook failed");
                StatusCode::SERVICE_UNAVAILABLE
            }
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    async fn woken(
        &self,
        plugin_type: PluginType,
        path: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<StatusCode> {
        let Some(Ok(id)) = path
            .strip_suffix(":sync")
            .map(|name| PluginId::new(plugin_type, name))
        else {
            return Ok(StatusCode::NOT_FOUND);
        };
        let key = Key::from(&id);
        for _ in 0..TRIES {
            // An entry without a secret answers as one that does not exist.
            let entity = match self.data.get(&key, Want::ROW).await {
                Ok(record) => record.entity,
                Err(Error::NotFound(_)) => return Ok(StatusCode::UNAUTHORIZED),
                Err(error) => return Err(error),
            };
            let Some(plugin) = entity.plugin() else {
                return Ok(StatusCode::UNAUTHORIZED);
            };
            let properties = Properties(&plugin.properties);
            let Some(secret) = properties.secret("secret", &self.settings).await? else {
                return Ok(StatusCode::UNAUTHORIZED);
            };
            if !is_signed(&secret, headers, body) {
                return Ok(StatusCode::UNAUTHORIZED);
            }
            let now = self.data.feed_position().await?.now.0;
            let mut given = entity.given.clone();
            given.insert(SYNC_REQUESTED, format!("webhook {now}"));
            let update = EntityUpdate::new(key.clone(), entity.version).metadata(given);
            match self.data.update_entity(update).await {
                Err(Error::Conflict(_)) => {}
                updated => return updated.map(|_| StatusCode::ACCEPTED),
            }
        }
        Err(Error::Conflict(vec![key]))
    }
}

async fn catalog(
    State(server): State<WebhookServer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    server
        .wake(PluginType::Catalog, &name, &headers, &body)
        .await
}

async fn inventory(
    State(server): State<WebhookServer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    server
        .wake(PluginType::Inventory, &name, &headers, &body)
        .await
}

/// Whether a request proves that its sender knows the secret.
fn is_signed(secret: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    if secret.is_empty() {
        return false;
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let github = header("x-hub-signature-256").and_then(|text| text.strip_prefix("sha256="));
    if let Some(signature) = github.or_else(|| header("x-gitea-signature")) {
        return verified(secret, signature, body);
    }
    // Digests are compared, so that the time says nothing about the secret.
    header("x-gitlab-token")
        .is_some_and(|token| blake3::hash(token.as_bytes()) == blake3::hash(secret.as_bytes()))
}

fn verified(secret: &str, signature: &str, body: &[u8]) -> bool {
    let Some(signature) = hex(signature) else {
        return false;
    };
    Hmac::<Sha256>::new_from_slice(secret.as_bytes()).is_ok_and(|mut mac| {
        mac.update(body);
        mac.verify_slice(&signature).is_ok()
    })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::is_signed;
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    fn signed(name: &'static str, value: &str, body: &[u8]) -> bool {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(value).expect("a value");
        headers.insert(HeaderName::from_static(name), value);
        is_signed("It's a Secret to Everybody", &headers, body)
    }

    #[test]
    fn signatures_are_those_of_the_services() {
        // The example of GitHub's documentation.
        let signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let body = b"Hello, World!";
        assert!(signed(
            "x-hub-signature-256",
            &format!("sha256={signature}"),
            body
        ));
        assert!(signed("x-gitea-signature", signature, body));
        assert!(signed(
            "x-gitlab-token",
            "It's a Secret to Everybody",
            b"anything"
        ));
        assert!(!signed(
            "x-hub-signature-256",
            &format!("sha256={signature}"),
            b"other"
        ));
        for wrong in [
            "",
            "sha256=",
            "sha256=zz",
            signature,
            &format!("sha1={signature}"),
        ] {
            assert!(!signed("x-hub-signature-256", wrong, body), "{wrong}");
        }
        assert!(!signed("x-gitlab-token", "wrong", body));
        assert!(!signed("authorization", "anything", body));
        assert!(!is_signed("", &HeaderMap::new(), body));
    }
}
