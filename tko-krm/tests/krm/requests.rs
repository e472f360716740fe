//! Requests without kubectl.

use crate::serving::Serving;
use reqwest::{Client, Method};
use serde_json::Value;
use tko_kubernetes_server::Issued;

/// A client of a server's collections.
pub(crate) struct ApiClient {
    client: Client,
    base: String,
    token: Option<&'static str>,
}

/// The status, body and warnings of an answer.
#[derive(Debug)]
pub(crate) struct ApiAnswer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) warnings: Vec<String>,
}

impl ApiClient {
    pub(crate) fn new(serving: &Serving) -> Self {
        // Another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            client: Client::new(),
            base: format!("http://{}/apis/tko.nephio.org/v1alpha1", serving.address),
            token: None,
        }
    }

    /// The same client with this bearer token.
    pub(crate) fn with_token(self, token: &'static str) -> Self {
        Self {
            token: Some(token),
            ..self
        }
    }

    /// Sends a body of this media type to a path below the group.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        media: &str,
        body: String,
    ) -> ApiAnswer {
        let request = self
            .client
            .request(method, format!("{}/{path}", self.base))
            .header("content-type", media)
            .body(body);
        let request = match self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.send().await.expect("it answers");
        let warnings = response.headers().get_all("warning").iter();
        let warnings = warnings
            .map(|value| value.to_str().expect("ASCII").to_owned())
            .collect();
        ApiAnswer {
            status: response.status().as_u16(),
            warnings,
            body: response.json().await.expect("JSON"),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> ApiAnswer {
        self.send(Method::GET, path, "application/json", String::new())
            .await
    }

    pub(crate) async fn post(&self, path: &str, object: &Value) -> ApiAnswer {
        self.send(Method::POST, path, "application/json", object.to_string())
            .await
    }

    pub(crate) async fn put(&self, path: &str, object: &Value) -> ApiAnswer {
        self.send(Method::PUT, path, "application/json", object.to_string())
            .await
    }

    pub(crate) async fn delete(&self, path: &str) -> ApiAnswer {
        self.send(Method::DELETE, path, "application/json", String::new())
            .await
    }

    /// Patches an object; `kind` is `json-patch+json`, `merge-patch+json` or `apply-patch+yaml`.
    pub(crate) async fn patch(&self, path: &str, kind: &str, patch: &Value) -> ApiAnswer {
        let media = format!("application/{kind}");
        self.send(Method::PATCH, path, &media, patch.to_string())
            .await
    }
}

impl ApiAnswer {
    /// The message of a failure.
    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

/// A client that trusts this authority, and may have a certificate.
pub(crate) fn tls_client(ca: &str, identity: Option<&Issued>) -> Client {
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = reqwest::Certificate::from_pem(ca.as_bytes()).expect("PEM");
    let mut builder = Client::builder().tls_certs_only([ca]);
    if let Some(issued) = identity {
        let pem = format!("{}{}", issued.certificate, issued.key);
        let identity = reqwest::Identity::from_pem(pem.as_bytes()).expect("PEM");
        builder = builder.identity(identity);
    }
    builder.build().expect("a client")
}
