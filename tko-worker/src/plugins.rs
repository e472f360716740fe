//! Plugins of a registry, kept current.

use crate::worker::Ready;
use std::convert::Infallible;
use std::sync::Arc;
use tko_core::registry::{PluginFeed, made_by};
use tko_core::retry::Retry;
use tko_core::{Clock, Executor, Gvk, PluginType, Record, Registry, Result, WorkerApi};

/// Keeps the plugins of a registry current: loads all of one type, then follows their changes.
///
/// Run [`follow`](Self::follow) as a [companion](crate::Worker::with_companion), so that no work
/// starts before its plugins are known.
pub struct PluginFollower<T: ?Sized> {
    /// The API of the data service where plugins are registered.
    pub data: Arc<dyn WorkerApi>,
    /// The clock that measures the pauses between retries.
    pub clock: Arc<dyn Clock>,
    /// The type of plugin to follow; others are ignored.
    pub plugin_type: PluginType,
    /// Registry to which the plugins are added, besides its native handlers.
    pub registry: Arc<Registry<T>>,
    /// Executors that plugins may name.
    pub executors: Vec<Arc<dyn Executor>>,
    /// Makes a handler of a plugin, such as [`Executor::preparer`].
    pub make: fn(&dyn Executor, &Record) -> Result<Arc<T>>,
}

impl<T: ?Sized + Send + Sync> PluginFollower<T> {
    /// Follows the plugins until it is dropped. `changed` gets the old and new triggers of every
    /// plugin that was registered, replaced or deleted, after the registry has it.
    ///
    /// # Errors
    ///
    /// A [permanent](crate::is_permanent) error. Any other error is retried.
    pub async fn follow(
        self,
        ready: Ready,
        changed: impl FnMut(&[Gvk]) + Send,
    ) -> Result<Infallible> {
        let make = |plugin: &Record| made_by(&self.executors, plugin, self.make);
        let mut retry = Retry::new(self.clock.clone());
        let feed = loop {
            let loaded =
                PluginFeed::load(&*self.data, self.plugin_type, &self.registry, &make).await;
            match loaded {
                Ok(feed) => break feed,
                Err(error) => retry.pause("load plugins", error).await?,
            }
        };
        ready.set();
        feed.follow(self.clock, changed).await
    }
}

/// Closes executors one after the other. A controller calls this when its last call has ended.
pub async fn close_executors(executors: &[Arc<dyn Executor>]) {
    for executor in executors {
        executor.close().await;
    }
}
