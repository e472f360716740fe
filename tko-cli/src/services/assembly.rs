//! Everything in one process: how an integrator would put the crates together, too.

use super::controllers::{ControllerArgs, PreparerArgs, Scheduled, SchedulerArgs, executors};
use super::data::{DataArgs, Kept, SchemaArgs, keep};
use super::definitions;
use super::listen::ListenArgs;
use anyhow::Context;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tko_core::registry::{PluginFeed, made_by};
use tko_core::system::SystemClock;
use tko_core::{Controller, Data, PluginType};
use tko_grpc::server::{Server, Sockets};
use tko_plugin::Timeouts;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// For how long what is in flight may go on after being told to stop.
const GRACE: Duration = Duration::from_secs(20);

/// Running parts around one store.
pub(crate) struct Assembly {
    kept: Kept,
    clock: Arc<SystemClock>,
    address: Option<SocketAddr>,
    tasks: JoinSet<anyhow::Result<()>>,
    /// Controllers stop first, the server after them: it serves their last words.
    controllers: CancellationToken,
    server: CancellationToken,
}

impl Assembly {
    /// A store in memory with default settings.
    pub(crate) fn memory() -> anyhow::Result<Self> {
        let (data, schemas) = (DataArgs::memory(), SchemaArgs::built_in());
        Self::new(&data, &schemas)
    }

    /// A store with its own chores: deletions, definitions, validation plugins.
    pub(crate) fn new(data: &DataArgs, schemas: &SchemaArgs) -> anyhow::Result<Self> {
        let clock = Arc::new(SystemClock::new());
        let kept = keep(data, schemas, &clock)?;
        let mut tasks = JoinSet::new();
        {
            let (store, clock) = (kept.store.clone(), clock.clone());
            tasks.spawn(async move {
                store.retire(&*clock).await;
                Ok(())
            });
        }
        for kind in definitions::KINDS {
            let (store, clock) = (kept.store.clone(), clock.clone());
            let crds = kept.schemas.crds().clone();
            tasks.spawn(async move {
                definitions::follow(&store, kind, &crds, &*clock).await;
                Ok(())
            });
        }
        let mut assembly = Self {
            kept,
            clock,
            address: None,
            tasks,
            controllers: CancellationToken::new(),
            server: CancellationToken::new(),
        };
        assembly.validate(schemas.validator_timeout);
        Ok(assembly)
    }

    fn validate(&mut self, time: Duration) {
        let (store, clock) = (self.kept.store.clone(), self.clock.clone());
        let registry = self.kept.validators.clone();
        let timeouts = Timeouts {
            validate: time,
            ..Timeouts::default()
        };
        let executors = executors(self.address, timeouts);
        self.tasks.spawn(async move {
            let make = |plugin: &tko_core::Record| {
                made_by(&executors, plugin, |executor, plugin| {
                    executor.validator(plugin)
                })
            };
            let feed = PluginFeed::load(&store, PluginType::Validate, &registry, &make).await?;
            feed.follow(&*clock, |_| {}).await;
            Ok(())
        });
    }

    /// For people and programs.
    pub(crate) fn data(&self) -> Arc<dyn Data> {
        Arc::new(self.kept.store.clone())
    }

    /// For workers.
    pub(crate) fn controller(&self) -> Arc<dyn Controller> {
        Arc::new(self.kept.store.clone())
    }

    /// Prepares, too.
    pub(crate) fn prepare(&mut self, args: &PreparerArgs, controller: &ControllerArgs) {
        let preparing = args.preparing(
            self.controller(),
            self.address,
            controller,
            self.clock.clone(),
        );
        let stop = self.controllers.clone();
        self.tasks
            .spawn(async move { preparing.run(stop).await.context("the preparer") });
    }

    /// Schedules, too.
    pub(crate) fn schedule(
        &mut self,
        args: &SchedulerArgs,
        controller: &ControllerArgs,
        scheduled: Scheduled,
    ) {
        let scheduling = args.scheduling(
            self.controller(),
            self.address,
            controller,
            scheduled,
            self.clock.clone(),
        );
        let stop = self.controllers.clone();
        self.tasks
            .spawn(async move { scheduling.run(stop).await.context("the scheduler") });
    }

    /// Serves gRPC, too. Before controllers are added, so that their plugins find it.
    pub(crate) async fn serve(
        &mut self,
        listen: &ListenArgs,
        data: &DataArgs,
    ) -> anyhow::Result<Vec<SocketAddr>> {
        let sockets = Sockets::bind(&listen.listen()).await?;
        let addresses = sockets.addresses();
        let access = listen.access()?;
        access.check(&addresses)?;
        self.address = addresses.first().copied();
        let mut settings = tko_grpc::server::Settings::default();
        settings.name.clone_from(&data.name);
        settings.description.clone_from(&data.description);
        let server = Server::new(self.controller())
            .with_settings(settings)
            .with_access(access);
        let stop = self.server.clone();
        self.tasks
            .spawn(async move { server.serve(sockets, stop).await.context("the gRPC server") });
        Ok(addresses)
    }

    /// Ends when a part does, which none should.
    pub(crate) async fn failed(&mut self) -> anyhow::Result<()> {
        match self.tasks.join_next().await {
            Some(Ok(Ok(()))) | None => anyhow::bail!("a part of the server has ended by itself"),
            Some(Ok(Err(error))) => Err(error),
            Some(Err(panic)) => Err(panic).context("a part of the server has failed"),
        }
    }

    /// Lets what is in flight finish, and hands back the rest.
    pub(crate) async fn stop(mut self) {
        self.controllers.cancel();
        // Controllers have a grace of their own, which is shorter; the chores of the store end
        // when they are dropped.
        let stopped = tokio::time::timeout(GRACE, async {
            self.server.cancel();
            while let Some(ended) = self.tasks.join_next().await {
                if let Ok(Err(error)) = ended {
                    tracing::error!("{error:#}");
                }
                if self.tasks.len() <= CHORES {
                    break;
                }
            }
        });
        if stopped.await.is_err() {
            tracing::warn!("some work did not end in time and is left to its lease");
        }
        self.tasks.abort_all();
    }
}

/// Tasks that go on for ever: deletions, definitions of two kinds, validation plugins.
const CHORES: usize = 4;
