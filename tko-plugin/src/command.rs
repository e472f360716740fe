//! The `command` executor: one process per call.

use crate::process::Program;
use crate::settings::CommandSettings;
use std::sync::Arc;
use tko_core::{Error, Executor, Key, PluginType, Preparer, Record, Result, Scheduler, Validator};
use tokio::sync::Semaphore;

mod plugin;

use plugin::CommandPlugin;

/// Creates handlers for plugins that name the executor `command`.
///
/// The plugin's arguments are the program and its arguments. The handlers run in any tokio runtime
/// with I/O and time enabled.
#[derive(Clone, Debug)]
pub struct CommandExecutor {
    settings: Arc<CommandSettings>,
}

impl CommandExecutor {
    /// Creates an executor with these limits.
    pub fn new(settings: CommandSettings) -> Self {
        Self {
            settings: Arc::new(settings),
        }
    }

    fn part(&self, record: &Record, wanted: PluginType) -> Result<Arc<CommandPlugin>> {
        let (Key::Plugin(id), Some(plugin)) = (&record.entity.key, record.entity.plugin()) else {
            let message = format!("{} is not a plugin", record.entity.key);
            return Err(Error::bad("plugin", message));
        };
        if id.plugin_type() != wanted {
            let message = format!("{id} is not of type {wanted}");
            return Err(Error::bad("plugin", message));
        }
        let [path, arguments @ ..] = &plugin.arguments[..] else {
            let message = "none given; the command executor needs a program and its arguments";
            return Err(Error::bad("arguments", message));
        };
        if path.is_empty() {
            return Err(Error::bad(
                "arguments",
                "the first argument, the program, is empty",
            ));
        }
        if let Some(name) = plugin.arguments.iter().find(|text| text.contains('\0')) {
            let message = format!("{name:?} contains a NUL character");
            return Err(Error::bad("arguments", message));
        }
        if let Some(name) = plugin.properties.keys().find(|name| name.starts_with('_')) {
            let message = format!("unknown property {name:?} for the command executor; remove it");
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
