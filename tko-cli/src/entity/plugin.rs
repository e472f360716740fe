//! `tko plugin`: manages plugins.

mod dry_call;
mod recording;
mod skeleton;
mod workbench;

use super::removal::{self, PurgeArgs, RemovalArgs};
use super::{list, show};
use crate::console::Console;
use crate::filter::{ListArgs, PluginFilter, gvk, pair};
use crate::services::controllers::executors;
use crate::services::plugins::PluginHost;
use clap::{Args, Subcommand};
use skeleton::NewPluginArgs;
use tko_ansible::{AnsibleExecutor, AnsibleSettings};
use tko_core::{DataApi, Facts, Gvk, Key, List, NewPlugin, PluginId, PluginType, Result, Select};
use tko_kpt::KptExecutor;
use tko_plugin::Timeouts;
use workbench::{PluginTestArgs, ReplayArgs};

/// Manage plugins: programs that prepare, schedule or validate
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// List plugins in the order of their names
    List {
        #[command(flatten)]
        filter: PluginFilter,
        #[command(flatten)]
        listed: ListArgs,
    },
    /// Show a plugin
    #[command(visible_alias = "show")]
    Get(PluginName),
    /// Create or replace a plugin; running controllers use it at once
    #[command(visible_alias = "create")]
    Register(RegisterArgs),
    /// Delete a plugin
    Delete(PluginName),
    /// Call a plugin once and print its answer, its log and its duration; TKO stores nothing, but a
    /// scheduler does change its site
    Test(PluginTestArgs),
    /// Repeat recorded calls; fails if an answer differs
    Replay(ReplayArgs),
    /// Write a new plugin with a test
    New(NewPluginArgs),
    /// Delete every plugin that matches the filters
    Purge {
        #[command(flatten)]
        filter: PluginFilter,
        #[command(flatten)]
        purge: PurgeArgs,
    },
}

/// The arguments that name a plugin.
#[derive(Debug, Args)]
pub(crate) struct PluginName {
    /// Type: validate, prepare, schedule, catalog or inventory
    #[arg(value_name = "TYPE")]
    plugin_type: PluginType,
    /// Name, such as gateway
    name: String,
}

impl PluginName {
    fn id(&self) -> Result<PluginId> {
        PluginId::new(self.plugin_type, &self.name)
    }
}

/// The flags of `plugin register`.
#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    #[command(flatten)]
    name: PluginName,
    /// Arguments for the executor; for command and worker: the program and its arguments
    #[arg(
        value_name = "ARG",
        trailing_var_arg = false,
        allow_hyphen_values = false
    )]
    arguments: Vec<String>,
    /// Executor that runs the plugin: command starts a process for each call, worker keeps processes
    /// that serve many calls
    #[arg(short, long, default_value = "command")]
    executor: String,
    /// Set a property; names that start with _ are for the executor; may be repeated
    #[arg(short = 'r', long = "property", value_name = "KEY=VALUE", value_parser = pair)]
    properties: Vec<(String, String)>,
    /// Call the plugin for this kind of resource; may be repeated
    #[arg(short = 'g', long = "trigger", value_name = "GROUP,VERSION,KIND", value_parser = gvk)]
    triggers: Vec<Gvk>,
}

impl PluginCommand {
    pub(crate) async fn run(
        self,
        data: &dyn DataApi,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        match self {
            Self::List { filter, listed } => {
                let select = filter.select()?;
                let state = listed.state();
                list(data, select.clone(), &listed.window, state, console).await?;
                warn_of_executors(data, select, console).await
            }
            Self::Get(name) => show(data, &Key::from(name.id()?), console).await,
            Self::Register(args) => {
                let id = args.name.id()?;
                let warning = executor_warning(&id, &args.executor, &args.arguments);
                let new = NewPlugin::new(id.clone(), args.executor)
                    .arguments(args.arguments)
                    .properties(args.properties.into_iter().collect())
                    .triggers(args.triggers);
                data.register_plugin(new).await?;
                console.done(&format!("registered plugin {id}"));
                if let Some(warning) = warning {
                    console.done(&format!("warning: plugin {id}: {warning}"));
                }
                Ok(())
            }
            Self::Delete(name) => {
                // Registering it again restores everything, so no confirmation is needed.
                let args = RemovalArgs::default();
                removal::delete(data, &Key::from(name.id()?), &args, console).await
            }
            Self::Test(test) => test.run(data, console).await,
            Self::Replay(replay) => replay.run(data, console).await,
            Self::New(new) => new.run(console),
            Self::Purge { filter, purge } => {
                removal::purge(data, &filter.select_to_change()?, &purge, console).await
            }
        }
    }
}

/// Whether a plugin is a catalog or inventory, which have their own executors.
fn is_source(id: &PluginId) -> bool {
    matches!(
        id.plugin_type(),
        PluginType::Catalog | PluginType::Inventory
    )
}

/// Returns a warning if the controllers of this program cannot run a plugin.
fn executor_warning(id: &PluginId, executor: &str, arguments: &[String]) -> Option<String> {
    if is_source(id) {
        return None;
    }
    let plugin_type = id.plugin_type();
    let only = match executor {
        KptExecutor::NAME => PluginType::Prepare,
        AnsibleExecutor::NAME => PluginType::Schedule,
        "command" | "worker" if arguments.is_empty() => {
            return Some(format!(
                "executor {executor:?} needs a program, and none is given; register the plugin with one"
            ));
        }
        _ => return unknown_executor(executor),
    };
    (plugin_type != only).then(|| {
        format!("executor {executor:?} runs only {only} plugins; register it with another executor")
    })
}

/// Returns a warning if the controllers of this program do not have this executor.
fn unknown_executor(name: &str) -> Option<String> {
    let known = executors(
        None,
        Timeouts::default(),
        PluginHost::default(),
        AnsibleSettings::default(),
        crate::services::functions::settings(std::time::Duration::ZERO),
    );
    let names: Vec<&str> = known.iter().map(|executor| executor.name()).collect();
    (!names.contains(&name)).then(|| {
        format!(
            "controllers of tko have no executor {name:?}, only {}; it does not run unless a controller of yours has it",
            names.join(", ")
        )
    })
}

/// Warns of plugins that the controllers of this program cannot run.
async fn warn_of_executors(
    data: &dyn DataApi,
    select: Select,
    console: &Console<'_>,
) -> anyhow::Result<()> {
    let mut list = List::new(select).limit(500);
    loop {
        let page = data.list(&list).await?;
        for record in &page.items {
            if let (Facts::Plugin(plugin), Key::Plugin(id)) =
                (&record.entity.facts, &record.entity.key)
                && let Some(warning) = executor_warning(id, &plugin.executor, &plugin.arguments)
            {
                console.done(&format!("warning: {}: {warning}", record.entity.key));
            }
        }
        list.after = page.next;
        if list.after.is_none() {
            return Ok(());
        }
    }
}
