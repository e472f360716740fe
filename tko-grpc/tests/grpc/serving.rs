//! A server on loopback, over the memory backend by default.

use std::net::SocketAddr;
use std::sync::Arc;
use tko_backend_memory::Memory;
use tko_conformance::{CountedIds, ManualClock, Strict};
use tko_core::{
    DataApi, NewDeployment, NewTemplate, Package, Result, Store, TemplateId, WorkerApi,
};
use tko_grpc::client::{self, Client};
use tko_grpc::proto::data_client::DataClient;
use tko_grpc::server::{Access, Listen, Server, ServerSettings, Sockets};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

/// A running server, until it is stopped or dropped.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    pub(crate) clock: ManualClock,
    pub(crate) shutdown: CancellationToken,
    pub(crate) ended: JoinHandle<Result<()>>,
}

impl Serving {
    /// Serves an empty store with default settings.
    pub(crate) async fn start() -> Self {
        Self::with(ServerSettings::default(), Access::default()).await
    }

    /// Serves an empty store.
    pub(crate) async fn with(settings: ServerSettings, access: Access) -> Self {
        let clock = ManualClock::new();
        let backend = Memory::new(
            Arc::new(clock.clone()),
            tko_backend_memory::MemorySettings::default(),
        );
        let store = Store::new(
            Arc::new(backend),
            Arc::new(Strict),
            Arc::new(CountedIds::default()),
        );
        Self {
            clock,
            ..Self::over(Arc::new(store), settings, access).await
        }
    }

    /// Serves this API.
    pub(crate) async fn over(
        data: Arc<dyn WorkerApi>,
        settings: ServerSettings,
        access: Access,
    ) -> Self {
        let sockets = Sockets::bind(&Listen::default())
            .await
            .expect("loopback is there");
        let address = sockets.addresses()[0];
        let shutdown = CancellationToken::new();
        let server = Server::new(data)
            .with_settings(settings)
            .with_access(access);
        let ended = tokio::spawn(server.serve(sockets, shutdown.clone()));
        Self {
            address,
            clock: ManualClock::new(),
            shutdown,
            ended,
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.client_with(client::ClientSettings::default())
    }

    pub(crate) fn client_with(&self, mut settings: client::ClientSettings) -> Client {
        settings.server = self.address.to_string();
        Client::new(settings).expect("the settings are sound")
    }

    /// A client of the compatible service.
    pub(crate) fn existing(&self) -> DataClient<Channel> {
        DataClient::new(self.channel())
    }

    /// A plaintext channel.
    pub(crate) fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address))
            .expect("an address")
            .connect_lazy()
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        self.ended.await.expect("the server does not panic")
    }
}

/// Decodes a package from YAML.
pub(crate) fn package(yaml: &str) -> Package {
    Package::decode(
        yaml.as_bytes(),
        tko_core::Format::Yaml,
        tko_core::Dialect::Programs,
        &tko_core::Limits::default(),
    )
    .expect("sound YAML")
}

/// A config map, in YAML.
pub(crate) const CONFIG: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  answer: \"42\"\n";

pub(crate) fn template(id: &str) -> NewTemplate {
    NewTemplate::new(TemplateId::new(id).expect("an id"), package(CONFIG))
        .metadata([("colour", "blue")])
}

pub(crate) fn from_template(id: &str) -> NewDeployment {
    NewDeployment::new().template(TemplateId::new(id).expect("an id"))
}

/// Registers a template and creates deployments of it; returns their ids in order.
pub(crate) async fn fleet(data: &impl DataApi, template_id: &str, size: usize) -> Vec<String> {
    data.register_template(template(template_id))
        .await
        .expect("a sound template");
    let mut ids = Vec::new();
    for result in data
        .create_deployments(vec![from_template(template_id); size])
        .await
    {
        ids.push(result.expect("a sound deployment").to_string());
    }
    ids
}
