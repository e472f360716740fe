//! The controller of catalogs and inventories: its flags, in `tko up` and as a process of its own.

use super::plugins::{PluginArgs, PluginHost};
use super::signals::Signals;
use super::start::{JournalArgs, run_until_signal_or_end};
use super::time;
use crate::connect::ConnectArgs;
use anyhow::Context;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tko_catalog::{CatalogController, CatalogSettings};
use tko_core::WorkerApi;
use tko_plugin::PluginPolicy;
use tokio_util::sync::CancellationToken;

/// Settings of catalogs and inventories
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Catalogs and inventories")]
pub(crate) struct CatalogArgs {
    /// Interval between syncs of a catalog or inventory that sets none
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
}

impl CatalogArgs {
    /// Makes a controller.
    pub(super) fn controller(
        &self,
        data: Arc<dyn WorkerApi>,
        secrets: Option<PathBuf>,
        plugins: &PluginHost,
    ) -> CatalogController {
        // An entry can name files and programs, as plugins can.
        let is_local = plugins.policy == PluginPolicy::Any;
        let settings = CatalogSettings::default()
            .with_interval(self.catalog_interval)
            .with_timeout(self.catalog_timeout)
            .with_concurrency(self.catalog_workers)
            .with_cache(self.catalog_cache.clone())
            .with_secrets(secrets)
            .with_local(is_local);
        CatalogController::new(data).with_settings(settings)
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
    /// Folder with secrets, one per file, that properties name as secret:NAME
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
        let controller = self.catalogs.controller(client, self.secrets, &plugins);
        let stop = CancellationToken::new();
        let run = controller.run(stop.clone());
        let ended = run_until_signal_or_end(async { Ok(run.await?) }, &stop, signals).await;
        ended.context("the controller of catalogs failed")
    }
}
