//! Webhooks: a signed POST of a git server or registry wakes a catalog or inventory.
//!
//! `POST /api/v1/catalogs/NAME:sync` and `POST /api/v1/inventories/NAME:sync`. The request is
//! signed with the secret that the property `secret` of the entry refers to. The signature is that
//! of GitHub (`X-Hub-Signature-256`), that of Gitea and Forgejo (`X-Gitea-Signature`), or the
//! secret itself, as with GitLab (`X-Gitlab-Token`). The body of a request is used only to verify
//! its signature: a sync reads the source itself.

use crate::properties::Properties;
use crate::provenance::SYNC_REQUESTED;
use crate::settings::CatalogSettings;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use futures_util::TryStreamExt;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{DataApi, Entity, EntityUpdate, Error, Key, PluginId, PluginType, Result, Want};
use tko_serve::{Access, HttpSettings, Sockets, serve_http};
use tko_worker::CancellationToken;

/// Maximum number of bytes of a request: more than GitHub sends. They are not kept.
const MAX_BODY: usize = 26 << 20;

/// Maximum number of connections at once.
const MAX_CONNECTIONS: usize = 256;

/// Maximum number of attempts to write a request if there are conflicts.
const TRIES: usize = 5;

/// Maximum time for one request, including its body.
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

    /// Serves until `shutdown`. Returns when all requests have ended, at most 10 s later.
    ///
    /// # Errors
    /// `BadArgument`: an address is open to the network. Webhooks have no TLS; a proxy with TLS makes
    /// them public.
    pub async fn serve(self, sockets: Sockets, shutdown: CancellationToken) -> Result<()> {
        Access::new().check(&sockets.addresses())?;
        let router = Router::new()
            .route("/api/v1/catalogs/{*name}", post(catalog))
            .route("/api/v1/inventories/{*name}", post(inventory))
            .with_state(self);
        let mut http = HttpSettings::default();
        http.accept.max_connections = MAX_CONNECTIONS;
        serve_http(sockets, &http, router, shutdown).await
    }

    /// Wakes an entry. Returns the status of the answer.
    async fn wake(&self, plugin_type: PluginType, path: &str, request: Request) -> StatusCode {
        let woken = tokio::time::timeout(TIMEOUT, self.woken(plugin_type, path, request));
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
        request: Request,
    ) -> Result<StatusCode> {
        let name = path.strip_suffix(":sync");
        let Some(Ok(id)) = name.map(|name| PluginId::new(plugin_type, name)) else {
            return Ok(StatusCode::NOT_FOUND);
        };
        let key = Key::from(&id);
        // An entry without a secret gets the same answer as one that does not exist.
        let Some(mut entity) = self.entry(&key).await? else {
            return Ok(StatusCode::UNAUTHORIZED);
        };
        let Some(secret) = self.secret(&entity).await else {
            return Ok(StatusCode::UNAUTHORIZED);
        };
        let (head, body) = request.into_parts();
        if !is_signed(&secret, &head.headers, body).await {
            return Ok(StatusCode::UNAUTHORIZED);
        }
        for _ in 0..TRIES {
            let now = self.data.feed_position().await?.now.0;
            let mut given = entity.given.clone();
            given.insert(SYNC_REQUESTED, format!("webhook {now}"));
            let update = EntityUpdate::new(key.clone(), entity.version).metadata(given);
            match self.data.update_entity(update).await {
                Err(Error::Conflict(_)) => {}
                updated => return updated.map(|_| StatusCode::ACCEPTED),
            }
            match self.entry(&key).await? {
                Some(newer) => entity = newer,
                None => return Ok(StatusCode::UNAUTHORIZED),
            }
        }
        Err(Error::Conflict(vec![key]))
    }

    async fn entry(&self, key: &Key) -> Result<Option<Arc<Entity>>> {
        match self.data.get(key, Want::ROW).await {
            Ok(record) => Ok(Some(record.entity)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The secret of an entry; `None` if it has none, or if it cannot be read.
    async fn secret(&self, entity: &Entity) -> Option<String> {
        let properties = Properties(&entity.plugin()?.properties);
        match properties.secret("secret", &self.settings).await {
            Ok(secret) => secret.filter(|secret| !secret.is_empty()),
            Err(error) => {
                tracing::warn!(key = %entity.key, error = %error.chain(), "cannot read the webhook secret");
                None
            }
        }
    }
}

async fn catalog(
    State(server): State<WebhookServer>,
    Path(name): Path<String>,
    request: Request,
) -> StatusCode {
    server.wake(PluginType::Catalog, &name, request).await
}

async fn inventory(
    State(server): State<WebhookServer>,
    Path(name): Path<String>,
    request: Request,
) -> StatusCode {
    server.wake(PluginType::Inventory, &name, request).await
}

/// Whether a request proves that its sender knows the secret.
async fn is_signed(secret: &str, headers: &HeaderMap, body: Body) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let github = header("x-hub-signature-256").and_then(|text| text.strip_prefix("sha256="));
    if let Some(signature) = github.or_else(|| header("x-gitea-signature")) {
        return verified(secret, signature, body).await;
    }
    // Digests are compared, so that the time taken reveals nothing about the secret.
    header("x-gitlab-token")
        .is_some_and(|token| blake3::hash(token.as_bytes()) == blake3::hash(secret.as_bytes()))
}

/// Computes the signature while the body arrives, so that none of it is kept.
async fn verified(secret: &str, signature: &str, body: Body) -> bool {
    let Some(signature) = hex(signature) else {
        return false;
    };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return false;
    };
    let mut chunks = body.into_data_stream();
    let mut left = MAX_BODY;
    loop {
        match chunks.try_next().await {
            Ok(Some(chunk)) if chunk.len() <= left => {
                left -= chunk.len();
                mac.update(&chunk);
            }
            Ok(None) => return mac.verify_slice(&signature).is_ok(),
            Ok(Some(_)) | Err(_) => return false,
        }
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{MAX_BODY, is_signed};
    use axum::body::Body;
    use axum::http::{HeaderMap, HeaderName, HeaderValue};
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::Sha256;
    use std::fmt::Write;

    fn mac_of(body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"It's a Secret to Everybody").expect("a key");
        mac.update(body);
        let mac = mac.finalize().into_bytes();
        mac.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("into memory");
            text
        })
    }

    async fn signed(name: &'static str, value: &str, body: &[u8]) -> bool {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(value).expect("a value");
        headers.insert(HeaderName::from_static(name), value);
        let body = Body::from(body.to_vec());
        is_signed("It's a Secret to Everybody", &headers, body).await
    }

    #[tokio::test]
    async fn signatures_are_those_of_the_services() {
        // The example of GitHub's documentation.
        let signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let body = b"Hello, World!";
        assert!(signed("x-hub-signature-256", &format!("sha256={signature}"), body).await);
        assert!(signed("x-gitea-signature", signature, body).await);
        assert!(signed("x-gitlab-token", "It's a Secret to Everybody", b"anything").await);
        assert!(
            !signed(
                "x-hub-signature-256",
                &format!("sha256={signature}"),
                b"other"
            )
            .await
        );
        for wrong in [
            "",
            "sha256=",
            "sha256=zz",
            signature,
            &format!("sha1={signature}"),
        ] {
            assert!(!signed("x-hub-signature-256", wrong, body).await, "{wrong}");
        }
        assert!(!signed("x-gitlab-token", "wrong", body).await);
        assert!(!signed("authorization", "anything", body).await);
        let mut huge = vec![0; MAX_BODY + 1];
        assert!(!signed("x-gitea-signature", &mac_of(&huge), &huge).await);
        huge.pop();
        assert!(signed("x-gitea-signature", &mac_of(&huge), &huge).await);
    }
}
