//! `tko up`, and `start` of `tko data`, `tko preparer`, `tko scheduler`: run until told to stop.

use super::assembly::Assembly;
use super::controllers::{ControllerArgs, PreparerArgs, SchedulerArgs};
use super::data::{DataArgs, SchemaArgs};
use super::listen::ListenArgs;
use super::signal;
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
        let mut assembly = Assembly::new(&self.data, &self.schemas)?;
        assembly.serve(&self.listen, &self.data).await?;
        assembly.prepare(&self.preparer, &self.controllers);
        assembly.schedule(
            &self.scheduler,
            &self.controllers,
            self.scheduler.scheduled(),
        );
        until_told(assembly).await
    }
}

impl DataStartArgs {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut assembly = Assembly::new(&self.data, &self.schemas)?;
        assembly.serve(&self.listen, &self.data).await?;
        until_told(assembly).await
    }
}

async fn until_told(mut assembly: Assembly) -> anyhow::Result<()> {
    let ended = tokio::select! {
        () = signal() => Ok(()),
        failed = assembly.failed() => failed,
    };
    tracing::info!("stopping");
    assembly.stop().await;
    ended
}

impl PreparerStartArgs {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let client = Arc::new(self.connect.client().await?);
        let address = self.connect.reached().await;
        let clock = Arc::new(SystemClock::new());
        let preparing = self
            .preparer
            .preparing(client, address, &self.controllers, clock);
        let stop = stopped_by_signal();
        preparing.run(stop).await.context("the preparer")
    }
}

impl SchedulerStartArgs {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let client = Arc::new(self.connect.client().await?);
        let address = self.connect.reached().await;
        let clock = Arc::new(SystemClock::new());
        let scheduling = self.scheduler.scheduling(
            client,
            address,
            &self.controllers,
            self.scheduler.scheduled(),
            clock,
        );
        let stop = stopped_by_signal();
        scheduling.run(stop).await.context("the scheduler")
    }
}

fn stopped_by_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        signal().await;
        tracing::info!("stopping");
        told.cancel();
    });
    stop
}
