//! `tko plugin test` and `tko plugin replay`: calls of plugins that store nothing.

use super::dry_call::{DryCall, DryInput, DryResult};
use super::recording::{PluginRecording, RecordedAnswer, deployment, recordings, site, yaml};
use crate::console::Console;
use crate::output::diff::{printed, start_search};
use crate::services::time;
use anyhow::{Context, bail};
use clap::Args;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tko_core::diff::changed_lines;
use tko_core::system::TimeOrderedIds;
use tko_core::{
    DataApi, DeploymentId, Entity, Facts, Identifier, Ids, Key, Package, Plugin, PluginId,
    PluginType, Record, SiteId, Want, annotation,
};
use tko_scheduler::{ScheduleSettings, SiteDeployments, gather};

/// Types of plugins that can be called, in the order in which a name is searched.
const TYPES: [PluginType; 3] = [
    PluginType::Prepare,
    PluginType::Validate,
    PluginType::Schedule,
];

/// The flags of `plugin test`.
#[derive(Debug, Args)]
pub(crate) struct PluginTestArgs {
    /// Name of a registered plugin, or the file of a program
    #[arg(value_name = "NAME|FILE")]
    plugin: String,
    /// Arguments for the program; only with a file
    #[arg(value_name = "ARG")]
    arguments: Vec<String>,
    /// Type: prepare, validate or schedule; by default that of the registered plugin, or prepare
    #[arg(long = "type", value_name = "TYPE")]
    plugin_type: Option<PluginType>,
    /// Executor that runs the file
    #[arg(short, long, default_value = "command")]
    executor: String,
    /// Take the package of this deployment; a scheduler gets it with its site and all deployments
    /// of the site
    #[arg(short, long, value_name = "ID", required_unless_present_any = ["input", "site"])]
    deployment: Option<DeploymentId>,
    /// Take the package from a file, folder or URL; a scheduler gets it as the package of a site
    #[arg(short, long, value_name = "URL", conflicts_with = "deployment")]
    input: Option<String>,
    /// Take the package of this site, with its deployments; only for schedulers
    #[arg(long, value_name = "ID", conflicts_with_all = ["deployment", "input"])]
    site: Option<SiteId>,
    /// Deploy this package to the site of --input; only for schedulers; may be repeated
    #[arg(long, value_name = "URL", requires = "input")]
    run: Vec<String>,
    /// Remove this package from the site of --input; only for schedulers; may be repeated
    #[arg(long, value_name = "URL", requires = "input")]
    remove: Vec<String>,
    /// Allow required fields to be missing, as in an incomplete package; only for validators
    #[arg(long)]
    partial: bool,
    /// Resource that triggers the call; by default the first whose kind triggers the plugin, and
    /// for a preparer the first of these that is not prepared
    #[arg(short, long, value_name = "KIND/NAME")]
    target: Option<String>,
    /// Time limit of the call
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    timeout: Duration,
    /// Record the call in a new folder inside this folder, for plugin replay
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
}

/// The flags of `plugin replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Folder that is searched recursively for recorded calls
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Time limit of a call
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    timeout: Duration,
}

impl PluginTestArgs {
    /// Makes the call and prints the difference of the package. An error of the plugin is an error.
    pub(super) async fn run(
        self,
        data: &dyn DataApi,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        let (plugin_type, plugin) = self.plugin(data).await?;
        self.check_flags(plugin_type)?;
        let input = match plugin_type {
            PluginType::Prepare => self.to_prepare(&plugin, data, console).await?,
            PluginType::Validate => self.to_validate(&plugin, data, console).await?,
            _ => self.to_schedule(&plugin, data, console).await?,
        };
        let before = input.package();
        let dry = DryCall {
            plugin,
            input,
            timeout: self.timeout,
            data,
        };
        let DryResult {
            mut answer,
            message,
            took,
        } = dry.run().await?;
        if let Some(folder) = &self.record {
            let plugin = dry.plugin.entity.plugin();
            let recording = PluginRecording {
                plugin: plugin.map(|plugin| (**plugin).clone()).unwrap_or_default(),
                input: dry.input,
                answer,
            };
            let path = recording.write(folder)?;
            console.done(&format!("recorded {}", path.display()));
            answer = recording.answer;
        }
        let milliseconds = took.as_secs_f64() * 1000.0;
        match answer {
            RecordedAnswer::Prepared(package) => {
                let colours = std::io::stdout().is_terminal();
                let shown = changed_lines(&yaml(&before), &yaml(&package), start_search());
                write!(console.out, "{}", printed(&shown, colours))?;
                console.out.flush()?;
                console.done(&format!("prepared in {milliseconds:.0} ms"));
            }
            RecordedAnswer::NotYet => {
                console.done(&format!(
                    "not yet prepared, in {milliseconds:.0} ms: {message}"
                ));
            }
            RecordedAnswer::Fine => {
                let verb = match plugin_type {
                    PluginType::Validate => "valid, checked",
                    _ => "scheduled",
                };
                console.done(&format!("{verb} in {milliseconds:.0} ms"));
            }
            RecordedAnswer::Failed(_) => bail!("{message} (after {milliseconds:.0} ms)"),
        }
        Ok(())
    }

