//! The `command` executor: one process per call.

use crate::call::{Input, PluginAnswer, PluginCall, Target};
use crate::channel::Channel;
use crate::environment;
use crate::failure::Failure;
use crate::handler::{CallRunner, PluginHandler, PluginReply, aside, limits};
use crate::log::LogSubject;
use crate::policy::PluginPolicy;
use crate::process::{self, Bounds, Program};
use crate::settings::CommandSettings;
use async_trait::async_trait;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    Error, Executor, Identifier, Key, PluginType, Preparer, Record, Result, Scheduler, Validator,
};
use tokio::sync::Semaphore;

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

    fn part(
        &self,
        record: &Record,
        wanted: PluginType,
    ) -> Result<Arc<PluginHandler<CommandRunner>>> {
        let (id, program) = program_of(record, wanted, "command", &self.settings.policy)?;
        let properties = record.entity.plugin().map(|plugin| &plugin.properties);
        if let Some(name) = properties
            .into_iter()
            .flatten()
            .find(|(name, _)| name.starts_with('_'))
        {
            let message = format!(
                "unknown property {:?} for the command executor; remove it",
                name.0
            );
            return Err(Error::bad("properties", message));
        }
        Ok(Arc::new(PluginHandler {
            stats: self.settings.metrics.plugin(&id),
            id,
            executor: "command",
            program: program.path.clone(),
            timeouts: self.settings.timeouts,
            runner: CommandRunner {
                program,
                permits: Semaphore::new(
                    self.settings.concurrency.get().min(Semaphore::MAX_PERMITS),
                ),
                settings: self.settings.clone(),
            },
        }))
    }
}

/// The id and the program of a plugin for an executor whose arguments are a program and its
/// arguments.
///
/// # Errors
/// - `BadArgument`: the record is not a plugin of this type, or names no program.
/// - `Forbidden`: the policy does not permit the program.
pub(crate) fn program_of(
    record: &Record,
    wanted: PluginType,
    executor: &str,
    policy: &PluginPolicy,
) -> Result<(String, Program)> {
    let (Key::Plugin(id), Some(plugin)) = (&record.entity.key, record.entity.plugin()) else {
        let message = format!("{} is not a plugin", record.entity.key);
        return Err(Error::bad("plugin", message));
    };
    if id.plugin_type() != wanted {
        let message = format!("{id} is not of type {wanted}");
        return Err(Error::bad("plugin", message));
    }
    let [path, arguments @ ..] = &plugin.arguments[..] else {
        let message =
            format!("none given; the {executor} executor needs a program and its arguments");
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
    let program = Program {
        path: path.clone(),
        arguments: arguments.to_vec(),
    };
    Ok((id.to_string(), policy.permitted(program)?))
}

/// Runs one plugin's program for each call.
struct CommandRunner {
    program: Program,
    permits: Semaphore,
    settings: Arc<CommandSettings>,
}

#[async_trait]
impl CallRunner for CommandRunner {
    async fn run(
        &self,
        subject: Arc<LogSubject>,
        target: Option<&Identifier>,
        input: Input,
        timeout: Duration,
    ) -> Result<PluginReply, Failure> {
        // The wait is bounded: a program that hangs must not keep all its callers waiting.
        let permit = tokio::time::timeout(timeout, self.permits.acquire()).await;
        let permit = permit.map_err(|_| Failure::NoProcess {
            program: self.program.path.clone(),
            after: timeout,
            remedy: "make it faster, run more controllers, or use the executor worker",
        })?;
        let _permit = permit.expect("the semaphore is never closed");
        let channel = Channel::open(self.settings.log_channel)
            .await
            .map_err(Failure::here("open a channel for its log lines"))?;
        let call = PluginCall {
            grpc: self.settings.grpc.clone().unwrap_or_default(),
            log_file: channel.log_file(),
            log_address_port: channel.log_address_port(),
            target_resource_identifier: Target::from(target),
            input,
        };
        let document = aside("write its input", move || call.encode()).await?;
        let document = document
            .map_err(io::Error::from)
            .map_err(Failure::here("write its input"))?;
        let bounds = Bounds {
            timeout,
            grace: self.settings.grace,
            output: self.settings.output,
            log: self.settings.log,
        };
        let python_env = self.settings.python_env.as_deref();
        let command = environment::command(&self.program, python_env, &self.settings.environment);
        let program = &self.program;
        let output = process::run(program, command, &document, &bounds, channel, &subject).await?;
        let most = self.settings.output;
        let decode = move || PluginAnswer::decode(&output.stdout, &limits(most));
        let stderr = output.stderr;
        match aside("read its answer", decode).await? {
            Ok(answer) => Ok(PluginReply {
                answer,
                last_line: stderr.last_line(),
                stderr,
            }),
            Err(error) => Err(Failure::Answer {
                program: program.path.clone(),
                why: error.to_string(),
                stderr,
            }),
        }
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
