//! `tko up`, and `start` of `tko data`, `tko preparer`, `tko scheduler`: run until told to stop.

use super::assembly::Assembly;
use super::controllers::{ControllerArgs, PreparerArgs, SchedulerArgs};
use super::data::{DataArgs, SchemaArgs};
use super::listen::ListenArgs;
use super::metrics::MetricsArgs;
use super::signals::Signals;
use crate::connect::ConnectArgs;
use anyhow::Context;
use clap::{Args, Subcommand};
use std::sync::Arc;
use tko_core::system::SystemClock;
use tokio_util::sync::CancellationToken;

/// Where logs go
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct JournalArgs {
    /// Log to journald
    #[arg(short, long)]
    pub(crate) journald: bool,
}

/// Everything in one process
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    schemas: SchemaArgs,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    metrics: MetricsArgs,
    #[command(flatten)]
    controllers: ControllerArgs,
    #[command(flatten)]
    preparer: PreparerArgs,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

/// The data service
#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Keep the data and serve the API
    Start(Box<DataStartArgs>),
}

/// How the data service runs.
#[derive(Debug, Args)]
pub(crate) struct DataStartArgs {
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    schemas: SchemaArgs,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    metrics: MetricsArgs,
}

/// The preparer
#[derive(Debug, Subcommand)]
pub(crate) enum PreparerCommand {
    /// Prepare deployments of a data service; any number may
    Start(Box<PreparerStartArgs>),
}

/// How the preparer runs.
#[derive(Debug, Args)]
pub(crate) struct PreparerStartArgs {
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    controllers: ControllerArgs,
    #[command(flatten)]
    preparer: PreparerArgs,
}

/// The scheduler
#[derive(Debug, Subcommand)]
pub(crate) enum SchedulerCommand {
    /// Bring the sites of a data service to what they are to run; any number may
    Start(Box<SchedulerStartArgs>),
}

/// How the scheduler runs.
#[derive(Debug, Args)]
pub(crate) struct SchedulerStartArgs {
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    controllers: ControllerArgs,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

impl UpArgs {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let signals = Signals::listen()?;
        let mut assembly = Assembly::new(
            &self.data,
            &self.schemas,
            Some((&self.listen, &self.metrics)),
        )
        .await?;
        assembly.prepare(&self.preparer, &self.controllers);
        let scheduled = self.scheduler.scheduled();
        assembly.schedule(&self.scheduler, &self.controllers, scheduled);
        until_told(assembly, signals).await
    }
}

impl DataStartArgs {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let signals = Signals::listen()?;
        let assembly = Assembly::new(
            &self.data,
            &self.schemas,
            Some((&self.listen, &self.metrics)),
        )
        .await?;
        until_told(assembly, signals).await
    }
}

async fn until_told(mut assembly: Assembly, mut signals: Signals) -> anyhow::Result<()> {
    let ended = tokio::select! {
        () = signals.next() => Ok(()),
        failed = assembly.failed() => failed,
    };
    tracing::info!("stopping");
    signals.unless_again(assembly.stop()).await?;
    tracing::info!("stopped");
    ended
}

impl PreparerStartArgs {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let signals = Signals::listen()?;
        let client = Arc::new(self.connect.client().await?);
        let address = self.connect.reached().await;
        let clock = Arc::new(SystemClock::new());
        let preparer = &self.preparer;
        let preparing = preparer.preparing(client, address, &self.controllers, clock);
        let stop = CancellationToken::new();
        let run = preparing.run(stop.clone());
        let ended = until_done(async { Ok(run.await?) }, &stop, signals).await;
        ended.context("the preparer")
    }
}

impl SchedulerStartArgs {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let signals = Signals::listen()?;
        let client = Arc::new(self.connect.client().await?);
        let address = self.connect.reached().await;
        let clock = Arc::new(SystemClock::new());
        let scheduler = &self.scheduler;
        let scheduled = scheduler.scheduled();
        let scheduling = scheduler.scheduling(client, address, &self.controllers, scheduled, clock);
        let stop = CancellationToken::new();
        let run = scheduling.run(stop.clone());
        let ended = until_done(async { Ok(run.await?) }, &stop, signals).await;
        ended.context("the scheduler")
    }
}

async fn until_done(
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
    signals.unless_again(run).await??;
    tracing::info!("stopped");
    Ok(())
}
