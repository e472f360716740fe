//! Executor `command`: one process a call.

use crate::process::Program;
use crate::settings::Settings;
use std::sync::Arc;
use tko_core::{Error, Executor, Key, PluginType, Preparer, Record, Result, Scheduler, Validator};
use tokio::sync::Semaphore;

mod plugin;

use plugin::CommandPlugin;

/// Makes parts of plugins that name the executor `command`.
///
/// Arguments of such a plugin are the program and its arguments. Its parts run in any tokio
/// runtime that has I/O and time enabled.
#[derive(Clone, Debug)]
pub struct CommandExecutor {
    settings: Arc<Settings>,
}

impl CommandExecutor {
    /// Runs plugins within these limits.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
        }
    }

    fn part(&self, record: &Record, wanted: PluginType) -> Result<Arc<CommandPlugin>> {
        let (Key::Plugin(id), Some(plugin)) = (&record.entity.key, record.entity.plugin()) else {
            let message = format!("{} is no plugin", record.entity.key);
            return Err(Error::bad("plugin", message));
        };
        if id.plugin_type() != wanted {
            let message = format!("{id} is not of type {wanted}");
            return Err(Error::bad("plugin", message));
        }
        let [path, arguments @ ..] = &plugin.arguments[..] else {
            let message = "there are none; executor command takes the program and its arguments";
            return Err(Error::bad("arguments", message));
        };
        if path.is_empty() {
            return Err(Error::bad("arguments", "the first, the program, is empty"));
        }
        if let Some(name) = plugin.arguments.iter().find(|text| text.contains('\0')) {
            let message = format!("{name:?} has a zero character in it");
            return Err(Error::bad("arguments", message));
        }
        if let Some(name) = plugin.properties.keys().find(|name| name.starts_with('_')) {
            let message = format!("executor command does not know {name:?} here; remove it");
            return Err(Error::bad("properties", message));
        }
        Ok(Arc::new(CommandPlugin {
            id: id.to_string(),
            program: Program {
                path: path.clone(),
                arguments: arguments.to_vec(),
            },
            permits: Semaphore::new(self.settings.concurrency.get().min(Semaphore::MAX_PERMITS)),
            settings: self.settings.clone(),
        }))
    }
}

impl Executor for CommandExecutor {
    #[allow(clippy::unnecessary_literal_bound)] // The trait's signature.
    fn name(&self) -> &str {
        "command"
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
}