    /// Refuses flags that do not apply to this type of plugin.
    fn check_flags(&self, plugin_type: PluginType) -> anyhow::Result<()> {
        let schedules = plugin_type == PluginType::Schedule;
        let validates = plugin_type == PluginType::Validate;
        for (flag, is_given, has_effect) in [
            ("--run", !self.run.is_empty(), schedules),
            ("--remove", !self.remove.is_empty(), schedules),
            ("--site", self.site.is_some(), schedules || validates),
            ("--partial", self.partial, validates),
        ] {
            if is_given && !has_effect {
                bail!("{flag} has no effect on a {plugin_type} plugin; leave it out");
            }
        }
        Ok(())
    }

    /// The registered plugin, or one that runs the file.
    async fn plugin(&self, data: &dyn DataApi) -> anyhow::Result<(PluginType, Record)> {
        if let Some(other) = self.plugin_type.filter(|other| !TYPES.contains(other)) {
            bail!(
                "plugins of type {other} cannot be tested; expected prepare, validate or schedule"
            );
        }
        if Path::new(&self.plugin).is_file() {
            let path = std::path::absolute(&self.plugin)?;
            let path = path.to_str().context("the path is not UTF-8")?.to_owned();
            let arguments = [vec![path], self.arguments.clone()].concat();
            let plugin_type = self.plugin_type.unwrap_or(PluginType::Prepare);
            let plugin = Plugin::new(&self.executor).arguments(arguments);
            return Ok((plugin_type, unregistered(plugin_type, plugin)?));
        }
        for plugin_type in self.plugin_type.map_or(TYPES.to_vec(), |one| vec![one]) {
            let id = PluginId::new(plugin_type, &self.plugin)?;
            match data.get(&Key::Plugin(id), Want::ROW).await {
                Ok(plugin) => return Ok((plugin_type, plugin)),
                Err(tko_core::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!(
            "{:?} is neither a file nor a registered plugin; see tko plugin list",
            self.plugin
        )
    }

    async fn to_prepare(
        &self,
        plugin: &Record,
        data: &dyn DataApi,
        console: &Console<'_>,
    ) -> anyhow::Result<DryInput> {
        let record = match (&self.deployment, &self.input) {
            (Some(id), _) => data.get(&Key::from(id.clone()), Want::PACKAGE).await?,
            (None, Some(url)) => from_url(url, console).await?,
            (None, None) => bail!("give --deployment or --input"),
        };
        let package = record.package.clone().unwrap_or_default();
        let target = self.target(&package, plugin, true)?.context(
            "the package has no unprepared resource that the plugin is registered for; choose one with --target KIND/NAME",
        )?;
        Ok(DryInput::Prepare {
            deployment: record,
            target,
        })
    }

    async fn to_validate(
        &self,
        plugin: &Record,
        data: &dyn DataApi,
        console: &Console<'_>,
    ) -> anyhow::Result<DryInput> {
        let package = match (&self.deployment, &self.site, &self.input) {
            (Some(id), _, _) => {
                let record = data.get(&Key::from(id.clone()), Want::PACKAGE).await?;
                record.package.unwrap_or_default()
            }
            (None, Some(id), _) => {
                let record = data.get(&Key::Site(id.clone()), Want::PACKAGE).await?;
                record.package.unwrap_or_default()
            }
            (None, None, Some(url)) => crate::source::package(url, console).await?,
            (None, None, None) => bail!("give --deployment, --site or --input"),
        };
        let target = self.target(&package, plugin, false)?.context(
            "the package has no resource that the plugin is registered for; choose one with --target KIND/NAME",
        )?;
        Ok(DryInput::Validate {
            package,
            target,
            complete: !self.partial,
        })
    }

    async fn to_schedule(
        &self,
        plugin: &Record,
        data: &dyn DataApi,
        console: &Console<'_>,
    ) -> anyhow::Result<DryInput> {
        let (record, wanted, removed) = match (&self.deployment, &self.site, &self.input) {
            (Some(id), _, _) => {
                let record = data.get(&Key::from(id.clone()), Want::PACKAGE).await?;
                let site = record.entity.deployment().and_then(|d| d.site.clone());
                let site = site.with_context(|| format!("deployment {id} has no site"))?;
                let (site, mut found) = gathered(data, &site).await?;
                // The deployment may not be meant to run there yet.
                if !found
                    .wanted
                    .iter()
                    .any(|of| of.entity.key == record.entity.key)
                {
                    // The plugin must not run and remove the same deployment.
                    found
                        .removed
                        .retain(|of| of.entity.key != record.entity.key);
                    found.wanted.push(record);
                }
                (site, found.wanted, found.removed)
            }
            (None, Some(id), _) => {
                let (site, found) = gathered(data, id).await?;
                (site, found.wanted, found.removed)
            }
            (None, None, Some(url)) => {
                let (mut wanted, mut removed) = (Vec::new(), Vec::new());
                for (urls, records) in [(&self.run, &mut wanted), (&self.remove, &mut removed)] {
                    for url in urls {
                        records.push(from_url(url, console).await?);
                    }
                }
                let package = crate::source::package(url, console).await?;
                (site(SiteId::new("test")?, package), wanted, removed)
            }
            (None, None, None) => bail!("give --site, --deployment or --input"),
        };
        let package = record.package.clone().unwrap_or_default();
        Ok(DryInput::Schedule {
            target: self.target(&package, plugin, false)?,
            site: record,
            wanted,
            removed,
        })
    }

    /// The resource that triggers the call: the resource of `--target`, or the first one that the
    /// plugin is registered for.
    fn target(
        &self,
        package: &Package,
        plugin: &Record,
        unprepared: bool,
    ) -> anyhow::Result<Option<Identifier>> {
        if let Some(wanted) = &self.target {
            let mut identifiers = package.iter().map(|resource| resource.identifier());
            let found = identifiers.find(|id| format!("{}/{}", id.gvk.kind, id.name) == *wanted);
            return match found {
                Some(found) => Ok(Some(found.clone())),
                None => bail!("the package has no resource {wanted}; write KIND/NAME"),
            };
        }
        let triggers = plugin.entity.plugin().map(|plugin| &plugin.triggers[..]);
        let triggers = triggers.unwrap_or_default();
        let found = package.iter().find(|resource| {
            (triggers.is_empty() || triggers.contains(&resource.identifier().gvk))
                && !(unprepared && annotation::is_true(resource, annotation::PREPARED))
        });
        Ok(found.map(|resource| resource.identifier().clone()))
    }
}

/// An invented deployment with the package at a URL.
async fn from_url(url: &str, console: &Console<'_>) -> anyhow::Result<Record> {
    let package = crate::source::package(url, console).await?;
    Ok(deployment(TimeOrderedIds.next(), package))
}

/// A site, and its deployments as a controller would give them to the scheduler.
async fn gathered(data: &dyn DataApi, id: &SiteId) -> anyhow::Result<(Record, SiteDeployments)> {
    let site = data.get(&Key::Site(id.clone()), Want::PACKAGE).await?;
    let max = ScheduleSettings::default().max_deployments;
    let deployments = gather(data, id, site.entity.deleting, max).await?;
    Ok((site, deployments))
}

/// A plugin that is not registered.
fn unregistered(plugin_type: PluginType, plugin: Plugin) -> tko_core::Result<Record> {
    let id = PluginId::new(plugin_type, "test")?;
    Ok(Record::new(Entity::new(
        Key::Plugin(id),
        Facts::from(plugin),
    )))
}

impl ReplayArgs {
    /// Makes all recorded calls again. A different answer is an error.
    pub(super) async fn run(
        self,
        data: &dyn DataApi,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        let folders = recordings(&self.folder)?;
        let colours = std::io::stdout().is_terminal();
        let mut different = 0;
        for folder in &folders {
            let recording = PluginRecording::read(folder)?;
            let dry = DryCall {
                plugin: unregistered(recording.input.plugin_type(), recording.plugin)?,
                input: recording.input,
                timeout: self.timeout,
                data,
            };
            let DryResult { answer, took, .. } = dry.run().await?;
            let shown = changed_lines(&recording.answer.text(), &answer.text(), start_search());
            let milliseconds = took.as_secs_f64() * 1000.0;
            let verdict = if shown.is_empty() { "ok" } else { "DIFFERENT" };
            writeln!(
                console.out,
                "{verdict} {} ({milliseconds:.0} ms)",
                folder.display()
            )?;
            different += usize::from(!shown.is_empty());
            write!(console.out, "{}", printed(&shown, colours))?;
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
