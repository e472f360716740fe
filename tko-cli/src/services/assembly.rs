//! A data service with controllers in one process: an example of how to wire the crates together.

use super::controllers::{
    ControllerArgs, ManifestDestination, PreparerArgs, SchedulerArgs, executors,
};
use super::data::{DataArgs, SchemaArgs, StoreParts, open_store};
use super::interfaces::{GrpcInterface, InterfaceArgs, Interfaces};
use super::kubernetes::KubernetesInterface;
use super::listen::ListenArgs;
use super::metrics::{Exporter, MetricsArgs};
use super::plugin_metrics;
use super::plugins::PluginHost;
use super::probes::{ProbeArgs, ProbeServer};
use super::results::ResultCollector;
use super::task_group::{TaskGroup, result};
use super::web::{WebArgs, WebInterface};
use super::{functions, interface_metrics, memory};
use anyhow::Context;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tko_ansible::AnsibleSettings;
use tko_core::registry::{PluginFeed, made_by};
use tko_core::system::SystemClock;
use tko_core::{Caller, DataApi, Executor, Guarded, PluginType, RoleGuard, WorkerApi};
use tko_grpc::server::Server;
use tko_plugin::Timeouts;
use tko_preparer::ResultCache;
use tko_validate::CrdFeed;
use tko_worker::{DeletionController, close_executors};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// A store with its server, controllers and background tasks. `stop` ends them in the order of the
/// fields.
pub(crate) struct Assembly {
    store_parts: StoreParts,
    clock: Arc<SystemClock>,
    /// Results of functions, which the preparer shares with the metrics.
    results: Arc<ResultCache>,
    addresses: Vec<SocketAddr>,
    web_addresses: Vec<SocketAddr>,
    /// Preparers, schedulers, and the controller that finishes large deletions.
    controllers: TaskGroup,
    /// The servers of gRPC, HTTP and the Kubernetes API, and the metrics exporter. They outlive the
    /// controllers, to serve the last calls of these and of remote controllers.
    server: TaskGroup,
    /// Background tasks of the store: definitions and validation plugins. They end when dropped.
    background: JoinSet<anyhow::Result<()>>,
    /// Executors of validation plugins. They are closed last.
    validation_executors: Vec<Arc<dyn Executor>>,
    /// Measurements of the calls of all plugins.
    plugins: PluginHost,
    /// Measurements of the syncs of catalogs and inventories.
    #[cfg(feature = "catalog")]
    catalog_metrics: tko_catalog::CatalogMetrics,
}

impl Assembly {
    /// A store in memory with default settings and without a server.
    #[cfg(test)]
    pub(crate) async fn memory() -> anyhow::Result<Self> {
        Self::memory_paced(None).await
    }

    /// The same; it stores at most `pace` packages a second.
    pub(crate) async fn memory_paced(pace: Option<u32>) -> anyhow::Result<Self> {
        let (data, schemas) = (DataArgs::memory(), SchemaArgs::built_in().with_pace(pace));
        Self::new(&data, &schemas, &PluginHost::default(), None).await
    }

    /// A store in memory with default settings and a server.
    pub(crate) async fn serving(
        listen: &ListenArgs,
        web: &WebArgs,
        pace: Option<u32>,
    ) -> anyhow::Result<Self> {
        let (data, schemas) = (DataArgs::memory(), SchemaArgs::built_in().with_pace(pace));
        let served = InterfaceArgs {
            listen,
            web,
            kubernetes: None,
            metrics: &MetricsArgs::default(),
            probes: &ProbeArgs::default(),
        };
        Self::new(&data, &schemas, &PluginHost::default(), Some(served)).await
    }

