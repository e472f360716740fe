//! A server on a free port of loopback, over a store in memory.

#![allow(dead_code)] // Each test program uses a part.

use async_trait::async_trait;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{Admission, Clock, DataApi, Package, Result, Store, Violation};
use tko_http::{HttpServer, HttpServerSettings};
use tko_serve::{Access, Listen, Sockets, Stack};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The longest wait for anything: far more than a busy machine needs.
pub(crate) const TIME: Duration = Duration::from_mins(1);

/// Refuses resources of the kind `Refused`.
pub(crate) struct NoRefused;

#[async_trait]
impl Admission for NoRefused {
    async fn admit(&self, package: &Package, _: bool) -> Result<Vec<Violation>> {
        let refused = package.iter().filter(|one| &*one.gvk().kind == "Refused");
        Ok(refused
            .map(|one| {
                Violation::new("must not be of this kind")
                    .resource(one.identifier().clone())
                    .path("kind")
            })
            .collect())
    }
}

/// The store behind a server, which outlives it.
pub(crate) type MemoryStore = Store<Memory>;

/// A store in memory.
pub(crate) fn store() -> MemoryStore {
    let backend = Memory::new(Arc::new(SystemClock::new()), MemorySettings::default());
    Store::new(
        Arc::new(backend),
        Arc::new(NoRefused),
        Arc::new(TimeOrderedIds),
    )
}

/// A running server.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) store: MemoryStore,
    pub(crate) client: Client,
    stop: CancellationToken,
    serving: JoinHandle<Result<()>>,
}

impl TestServer {
    /// A server with default settings.
    pub(crate) async fn start() -> Self {
        Self::with(store(), HttpServerSettings::default(), Access::new(), 0).await
    }

    /// A server over a store.
    pub(crate) async fn with(
        store: MemoryStore,
        settings: HttpServerSettings,
        access: Access,
        port: u16,
    ) -> Self {
        let api = Arc::new(store.clone());
        Self::serving(api, store, settings, access, port).await
    }

    /// A server over an API in front of a store.
    pub(crate) async fn serving(
        api: Arc<dyn DataApi>,
        store: MemoryStore,
        settings: HttpServerSettings,
        access: Access,
        port: u16,
    ) -> Self {
        let listen = Listen {
            stack: Stack::Ipv4,
            port,
            ..Listen::default()
        };
        let sockets = Sockets::bind(&listen).await.expect("loopback");
        let address = sockets.addresses()[0];
        let stop = CancellationToken::new();
        let server = HttpServer::new(api)
            .with_admission(Arc::new(NoRefused))
            .with_settings(settings)
            .with_access(access);
        let serving = tokio::spawn(server.serve(sockets, stop.clone()));
        // The first test of a process installs it; the others find it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIME)
            .build()
            .expect("a client");
        Self {
            address,
            store,
            client,
            stop,
            serving,
        }
    }

    /// Stops the server and returns its store.
    pub(crate) async fn stop(mut self) -> MemoryStore {
        self.stop_now().await;
        self.store
    }

    /// Makes the server stop, without waiting for its end.
    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Stops the server.
    pub(crate) async fn stop_now(&mut self) {
        self.stop.cancel();
        (&mut self.serving)
            .await
            .expect("no panic")
            .expect("it served");
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path))
    }

    pub(crate) fn put(&self, path: &str) -> RequestBuilder {
        self.client.put(self.url(path))
    }

    pub(crate) fn delete(&self, path: &str) -> RequestBuilder {
        self.client.delete(self.url(path))
    }

    /// Puts YAML and expects success.
    pub(crate) async fn register(&self, path: &str, yaml: &str) {
        let put = self.put(path).header("content-type", "application/yaml");
        answer(put.body(yaml.to_owned()), StatusCode::OK).await;
    }

    /// Creates a deployment and returns its id.
    pub(crate) async fn create(&self, query: &str) -> String {
        let post = self.post(&format!("/api/v1/deployments?{query}"));
        let created = answer(post, StatusCode::CREATED).await;
        created["deploymentId"].as_str().expect("an id").to_owned()
    }
}

/// The time in milliseconds, as a question of the dashboard has it that is asked now.
pub(crate) fn now_ms() -> i64 {
    SystemClock::new().now().0 / 1_000
}

/// Sends a request and checks the status of the answer.
pub(crate) async fn sent(request: RequestBuilder, status: StatusCode) -> Response {
    let response = request.send().await.expect("an answer");
    if response.status() != status {
        let (was, url) = (response.status(), response.url().clone());
        let text = response.text().await.unwrap_or_default();
        panic!("{url}: {was}, expected {status}: {text}");
    }
    response
}

/// Sends a request, checks the status, and parses the answer as JSON; null if it is empty.
pub(crate) async fn answer(request: RequestBuilder, status: StatusCode) -> Value {
    let text = sent(request, status).await.text().await.expect("a body");
    if text.is_empty() {
        return Value::Null;
    }
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A resource in YAML.
pub(crate) const CONFIG: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n";
