//! The `worker` executor: programs that keep running and serve one call after the other.
//!
//! Calls are frames ([`docs/worker-protocol.md`]). Each plugin has a pool of processes. A process
//! that crashes, hangs, or breaks the protocol is killed; its calls are repeated once, in another
//! process.
//!
//! [`docs/worker-protocol.md`]: https://github.com/nephio-experimental/tko/blob/main/docs/worker-protocol.md

use crate::command::program_of;
use crate::handler::PluginHandler;
use crate::settings::CommandSettings;
use async_trait::async_trait;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tko_core::{Executor, PluginType, Preparer, Record, Result, Scheduler, Validator};
use tokio::task::JoinSet;

mod end;
mod frame;
mod order;
mod pipes;
mod pool;
mod process;
mod process_log;
mod settings;
mod slots;

pub use frame::{PROTOCOL, WORKER_VARIABLE};
pub use settings::WorkerPoolSettings;

use pool::PluginPool;

/// Creates handlers for plugins that name the executor `worker`.
///
/// The plugin's arguments are the program and its arguments. Processes start with the first calls,
/// in the tokio runtime of the call. They are stopped when the plugin is replaced or deleted, and
/// by [`close`](Executor::close).
#[derive(Debug)]
pub struct WorkerExecutor {
    call: Arc<CommandSettings>,
    pool: WorkerPoolSettings,
    pools: Mutex<Vec<Weak<PluginPool>>>,
    /// The tasks of all processes.
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl WorkerExecutor {
    /// Creates an executor. The settings of a call are those of the `command` executor, except
    /// [`concurrency`](CommandSettings::concurrency) and
    /// [`log_channel`](CommandSettings::log_channel).
    pub fn new(call: CommandSettings) -> Self {
        Self {
            call: Arc::new(call),
            pool: WorkerPoolSettings::default(),
            pools: Mutex::default(),
            tasks: Arc::default(),
        }
    }

    /// Sets the settings of every plugin's pool.
    #[must_use]
    pub fn with_pool(mut self, pool: WorkerPoolSettings) -> Self {
        self.pool = pool;
        self
    }

    fn part(
        &self,
        record: &Record,
        wanted: PluginType,
    ) -> Result<Arc<PluginHandler<Arc<PluginPool>>>> {
        let (id, program) = program_of(record, wanted, "worker", &self.call.policy)?;
        let settings = match record.entity.plugin() {
            Some(plugin) => self.pool.clone().with_properties(&plugin.properties)?,
            None => self.pool.clone(),
        };
        let stats = self.call.metrics.plugin(&id);
        let pool = Arc::new(PluginPool::new(
            id.clone(),
            wanted,
            program.clone(),
            self.call.clone(),
            settings,
            stats.clone(),
            self.tasks.clone(),
        ));
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&pool));
        Ok(Arc::new(PluginHandler {
            id,
            executor: "worker",
            program: program.path,
            timeouts: self.call.timeouts,
            stats,
            runner: pool,
        }))
    }
}

#[async_trait]
impl Executor for WorkerExecutor {
    #[allow(clippy::unnecessary_literal_bound)] // The trait's signature.
    fn name(&self) -> &str {
        "worker"
    }

    fn preparer(&self, plugin: &Record) -> Result<Arc<dyn Preparer>> {
        Ok(self.part(plugin, PluginType::Prepare)?)
    }

    fn scheduler(&self, plugin: &Record) -> Result<Arc<dyn Scheduler>> {
        Ok(self.part(plugin, PluginType::Schedule)?)
    }

    fn validator(&self, plugin: &Record) -> Result<Arc<dyn Validator>> {
        Ok(self.part(plugin, PluginType::Validate)?)
    }

    /// Stops all processes: each may end by itself within [`grace`](CommandSettings::grace), then it
    /// is killed with its process group.
    async fn close(&self) {
        let pools = {
            let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *pools)
        };
        for pool in pools.iter().filter_map(Weak::upgrade) {
            pool.close();
        }
        let mut tasks = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *tasks)
        };
        while tasks.join_next().await.is_some() {}
    }
}
