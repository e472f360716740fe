//! Schedules sites by a playbook on this machine, through ansible-runner.

use crate::awx::tail;
use crate::change::SiteChange;
use crate::executor::AnsibleSettings;
use crate::extra_variables;
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tko_core::{Condition, Error, Result, ScheduleCall, Scheduler};
use tko_plugin::LogChannel;
use tko_plugin::channel::Channel;
use tko_plugin::environment;
use tko_plugin::log::LogSubject;
use tko_plugin::process::{self, Bounds, Program};

/// Time between SIGTERM and SIGKILL once the time limit has passed.
const GRACE: Duration = Duration::from_secs(5);
/// Maximum number of bytes of output that are read.
const MOST_OUTPUT: usize = 16 << 20;
/// Maximum number of bytes of log events of one run.
const MOST_LOG: usize = 1 << 20;

/// Environment variables that Ansible inherits, besides those that every plugin inherits.
const VARIABLES: [&str; 2] = ["ANSIBLE_*", "SSH_AUTH_SOCK"];

/// A plugin that runs a playbook.
#[derive(Clone, Debug)]
pub(crate) struct RunnerPlugin {
    /// The plugin's id.
    pub id: String,
    /// The path of the playbook on this machine.
    pub playbook: PathBuf,
    /// The inventory; without one, only localhost is available.
    pub inventory: Option<PathBuf>,
    /// The program ansible-runner.
    pub program: String,
    /// Additional extra variables.
    pub variables: BTreeMap<String, String>,
}

/// Runs a playbook for each call.
pub(crate) struct RunnerScheduler {
    plugin: RunnerPlugin,
    settings: AnsibleSettings,
}

impl RunnerScheduler {
    /// A scheduler for a plugin.
    pub(crate) fn new(plugin: RunnerPlugin, settings: AnsibleSettings) -> Self {
        Self { plugin, settings }
    }

    /// Runs the playbook; returns what it printed.
    async fn run(
        &self,
        change: &SiteChange,
        folder: &Path,
        subject: &LogSubject,
    ) -> Result<String> {
        let plugin = &self.plugin;
        let playbook = absolute("_ansible.playbook", &plugin.playbook)?;
        let variables = extra_variables::encode(&change.variables);
        let failed =
            |error: std::io::Error| Error::internal("make a folder for ansible-runner", error);
        let temporary = temporary_folder().map_err(failed)?;
        let environment = folder.join("env");
        tokio::fs::create_dir(&environment).await.map_err(failed)?;
        tokio::fs::write(environment.join("extravars"), variables)
            .await
            .map_err(failed)?;
        let project = playbook
            .parent()
            .map_or_else(PathBuf::new, Path::to_path_buf);
        let mut arguments: Vec<String> = ["run", "--ident", "tko", "--project-dir"]
            .map(str::to_owned)
            .into();
        arguments.push(project.display().to_string());
        if let Some(inventory) = &plugin.inventory {
            let inventory = absolute("_ansible.inventory", inventory)?;
            arguments.push("--inventory".to_owned());
            arguments.push(inventory.display().to_string());
        }
        let name = playbook.file_name().unwrap_or_default();
        arguments.extend(["--playbook".to_owned(), name.to_string_lossy().into_owned()]);
        arguments.push(folder.display().to_string());
        let program = Program {
            path: plugin.program.clone(),
            arguments,
        };
        let names = VARIABLES.map(str::to_owned);
        let mut command = environment::command(&program, None, &names)
            .map_err(|error| Error::internal("start ansible-runner", error))?;
        command.env("TMPDIR", temporary.path());
        let bounds = Bounds {
            timeout: self.settings.playbook_timeout,
            grace: GRACE,
            output: MOST_OUTPUT,
            log: MOST_LOG,
        };
        let channel = Channel::open(LogChannel::Fifo)
            .await
            .map_err(|error| Error::internal("open a channel for log lines", error))?;
        let output = process::run(&program, Ok(command), &[], &bounds, channel, subject).await;
        match output {
            Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            Err(failure) => {
                // ansible-runner keeps the output also when the playbook fails.
                let kept = folder.join("artifacts/tko/stdout");
                let printed = tokio::fs::read(&kept).await.unwrap_or_default();
                let printed = tail(&String::from_utf8_lossy(&printed));
                let action = format!("run playbook {}", playbook.display());
                let message = format!("{}\n{printed}", tko_core::error::chain(&failure));
                Err(Error::internal(action, message.trim_end().to_owned()))
            }
        }
    }
}

/// A folder for the temporary files of a run. A module that is killed leaves its own behind; they are
/// removed with this folder. As in the system's folder, the users that a playbook becomes may have
/// files of their own there.
fn temporary_folder() -> std::io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("tko-ansible-tmp-")
        .permissions(Permissions::from_mode(0o1777))
        .tempdir()
}

#[async_trait]
impl Scheduler for RunnerScheduler {
    async fn schedule(&self, call: ScheduleCall<'_>) -> Result<Vec<Condition>> {
        let configuration: Value = json!([self.plugin.playbook, self.plugin.inventory]);
        let change = SiteChange::new(&call, &self.plugin.variables, &configuration)?;
        let subject = LogSubject {
            plugin: self.plugin.id.clone(),
            deployment: None,
            site: Some(change.site.clone()),
            resource: call.target.map(ToString::to_string),
        };
        // The folder contains packages, which may contain secrets: only this user may read it.
        let folder = tempfile::Builder::new()
            .prefix("tko-ansible-")
            .tempdir()
            .map_err(|error| Error::internal("make a folder for ansible-runner", error))?;
        let printed = self.run(&change, folder.path(), &subject).await?;
        let message = format!(
            "playbook {}\n{}",
            self.plugin.playbook.display(),
            tail(&printed)
        );
        let observed = call.site.entity.generation;
        Ok(vec![Condition::new(
            "Automated",
            true,
            "PlaybookSucceeded",
            message,
            observed,
        )])
    }
}

fn absolute(property: &'static str, path: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(path)
        .map_err(|error| Error::bad(property, format!("{}: {error}", path.display())))
}
