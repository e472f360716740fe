//! The controller of catalogs and inventories: its flags, in `tko up` and as a separate process.

use super::metrics::WorkerMetricsArgs;
use super::plugins::{PluginArgs, PluginHost};
use super::signals::Signals;
use super::start::{JournalArgs, run_until_signal_or_end};
use super::time;
use crate::connect::ConnectArgs;
use anyhow::Context;
use clap::Args;
use prometheus_client::registry::Registry;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tko_catalog::{CatalogController, CatalogMetrics, CatalogSettings, WebhookServer};
use tko_core::{Error, Result, WorkerApi};
use tko_plugin::PluginPolicy;
use tko_serve::{Access, Listen, Sockets};
use tko_source::{HostList, SecretFolder};
use tokio_util::sync::CancellationToken;

/// Settings of catalogs and inventories
#[derive(Clone, Debug, Args)]
#[allow(clippy::struct_field_names)] // The fields are the flags.
#[command(next_help_heading = "Catalogs and inventories")]
pub(crate) struct CatalogArgs {
    /// Default interval between syncs of a catalog or inventory
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "5m")]
    catalog_interval: Duration,
    /// Longest time for one sync
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10m")]
    catalog_timeout: Duration,
    /// Number of catalogs and inventories to sync at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    catalog_workers: usize,
    /// Folder for copies of git repositories; without it: a temporary folder
    #[arg(long, value_name = "DIR")]
    catalog_cache: Option<PathBuf>,
    /// Serve webhooks that trigger syncs of catalogs and inventories, at this loopback address; a
    /// proxy with TLS can make them public
    #[arg(long, value_name = "ADDRESS")]
    catalog_webhooks: Option<SocketAddr>,
    /// With restricted plugins: host with a private address that catalogs and inventories may
    /// reach, such as git.corp or *.corp; repeat for several
    #[arg(long = "catalog-private-host", value_name = "HOST", value_delimiter = ',', value_parser = private_host)]
    catalog_private_hosts: Vec<String>,
}

/// Checks a value of `--catalog-private-host`.
fn private_host(text: &str) -> std::result::Result<String, String> {
    HostList::new([text]).map_err(|error| error.chain())?;
    Ok(text.to_owned())
}

impl CatalogArgs {
    /// Runs a controller, and the server of webhooks if there is an address, until `stop`.
    pub(super) async fn run(
        self,
        data: Arc<dyn WorkerApi>,
        secrets: SecretFolder,
        plugins: PluginHost,
        metrics: CatalogMetrics,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let settings = self.settings(secrets, &plugins)?;
        let sockets = self.listen().await?;
        let controller = CatalogController::new(data.clone())
            .with_settings(settings.clone())
            .with_metrics(metrics);
        let Some(sockets) = sockets else {
            return Ok(controller.run(stop).await?);
        };
        let server = WebhookServer::new(Arc::new(data), settings);
        // If one of them fails, the other ends with it.
        tokio::try_join!(controller.run(stop.clone()), server.serve(sockets, stop))?;
        Ok(())
    }

    /// Binds the socket of webhooks.
    async fn listen(&self) -> Result<Option<Sockets>> {
        let Some(address) = self.catalog_webhooks else {
            return Ok(None);
        };
        let listen = Listen {
            address: address.ip().to_string(),
            port: address.port(),
            ..Listen::default()
        };
        let flag = |error: Error| Error::bad("--catalog-webhooks", error.chain().clone());
        let sockets = Sockets::bind(&listen).await.map_err(flag)?;
        let is_allowed = Access::new().check(&sockets.addresses());
        is_allowed.map_err(|_| {
            let why = "webhooks have no TLS: name a loopback address, behind a proxy with TLS";
            Error::bad("--catalog-webhooks", why)
        })?;
        tracing::info!(addresses = ?sockets.addresses(), "serving webhooks");
        Ok(Some(sockets))
    }

    fn settings(&self, secrets: SecretFolder, plugins: &PluginHost) -> Result<CatalogSettings> {
        // An entry can name files and programs, just as plugins can.
        let is_local = plugins.policy == PluginPolicy::Any;
        let settings = CatalogSettings::default()
            .with_interval(self.catalog_interval)
            .with_timeout(self.catalog_timeout)
            .with_concurrency(self.catalog_workers)
            .with_cache(self.catalog_cache.clone())
            .with_secrets(secrets)
            .with_local(is_local)
            .with_private_hosts(HostList::new(&self.catalog_private_hosts)?);
        Ok(settings)
    }
}

/// The flags of `catalog start`.
#[derive(Debug, Args)]
pub(crate) struct CatalogStartArgs {
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
    #[command(flatten)]
    plugins: PluginArgs,
    #[command(flatten)]
    catalogs: CatalogArgs,
    #[command(flatten)]
    metrics: WorkerMetricsArgs,
    /// Folder with secrets, one per file, that properties name as secret:NAME; the file NAME.hosts
    /// lists the hosts that get the secret
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
}

impl CatalogStartArgs {
    /// Runs the controller until a signal.
    pub(crate) async fn run(self, connect: &ConnectArgs) -> anyhow::Result<()> {
        let signals = Signals::listen()?;
        let client = Arc::new(connect.client().await?);
        let plugins = self.plugins.host()?;
        plugins.warn_of_root();
        let stop = CancellationToken::new();
        let metrics = CatalogMetrics::default();
        let register = |registry: &mut Registry| metrics.register(registry);
        // Dropped at the end: metrics are served until the last work has ended.
        let _exporting = self.metrics.serve(register).await?;
        let secrets = self.secrets.as_ref().map(SecretFolder::new);
        let secrets = secrets.unwrap_or_default();
        let run = self
            .catalogs
            .run(client, secrets, plugins, metrics, stop.clone());
        let ended = run_until_signal_or_end(run, &stop, signals).await;
        ended.context("the controller of catalogs failed")
    }
}
