//! A server over a store in memory.

use async_trait::async_trait;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{
    Admission, DataApi, Guarded, Ids, NewDeployment, NewPlugin, NewSite, NewTemplate, Package,
    PluginId, PluginType, Result, RoleGuard, SiteId, Store, TemplateId, Violation,
};
use tko_krm::{ClusterReviews, KrmServer, KrmSettings};
use tko_serve::{Access, Listen, Sockets, Stack};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Admits packages unless a resource is named `refused`.
pub(crate) struct AdmitMost;

#[async_trait]
impl Admission for AdmitMost {
    async fn admit(&self, package: &Package, _: bool) -> Result<Vec<Violation>> {
        let refused = package
            .iter()
            .filter(|resource| &*resource.identifier().name == "refused");
        Ok(refused
            .map(|resource| {
                Violation::new("this name is refused").resource(resource.identifier().clone())
            })
            .collect())
    }
}

/// A running server.
pub(crate) struct Serving {
    pub(crate) data: Arc<Store<Memory>>,
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl Serving {
    pub(crate) async fn start() -> Self {
        Self::with(KrmSettings::default(), Access::new()).await
    }

    pub(crate) async fn with(settings: KrmSettings, access: Access) -> Self {
        Self::behind(settings, access, None).await
    }

    /// A server that may be behind a cluster.
    pub(crate) async fn behind(
        settings: KrmSettings,
        access: Access,
        cluster: Option<Arc<dyn ClusterReviews>>,
    ) -> Self {
        let data = store(MemorySettings::default());
        Self::over(data, 0, settings, access, cluster).await
    }

    /// A server that remembers this many changes, and its store hardly more.
    pub(crate) async fn remembering(changes: usize) -> Self {
        let history = MemorySettings { history: changes };
        let mut settings = KrmSettings::default();
        settings.kept_changes = changes;
        Self::over(store(history), 0, settings, Access::new(), None).await
    }

    /// A server over data that are there already, on this port.
    pub(crate) async fn over(
        data: Arc<Store<Memory>>,
        port: u16,
        settings: KrmSettings,
        access: Access,
        cluster: Option<Arc<dyn ClusterReviews>>,
    ) -> Self {
        // Guarded, as in the program: a caller without a role may do nothing.
        let guarded = Arc::new(Guarded::new(data.clone(), RoleGuard::new()));
        Self::through(guarded, data, port, settings, access, cluster).await
    }

    /// A server over this API in front of the data.
    pub(crate) async fn through(
        api: Arc<dyn DataApi>,
        data: Arc<Store<Memory>>,
        port: u16,
        settings: KrmSettings,
        access: Access,
        cluster: Option<Arc<dyn ClusterReviews>>,
    ) -> Self {
        let ids = Arc::new(TimeOrderedIds);
        Self::naming(ids, api, data, port, settings, access, cluster).await
    }

    /// A server that completes names by these ids.
    pub(crate) async fn naming(
        ids: Arc<dyn Ids>,
        api: Arc<dyn DataApi>,
        data: Arc<Store<Memory>>,
        port: u16,
        settings: KrmSettings,
        access: Access,
        cluster: Option<Arc<dyn ClusterReviews>>,
    ) -> Self {
        let listen = Listen {
            stack: Stack::Ipv4,
            port,
            ..Listen::default()
        };
        let sockets = Sockets::bind(&listen).await.expect("loopback");
        let address = sockets.addresses()[0];
        let stop = CancellationToken::new();
        let clock = Arc::new(SystemClock::new());
        let server = KrmServer::new(api, clock, ids)
            .with_settings(settings)
            .with_access(access);
        let server = match cluster {
            Some(reviews) => server.with_cluster(reviews),
            None => server,
        };
        let task = tokio::spawn(server.serve(sockets, stop.clone()));
        Self {
            data,
            address,
            stop,
            task,
        }
    }

    /// Stops the server.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let ended = self.task.await.expect("it does not panic");
        ended.expect("it ends well");
    }

    /// Registers a template, a site, a plugin and a deployment.
    pub(crate) async fn fill(&self) -> String {
        let data = &*self.data;
        let template = TemplateId::new("demo/hello-world:v1.0.0").expect("an id");
        let new = NewTemplate::new(template.clone(), package("hello"));
        data.register_template(new).await.expect("valid");
        let site = SiteId::new("india/south-100").expect("an id");
        let new = NewSite::new(site.clone(), package("place"));
        data.register_site(new).await.expect("valid");
        let plugin = PluginId::new(PluginType::Prepare, "gateway").expect("an id");
        let new = NewPlugin::new(plugin, "command").argument("./gateway");
        data.register_plugin(new).await.expect("valid");
        let new = NewDeployment::new().template(template).site(site);
        let id = data.create_deployment(new).await.expect("valid");
        id.to_string()
    }
}

/// A store in memory.
pub(crate) fn store(settings: MemorySettings) -> Arc<Store<Memory>> {
    let memory = Memory::new(Arc::new(SystemClock::new()), settings);
    Arc::new(Store::new(
        Arc::new(memory),
        Arc::new(AdmitMost),
        Arc::new(TimeOrderedIds),
    ))
}

/// A package of one resource.
pub(crate) fn package(name: &str) -> Package {
    Package::from_values([config_map(name)]).expect("a resource")
}

/// A resource.
pub(crate) fn config_map(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"greeting": "hello"},
    })
}
