//! `tko plugin test` and `tko plugin replay`: calls of plugins that change nothing.

use super::diff::difference;
use super::recording::{PluginRecording, RecordedAnswer, recordings, yaml};
use crate::console::Console;
use crate::services::controllers::executors;
use crate::services::plugins::PluginHost;
use crate::services::time;
use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_ansible::AnsibleSettings;
use tko_core::registry::made_by;
use tko_core::system::TimeOrderedIds;
use tko_core::{
    Answer, DataApi, Deployment, DeploymentId, Entity, Executor, Gvk, Identifier, Ids, Key,
    Package, Plugin, PluginId, PluginType, PrepareCall, Record, Want, annotation,
};
use tko_plugin::Timeouts;
use tko_worker::close_executors;

/// The flags of `plugin test`.
#[derive(Debug, Args)]
pub(crate) struct PluginTestArgs {
    /// Name of a registered prepare plugin, or the file of a program
    #[arg(value_name = "NAME|FILE")]
    plugin: String,
    /// Arguments for the program; only with a file
    #[arg(value_name = "ARG")]
    arguments: Vec<String>,
    /// Executor that runs the file
    #[arg(short, long, default_value = "command")]
    executor: String,
    /// Take the package of this deployment
    #[arg(short, long, value_name = "ID", required_unless_present = "input")]
    deployment: Option<DeploymentId>,
    /// Take the package from a file, folder or URL
    #[arg(short, long, value_name = "URL", conflicts_with = "deployment")]
    input: Option<String>,
    /// Resource that triggers the call; by default the first unprepared one that the plugin is
    /// registered for
    #[arg(short, long, value_name = "KIND/NAME")]
    target: Option<String>,
    /// Time limit of the call
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    timeout: Duration,
    /// Record the call in a new folder in this one, for plugin replay
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
}

/// The flags of `plugin replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Folder with recorded calls, also in folders below it
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Time limit of a call
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    timeout: Duration,
}

/// A dry call: the plugin, and the deployment that it gets.
struct DryCall<'a> {
    plugin: Record,
    deployment: Record,
    target: Identifier,
    timeout: Duration,
    data: &'a dyn DataApi,
}

impl DryCall<'_> {
    /// Makes the call and returns the answer with the time that it took.
    async fn run(&self) -> anyhow::Result<(RecordedAnswer, String, Duration)> {
        let timeouts = Timeouts {
            prepare: self.timeout,
            ..Timeouts::default()
        };
        let executors: Vec<Arc<dyn Executor>> = executors(
            None,
            timeouts,
            PluginHost::default(),
            AnsibleSettings::default(),
        );
        let preparer = made_by(&executors, &self.plugin, |executor, plugin| {
            executor.preparer(plugin)
        })?;
        let package = self.deployment.package.clone().unwrap_or_default();
        let call = PrepareCall::new(
            &self.deployment,
            &package,
            &self.target,
            self.data,
            &TimeOrderedIds,
        );
        let started = Instant::now();
        let answer = preparer.prepare(call).await;
        let took = started.elapsed();
        drop(preparer);
        close_executors(&executors).await;
        let (answer, message) = match answer {
            Ok(Answer::Done { package, .. }) => (RecordedAnswer::Prepared(package), String::new()),
            Ok(Answer::NotYet { reason, .. }) => (RecordedAnswer::NotYet, reason),
            Ok(Answer::More { .. }) => {
                bail!("the plugin has more to do; only TKO's own preparers may")
            }
            Err(error) => {
                let text = error.chain();
                let words = text
                    .split_once("the plugin reported: ")
                    .map_or(text.as_str(), |(_, words)| words);
                (RecordedAnswer::Failed(words.to_owned()), text)
            }
        };
        Ok((answer, message, took))
    }
}

impl PluginTestArgs {
    /// Makes the call and prints the difference of the package. An error of the plugin is an error.
    pub(super) async fn run(
        self,
        data: &dyn DataApi,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        let plugin = self.plugin(data).await?;
        let (deployment, package) = match (&self.deployment, &self.input) {
            (Some(id), _) => {
                let record = data.get(&Key::from(id.clone()), Want::PACKAGE).await?;
                let package = record.package.clone().unwrap_or_default();
                (record, package)
            }
            (None, Some(url)) => {
                let package = crate::source::package(url, console).await?;
                (deployment(TimeOrderedIds.next(), package.clone()), package)
            }
            (None, None) => bail!("give --deployment or --input"),
        };
        let target = target(&package, &plugin, self.target.as_deref())?;
        let dry = DryCall {
            plugin,
            deployment,
            target,
            timeout: self.timeout,
            data,
        };
        let (answer, message, took) = dry.run().await?;
        let milliseconds = took.as_secs_f64() * 1000.0;
        if let Some(folder) = &self.record {
            let arguments = dry
                .plugin
                .entity
                .plugin()
                .map(|plugin| plugin.arguments.clone());
            let recording = PluginRecording {
                arguments: arguments.unwrap_or_default(),
                deployment: dry.deployment.entity.key.id().to_owned(),
                target: wire(&dry.target),
                package: package.clone(),
                answer,
            };
            let path = recording.write(folder)?;
            console.done(&format!("recorded {}", path.display()));
            return finish(&recording.answer, &package, &message, milliseconds, console);
        }
        finish(&answer, &package, &message, milliseconds, console)
    }