    /// A store with its background tasks. `served` adds servers and a metrics exporter.
    pub(crate) async fn new(
        data: &DataArgs,
        schemas: &SchemaArgs,
        plugins: &PluginHost,
        served: Option<InterfaceArgs<'_>>,
    ) -> anyhow::Result<Self> {
        let clock = Arc::new(SystemClock::new());
        let Interfaces {
            grpc,
            web,
            kubernetes,
            mut exporter,
            probes,
        } = match served {
            Some(interfaces) => Box::pin(Interfaces::open(interfaces, data)).await?,
            None => Interfaces::default(),
        };
        let results = Arc::new(ResultCache::new(0));
        if let Some(exporter) = &mut exporter {
            let collector = ResultCollector::new(results.clone());
            exporter.registry().register_collector(Box::new(collector));
        }
        let addresses = grpc.as_ref().map(|interface| interface.sockets.addresses());
        let mut assembly = Self {
            store_parts: open_store(data, schemas, &clock, exporter.as_mut()).await?,
            clock,
            results,
            addresses: addresses.unwrap_or_default(),
            web_addresses: web
                .as_ref()
                .map(WebInterface::addresses)
                .unwrap_or_default(),
            controllers: TaskGroup::default(),
            server: TaskGroup::default(),
            background: JoinSet::new(),
            validation_executors: Vec::new(),
            plugins: plugins.clone(),
            #[cfg(feature = "catalog")]
            catalog_metrics: tko_catalog::CatalogMetrics::default(),
        };
        if let Some(mut exporter) = exporter {
            plugin_metrics::register(exporter.registry(), &assembly.plugins.metrics);
            interface_metrics::register(exporter.registry());
            #[cfg(feature = "catalog")]
            assembly.catalog_metrics.register(exporter.registry());
            assembly.export(exporter);
        }
        assembly.finish_deletions();
        assembly
            .background
            .spawn(async { match memory::give_back().await {} });
        assembly.follow_definitions().await?;
        assembly
            .follow_validation_plugins(schemas.validator_timeout)
            .await?;
        // Serve only after definitions and validation plugins are loaded.
        if let Some(interface) = grpc {
            assembly.serve(interface);
        }
        if let Some(interface) = web {
            assembly.serve_web(interface);
        }
        if let Some(interface) = kubernetes {
            assembly.serve_kubernetes(interface);
        }
        if let Some(probes) = probes {
            assembly.answer_probes(probes);
        }
        Ok(assembly)
    }

    /// Starts the controller that finishes large deletions.
    fn finish_deletions(&mut self) {
        let deletions =
            DeletionController::new(self.store_parts.store.clone()).with_clock(self.clock.clone());
        let stop = self.controllers.stop.clone();
        self.controllers.tasks.spawn(async move {
            deletions
                .run(stop)
                .await
                .context("the deletion controller failed")
        });
    }

    /// Starts the task that follows the definitions in registered templates, and waits for the
    /// first load.
    async fn follow_definitions(&mut self) -> anyhow::Result<()> {
        let (store, clock) = (self.store_parts.store.clone(), self.clock.clone());
        let crds = self.store_parts.schemas.crds().clone();
        let (loaded, is_loaded) = oneshot::channel();
        self.background.spawn(async move {
            let feed = CrdFeed::load(&store, &crds).await?;
            // The receiver is gone if the assembly ends.
            let _ = loaded.send(());
            match feed.follow(clock).await? {}
        });
        self.wait(is_loaded).await
    }

    /// Starts the task that follows validation plugins, and waits for the first load.
    async fn follow_validation_plugins(&mut self, time: Duration) -> anyhow::Result<()> {
        let (store, clock) = (self.store_parts.store.clone(), self.clock.clone());
        let registry = self.store_parts.validators.clone();
        let timeouts = Timeouts {
            validate: time,
            ..Timeouts::default()
        };
        let executors = executors(
            self.address(),
            timeouts,
            self.plugins.clone(),
            AnsibleSettings::default(),
            functions::settings(timeouts.prepare),
        );
        self.validation_executors.clone_from(&executors);
        let (loaded, is_loaded) = oneshot::channel();
        self.background.spawn(async move {
            let make = |plugin: &tko_core::Record| {
                made_by(&executors, plugin, |executor, plugin| {
                    executor.validator(plugin)
                })
            };
            let feed = PluginFeed::load(&store, PluginType::Validate, &registry, &make).await?;
            // The receiver is gone if the assembly ends.
            let _ = loaded.send(());
            match feed.follow(clock, |_| {}).await? {}
        });
        self.wait(is_loaded).await
    }

    /// Waits until a background task is ready; if it fails, returns its error.
    async fn wait(&mut self, ready: oneshot::Receiver<()>) -> anyhow::Result<()> {
        match ready.await {
            Ok(()) => Ok(()),
            Err(_) => self.failed().await,
        }
    }

    fn export(&mut self, exporter: Exporter) {
        let stop = self.server.stop.clone();
        self.server.tasks.spawn(async move {
            exporter.serve(stop).await;
            Ok(())
        });
    }

    fn answer_probes(&mut self, probes: ProbeServer) {
        let (data, stop) = (self.data(), self.server.stop.clone());
        self.server.tasks.spawn(async move {
            probes.serve(data, stop).await;
            Ok(())
        });
    }

    fn serve(&mut self, interface: GrpcInterface) {
        self.server.grace = interface.settings.grace;
        let server = Server::new(self.guarded_api())
            .with_settings(interface.settings)
            .with_access(interface.access);
        let stop = self.server.stop.clone();
        self.server.tasks.spawn(async move {
            let served = server.serve(interface.sockets, stop).await;
            served.context("the gRPC server failed")
        });
    }

