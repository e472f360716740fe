//! Runs the helm program within limits.

use crate::settings::HelmSettings;
use std::path::PathBuf;
use std::time::Duration;
use tko_core::BoxError;
use tko_plugin::channel::Channel;
use tko_plugin::log::LogSubject;
use tko_plugin::process::{self, Bounds, Program};
use tko_plugin::{Failure, LogChannel, environment};

/// Environment variables that tell Helm where its files and proxies are, in addition to those that
/// every plugin inherits.
const HELM_VARIABLES: [&str; 12] = [
    "HELM_CACHE_HOME",
    "HELM_CONFIG_HOME",
    "HELM_CONTENT_CACHE",
    "HELM_DATA_HOME",
    "HELM_REGISTRY_CONFIG",
    "HELM_REPOSITORY_CACHE",
    "HELM_REPOSITORY_CONFIG",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http*_proxy",
    "no_proxy",
];

/// Time between SIGTERM and SIGKILL once the time limit has passed.
const GRACE: Duration = Duration::from_secs(1);
/// Maximum bytes of stderr that are logged for one run.
const LOG: usize = 1 << 20;

/// One run of helm.
pub(crate) struct HelmRun {
    /// The arguments.
    pub(crate) arguments: Vec<String>,
    /// The time limit.
    pub(crate) timeout: Duration,
    /// The kubeconfig of the cluster. Without a path, helm gets no kubeconfig.
    pub(crate) kubeconfig: Option<PathBuf>,
}

impl HelmRun {
    /// Runs helm; returns what it printed.
    ///
    /// # Errors
    /// There is no helm program, or it failed; the message has the end of its stderr.
    pub(crate) async fn run(
        self,
        settings: &HelmSettings,
        subject: &LogSubject,
    ) -> Result<Vec<u8>, BoxError> {
        let path = settings.find_program().ok_or_else(|| {
            format!(
                "there is no program {:?} here; install Helm 3 or 4 where charts are rendered or \
                 installed, or name the program with --helm",
                settings.program
            )
        })?;
        let name = path.display().to_string();
        let _place = process::place(&name, self.timeout).await?;
        // Without a folder of charts, relative paths must not resolve to anything.
        let empty = tempfile::Builder::new().prefix("tko-helm-").tempdir()?;
        let folder = settings.charts.as_deref().unwrap_or(empty.path());
        let program = Program {
            path: name,
            arguments: self.arguments,
        };
        let channel = Channel::open(LogChannel::Fifo)
            .await
            .map_err(Failure::here("open a channel for its log lines"))?;
        let bounds = Bounds {
            timeout: self.timeout,
            grace: GRACE,
            output: settings.output,
            log: LOG,
        };
        let command = environment::command(&program, None, &HELM_VARIABLES.map(str::to_owned));
        let command = command.map(|mut command| {
            command.current_dir(folder).env_remove("KUBECONFIG");
            if let Some(kubeconfig) = &self.kubeconfig {
                command.env("KUBECONFIG", kubeconfig);
            }
            command
        });
        let output = process::run(&program, command, &[], &bounds, channel, subject).await?;
        Ok(output.stdout)
    }
}