    /// The registered plugin, or one that runs the file.
    async fn plugin(&self, data: &dyn DataApi) -> anyhow::Result<Record> {
        if !Path::new(&self.plugin).is_file() {
            let id = PluginId::new(PluginType::Prepare, &self.plugin)?;
            let found = data.get(&Key::Plugin(id), Want::ROW).await;
            return found.with_context(|| {
                format!(
                    "{:?} is neither a file nor a registered prepare plugin",
                    self.plugin
                )
            });
        }
        let path = std::path::absolute(&self.plugin)?;
        let path = path.to_str().context("the path is not UTF-8")?.to_owned();
        let arguments = [vec![path], self.arguments.clone()].concat();
        Ok(unregistered(&self.executor, arguments)?)
    }
}

/// A plugin that is not registered.
fn unregistered(executor: &str, arguments: Vec<String>) -> tko_core::Result<Record> {
    let id = PluginId::new(PluginType::Prepare, "test")?;
    let facts = tko_core::entity::Facts::from(Plugin::new(executor).arguments(arguments));
    Ok(Record::new(Entity::new(Key::Plugin(id), facts)))
}

/// A deployment that does not exist, with this package.
fn deployment(id: DeploymentId, package: Package) -> Record {
    Record::new(Entity::new(Key::from(id), Deployment::default())).package(package)
}

/// The target as the protocol writes it.
fn wire(target: &Identifier) -> Value {
    json!({
        "group": &*target.gvk.group,
        "version": &*target.gvk.version,
        "kind": &*target.gvk.kind,
        "name": &*target.name,
    })
}

fn target(package: &Package, plugin: &Record, wanted: Option<&str>) -> anyhow::Result<Identifier> {
    let triggers = plugin
        .entity
        .plugin()
        .map(|plugin| plugin.triggers.as_slice());
    let triggers = triggers.unwrap_or_default();
    let is_wanted = |identifier: &Identifier| match wanted {
        Some(wanted) => format!("{}/{}", identifier.gvk.kind, identifier.name) == wanted,
        None => triggers.is_empty() || triggers.contains(&identifier.gvk),
    };
    let mut candidates = package
        .iter()
        .filter(|resource| is_wanted(resource.identifier()));
    let found = match wanted {
        Some(_) => candidates.next(),
        None => candidates.find(|resource| !annotation::is_true(resource, annotation::PREPARED)),
    };
    match (found, wanted) {
        (Some(resource), _) => Ok(resource.identifier().clone()),
        (None, Some(wanted)) => bail!("the package has no resource {wanted}; write KIND/NAME"),
        (None, None) => bail!(
            "the package has no unprepared resource that the plugin is registered for; choose one with --target KIND/NAME"
        ),
    }
}

fn finish(
    answer: &RecordedAnswer,
    before: &Package,
    message: &str,
    milliseconds: f64,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    match answer {
        RecordedAnswer::Prepared(package) => {
            let colours = std::io::stdout().is_terminal();
            let shown = difference(&yaml(before), &yaml(package), colours);
            console.out.write_all(shown.as_bytes())?;
            console.out.flush()?;
            console.done(&format!("prepared in {milliseconds:.0} ms"));
            Ok(())
        }
        RecordedAnswer::NotYet => {
            console.done(&format!(
                "not yet prepared, in {milliseconds:.0} ms: {message}"
            ));
            Ok(())
        }
        RecordedAnswer::Failed(_) => bail!("{message} (after {milliseconds:.0} ms)"),
    }
}

impl ReplayArgs {
    /// Makes all recorded calls again. A different answer is an error.
    pub(super) async fn run(
        self,
        data: &dyn DataApi,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        let folders = recordings(&self.folder)?;
        let mut different = 0;
        for folder in &folders {
            let recording = PluginRecording::read(folder)?;
            let text = |key: &str| recording.target[key].as_str().unwrap_or_default();
            let gvk = Gvk::new(text("group"), text("version"), text("kind"));
            let target = Identifier::new(gvk, text("name"));
            let target = match recording.package.resolve(&target)? {
                Some(resource) => resource.identifier().clone(),
                None => target,
            };
            let dry = DryCall {
                plugin: unregistered("command", recording.arguments.clone())?,
                deployment: deployment(
                    DeploymentId::new(&recording.deployment)?,
                    recording.package.clone(),
                ),
                target,
                timeout: self.timeout,
                data,
            };
            let (answer, _, took) = dry.run().await?;
            let colours = std::io::stdout().is_terminal();
            let shown = difference(&recording.answer.text(), &answer.text(), colours);
            let milliseconds = took.as_secs_f64() * 1000.0;
            let verdict = if shown.is_empty() { "ok" } else { "DIFFERENT" };
            writeln!(
                console.out,
                "{verdict} {} ({milliseconds:.0} ms)",
                folder.display()
            )?;
            different += usize::from(!shown.is_empty());
            console.out.write_all(shown.as_bytes())?;
        }
        console.out.flush()?;
        if different > 0 {
            bail!(
                "{different} of {} calls had another answer than recorded",
                folders.len()
            );
        }
        Ok(())
    }
}
