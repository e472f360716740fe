//! The commands that run servers until a signal: `tko up`, `tko data start`, `tko preparer start`,
//! `tko scheduler start`.

use super::assembly::Assembly;
#[cfg(feature = "catalog")]
use super::catalog::CatalogArgs;
use super::controllers::{ControllerArgs, PreparerArgs, SchedulerArgs};
use super::data::{DataArgs, SchemaArgs};
use super::interfaces::InterfaceArgs;
use super::kubernetes::KubernetesArgs;
use super::listen::ListenArgs;
use super::metrics::{MetricsArgs, WorkerMetricsArgs};
use super::plugin_metrics;
use super::plugins::PluginArgs;
use super::probes::ProbeArgs;
use super::results::ResultCollector;
use super::signals::Signals;
use super::web::WebArgs;
use crate::connect::ConnectArgs;
use anyhow::Context;
use clap::{Args, Subcommand};
use prometheus_client::registry::Registry;
use std::sync::Arc;
use tko_core::system::SystemClock;
use tko_preparer::ResultCache;
use tokio_util::sync::CancellationToken;

/// The destination of logs
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct JournalArgs {
    /// Log to journald
    #[arg(short, long)]
    pub(crate) journald: bool,
}

/// The storage of a process with a data service, and the addresses where it serves
#[derive(Debug, Args)]
struct ServerArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    schemas: SchemaArgs,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    web: WebArgs,
    #[command(flatten)]
    kubernetes: KubernetesArgs,
    #[command(flatten)]
    metrics: MetricsArgs,
    #[command(flatten)]
    probes: ProbeArgs,
    #[command(flatten)]
    plugins: PluginArgs,
}

impl ServerArgs {
    /// Opens the store and serves it.
    async fn start(&self) -> anyhow::Result<Assembly> {
        let plugins = self.plugins.host()?;
        let interfaces = InterfaceArgs {
            listen: &self.listen,
            web: &self.web,
            kubernetes: Some(&self.kubernetes),
            metrics: &self.metrics,
            probes: &self.probes,
        };
        let assembly = Assembly::new(&self.data, &self.schemas, &plugins, Some(interfaces)).await?;
        plugins.warn_of_root();
        Ok(assembly)
    }
}

/// Run data service, preparer and scheduler in one process
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    controllers: ControllerArgs,
    #[command(flatten)]
    preparer: PreparerArgs,
    #[command(flatten)]
    scheduler: SchedulerArgs,
    #[cfg(feature = "catalog")]
    #[command(flatten)]
    catalogs: CatalogArgs,
}

/// Run the data service
#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Start a data service: store the data, validate, and serve the API
    Start(Box<DataStartArgs>),
}

/// The flags of `data start`.
#[derive(Debug, Args)]
pub(crate) struct DataStartArgs {
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Run a preparer
#[derive(Debug, Subcommand)]
pub(crate) enum PreparerCommand {
    /// Start a preparer for the deployments of a data service; any number can run
    Start(Box<PreparerStartArgs>),
}

/// The flags of `preparer start`.
#[derive(Debug, Args)]
pub(crate) struct PreparerStartArgs {
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    plugins: PluginArgs,
    #[command(flatten)]
    controllers: ControllerArgs,
    #[command(flatten)]
    preparer: PreparerArgs,
    #[command(flatten)]
    metrics: WorkerMetricsArgs,
    #[command(flatten)]
    probes: ProbeArgs,
}

/// Run a scheduler
#[derive(Debug, Subcommand)]
pub(crate) enum SchedulerCommand {
    /// Start a scheduler for the sites of a data service; any number can run
    Start(Box<SchedulerStartArgs>),
}

/// The flags of `scheduler start`.
#[derive(Debug, Args)]
pub(crate) struct SchedulerStartArgs {
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    plugins: PluginArgs,
    #[command(flatten)]
    controllers: ControllerArgs,
    #[command(flatten)]
    scheduler: SchedulerArgs,
    #[command(flatten)]
    metrics: WorkerMetricsArgs,
    #[command(flatten)]
    probes: ProbeArgs,
}

impl UpArgs {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let signals = Signals::listen()?;
        let mut assembly = self.server.start().await?;
        assembly.prepare(&self.preparer, &self.controllers);
        let destination = self.scheduler.manifest_destination();
        assembly.schedule(&self.scheduler, &self.controllers, destination);
        #[cfg(feature = "catalog")]
        assembly.follow_catalogs(&self.catalogs, self.scheduler.secrets());
        run_until_signal(assembly, signals).await
    }
}

impl DataStartArgs {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let signals = Signals::listen()?;
        let assembly = self.server.start().await?;
        run_until_signal(assembly, signals).await
    }
}

async fn run_until_signal(mut assembly: Assembly, mut signals: Signals) -> anyhow::Result<()> {
    let ended = tokio::select! {
        () = signals.next() => Ok(()),
        failed = assembly.failed() => failed,
    };
    tracing::info!("stopping");
    signals.unless_repeated(assembly.stop()).await?;
    tracing::info!("stopped");
    ended
}

impl PreparerStartArgs {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let signals = Signals::listen()?;
        let client = Arc::new(self.connect.client().await?);
        let address = self.connect.reached().await;
        let clock = Arc::new(SystemClock::new());
        let plugins = self.plugins.host()?;
        plugins.warn_of_root();
        let results = Arc::new(ResultCache::new(0));
        let register = |registry: &mut Registry| {
            plugin_metrics::register(registry, &plugins.metrics);
            registry.register_collector(Box::new(ResultCollector::new(results.clone())));
        };
        // Dropped at the end: metrics are served until the last work has ended.
        let _exporting = self.metrics.serve(register).await?;
        let controller = self.preparer.controller(
            client.clone(),
            results,
            address,
            &self.controllers,
            plugins,
            clock,
        );
        let stop = CancellationToken::new();
        self.probes.answer(client, &stop).await?;
        let run = controller.run(stop.clone());
        let ended = run_until_signal_or_end(async { Ok(run.await?) }, &stop, signals).await;
        ended.context("the preparer failed")
    }
}

impl SchedulerStartArgs {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let signals = Signals::listen()?;
        let client = Arc::new(self.connect.client().await?);
        let address = self.connect.reached().await;
        let clock = Arc::new(SystemClock::new());
        let plugins = self.plugins.host()?;
        plugins.warn_of_root();
        let register = |registry: &mut Registry| {
            plugin_metrics::register(registry, &plugins.metrics);
        };
        // Dropped at the end: metrics are served until the last work has ended.
        let _exporting = self.metrics.serve(register).await?;
        let scheduler = &self.scheduler;
        let destination = scheduler.manifest_destination();
        let controller = scheduler.controller(
            client.clone(),
            address,
            &self.controllers,
            destination,
            plugins,
            clock,
        );
        let stop = CancellationToken::new();
        self.probes.answer(client, &stop).await?;
        let run = controller.run(stop.clone());
        let ended = run_until_signal_or_end(async { Ok(run.await?) }, &stop, signals).await;
        ended.context("the scheduler failed")
    }
}

pub(super) async fn run_until_signal_or_end(
    run: impl Future<Output = anyhow::Result<()>>,
    stop: &CancellationToken,
    mut signals: Signals,
) -> anyhow::Result<()> {
    let mut run = std::pin::pin!(run);
    tokio::select! {
        ended = &mut run => return ended,
        () = signals.next() => {}
    }
    tracing::info!("stopping");
    stop.cancel();
    signals.unless_repeated(run).await??;
    tracing::info!("stopped");
    Ok(())
}