    fn serve_web(&mut self, interface: WebInterface) {
        let admission = self.store_parts.admission.clone();
        let (server, sockets) =
            interface.server(self.guarded_api(), admission, self.plugins.metrics.clone());
        let stop = self.server.stop.clone();
        self.server.tasks.spawn(async move {
            let served = server.serve(sockets, stop).await;
            served.context("the HTTP server failed")
        });
    }

    fn serve_kubernetes(&mut self, interface: KubernetesInterface) {
        let (server, sockets) = interface.server(self.guarded_data(), self.clock.clone());
        let stop = self.server.stop.clone();
        self.server.tasks.spawn(async move {
            let served = server.serve(sockets, stop).await;
            served.context("the Kubernetes API server failed")
        });
    }

    /// The addresses that HTTP is served on, IPv6 first.
    pub(crate) fn web_addresses(&self) -> &[SocketAddr] {
        &self.web_addresses
    }

    /// The addresses that the server listens on, IPv6 first.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The address that plugins call.
    fn address(&self) -> Option<SocketAddr> {
        self.addresses.first().copied()
    }

    /// The API for people and programs.
    pub(crate) fn data(&self) -> Arc<dyn DataApi> {
        Arc::new(self.store_parts.store.clone())
    }

    /// The API for interfaces that serve others: it makes the calls that the roles of each caller
    /// permit, and refuses calls without a caller.
    fn guarded_api(&self) -> Arc<dyn WorkerApi> {
        let store = Arc::new(self.store_parts.store.clone());
        Arc::new(Guarded::new(store, RoleGuard::new()))
    }

    /// The API for interfaces that serve people and programs.
    fn guarded_data(&self) -> Arc<dyn DataApi> {
        let store = Arc::new(self.store_parts.store.clone());
        Arc::new(Guarded::new(store, RoleGuard::new()))
    }

    /// The API for a controller of this process, whose name the causes of its changes contain.
    fn worker_api(&self, controller: &str) -> Arc<dyn WorkerApi> {
        let caller = Caller::process();
        let caller = caller.clone().named(controller).unwrap_or(caller);
        Arc::new(self.store_parts.store.clone()).worker_with_caller(caller)
    }

    /// Starts a preparer.
    pub(crate) fn prepare(&mut self, args: &PreparerArgs, settings: &ControllerArgs) {
        let (data, clock) = (self.worker_api("preparer"), self.clock.clone());
        let controller = args.controller(
            data,
            self.results.clone(),
            self.address(),
            settings,
            self.plugins.clone(),
            clock,
        );
        self.controllers.grace = settings.grace;
        let stop = self.controllers.stop.clone();
        self.controllers
            .tasks
            .spawn(async move { controller.run(stop).await.context("the preparer failed") });
    }

    /// Starts a scheduler.
    pub(crate) fn schedule(
        &mut self,
        args: &SchedulerArgs,
        settings: &ControllerArgs,
        destination: ManifestDestination,
    ) {
        let (data, clock) = (self.worker_api("scheduler"), self.clock.clone());
        let controller = args.controller(
            data,
            self.address(),
            settings,
            destination,
            self.plugins.clone(),
            clock,
        );
        self.controllers.grace = settings.grace;
        let stop = self.controllers.stop.clone();
        self.controllers
            .tasks
            .spawn(async move { controller.run(stop).await.context("the scheduler failed") });
    }

    /// Starts the controller of catalogs and inventories.
    #[cfg(feature = "catalog")]
    pub(crate) fn follow_catalogs(
        &mut self,
        args: &super::catalog::CatalogArgs,
        secrets: tko_source::SecretFolder,
    ) {
        let run = args.clone().run(
            self.worker_api("catalog"),
            secrets,
            self.plugins.clone(),
            self.catalog_metrics.clone(),
            self.controllers.stop.clone(),
        );
        self.controllers
            .tasks
            .spawn(async move { run.await.context("the controller of catalogs failed") });
    }

    /// Waits until a part ends unexpectedly, which is always an error.
    pub(crate) async fn failed(&mut self) -> anyhow::Result<()> {
        let ended = tokio::select! {
            Some(ended) = self.controllers.tasks.join_next() => ended,
            Some(ended) = self.server.tasks.join_next() => ended,
            Some(ended) = self.background.join_next() => ended,
            else => Ok(Ok(())),
        };
        result(ended)?;
        anyhow::bail!("a part of the server ended unexpectedly")
    }

    /// Stops all parts. Work in flight may finish within its grace period.
    pub(crate) async fn stop(mut self) {
        self.controllers.end("preparers and schedulers").await;
        self.server.end("the servers").await;
        self.background.shutdown().await;
        close_executors(&self.validation_executors).await;
    }
}
